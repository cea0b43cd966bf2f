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

pub mod settings;
pub mod bounded_map;
pub mod scrub;
pub mod backtrace;
pub mod otlp;
pub mod lambda;
pub mod delivery;
pub mod client;
pub mod invocation;
pub mod processor;
pub mod flush;
pub mod pipeline;
pub mod receiver;
pub mod exporter;
pub mod config;
pub mod lifecycle;
pub mod command;
#[cfg(test)]
mod test_clock;
