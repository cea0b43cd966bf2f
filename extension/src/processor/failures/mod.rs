//! Each failed invocation becomes one Rollbar item, and each message that a function asks to report
//! becomes another. The [Rollbar exporter](crate::exporter::rollbar) sends them.
//!
//! ```text
//! spans, log records ─┐                    one item for each
//! lines ──────────────┼─▶ evidence by ────▶ invocation, when ──▶ rate ────▶ payloads
//! platform events ────┘   request, trace    it is over           limit
//! ```
//! - **Attribution.** A span belongs to the invocation whose server span shares its trace. Until that
//!   arrives it waits; if it never does, it belongs to the invocation running at the time.
//! - **Time.** Evidence is reported when the runtime has finished the invocation, the next one begins,
//!   or the sandbox ends. Without such events (emulators, Managed Instances) each request of spans is
//!   reported at once; log records wait for their spans, at most [`SPANS_FOLLOW`].
//! - **Once.** Each invocation is reported once. The item's `uuid` is derived from the request id, so
//!   Rollbar drops the same item of another process.
//! - **Rate.** `rate_limit` folds repetitions.
//! - **Memory.** Evidence, lines and folded items have a bound in bytes, a share of the buffer. Evidence
//!   over it is cut, and its numbers stay exact.
//!
//! Items are payloads of [`SignalKind::Failures`](crate::otlp::payload::SignalKind::Failures): held,
//! spooled, sent and counted like others. The unit of the account is a failure or message, so an item
//! of a burst counts several. Evidence that is [not in a payload yet](FailureReporter::pending_count) is in
//! the sums too, so that a kill does not lose it silently.

pub mod item;
pub mod settings;
pub mod truncate;
mod kept_text;
mod attributes;
mod request;
mod evidence;
mod evidence_limit;
mod log_record;
mod recent_lines;
mod platform_failure;
mod from_otlp;
mod fingerprint;
mod traces;
mod out_of_memory;
mod item_builder;
mod rate_limit;
mod reported;
mod attributed_invocation;
mod failure_reporter;
mod attribution;
mod reporting;

pub use crate::processor::failures::{
    failure_reporter::{FailureReporter, SPANS_FOLLOW},
    platform_failure::PlatformFailure,
    settings::FailureSettings,
};

#[cfg(test)]
mod tests;
