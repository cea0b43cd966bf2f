//! FailureReporter: whatever went wrong in an invocation becomes one item, and each message that somebody
//! wants to be reported one more. The [Rollbar exporter](crate::exporter::rollbar) sends them.
//!
//! ```text
//! spans, log records ─┐                    one item for each
//! lines ──────────────┼─▶ gathered by ────▶ invocation, when ──▶ bursts ──▶ signals
//! platform events ────┘   request, trace    it is over           folded
//! ```
//! - **Whose.** A span is of the invocation whose server span is in its trace; one that comes
//!   before that waits. Where no server span ever comes, what came during an invocation is its.
//! - **When.** An invocation is over when the runtime is done with it, or the next one begins, or
//!   the sandbox ends. Where nothing tells (emulators, Managed Instances), with each request of
//!   spans; what only log records tell waits for those, but no longer than [`SPANS_FOLLOW`].
//! - **Once.** Of an invocation that was told nothing is told again, such as the platform's
//!   report, one invocation later. The item's `uuid` is made of the request's id: should another
//!   process tell the same again, Rollbar drops it.
//! - **At most.** `bursts` folds what repeats itself.
//!
//! Made items are signals like all others, of [`SignalKind::Failures`]: held, spooled, sent and accounted
//! for. The unit of Rollbar's account is a failure or message: an item for a burst counts as many.
//! What is only [gathered or folded](FailureReporter::waiting) yet, in memory alone, is in the sums as well,
//! so that a kill is no silent loss.

pub mod item;
pub mod settings;
pub mod truncate;
mod kept_text;
mod attributes;
mod recent_lines;
mod request;
mod evidence;
mod log_record;
mod platform_failure;
mod from_otlp;
mod fingerprint;
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
