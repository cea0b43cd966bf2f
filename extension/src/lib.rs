//! Cruddur's telemetry extension: spans in, Honeycomb and the terminal out.
//!
//! ```text
//! receiver ──▶ signal ──▶ buffer ──▶ batch ──▶ exporter
//!  otlp         bytes      bounded,   cut to    honeycomb
//!  telemetry    as they    a cursor   size      console
//!               came       each
//!                 ╰── pipeline joins them ──╯
//!                 ╰── lifecycle says when, flush says how long ──╯
//! ```
//! Two promises order everything. *Telemetry never hurts the function*: nothing here waits for a
//! destination but the bounded hold of Next. *Nothing is lost silently*: every span received is
//! delivered, held, or counted as dropped ([`buffer`]).
//!
//! Read the modules in this order.

pub mod config; // what the environment asks for
pub mod extensions_api; // Lambda's events
pub mod lifecycle; // what happens at each of them
pub mod flush; // and how long it may take
pub mod receiver; // what arrives
pub mod invocations; // and which invocations it ends
pub mod platform; // and what the platform tells of them
pub mod trace_headers; // what X-Ray knows of each
pub mod lines; // in lines
pub mod backtrace; // or in stacks
pub mod failures; // which of it went wrong
pub mod scrub; // without its secrets
pub mod wire; // looked into without decoding it
pub mod signal; // what is kept of it
pub mod pipeline; // who owns all that follows
pub mod buffer; // where it waits, bounded in bytes
pub mod spool; // and on disk, to outlive the process
pub mod last_resort; // and in the log, to outlive the sandbox
pub mod ledger; // what became of every item
pub mod refusals; // and of every request that was not taken
pub mod summary; // and what is told of that
pub mod batch; // what goes in one request
pub mod health; // whether a destination may get it
pub mod exporter; // and how it gets there
pub mod thaw; // also if the process was frozen meanwhile
pub mod secret; // with which key
pub mod command; // what a person may ask instead
#[cfg(test)]
mod test_clock;
