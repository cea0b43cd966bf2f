//! Each failed invocation becomes one Rollbar item, and each message that a function asks to report
//! becomes another. The [Rollbar exporter](crate::exporter::rollbar) sends them.
//!
//! ```text
//! spans, log records ─┐
//! lines ──────────────┼─▶ Evidence of one ─▶ item_builder ─▶ rate_limit ─▶ payload
//! platform events ────┘   attempt, or stray
//! ```
//! - **Attribution.** A signal adds to the `Evidence` of the attempt that it names, or whose
//!   server span shares its trace. Other evidence is a stray until then; if no server span comes, it
//!   belongs to the invocation that ends next.
//! - **Time.** Evidence is reported when the runtime has finished the invocation, the next one begins,
//!   or the sandbox ends. Without such events (emulators, Managed Instances) each request of spans is
//!   reported at once; log records wait for their spans, at most [`SPANS_FOLLOW`].
//! - **Once.** A reported failure leaves a tombstone, so late evidence does not report it again. The item's
//!   `uuid` is derived from the request id, so Rollbar drops the same item of another process.
//! - **Content.** `item_builder` lists which evidence decides which part of the item.
//! - **Memory.** Evidence, lines and folded items share one bound in bytes, a part of the buffer. Evidence
//!   over it is cut, and its numbers stay exact.
//! - **Account.** Its unit is a failure or message, so an item of a burst counts several.
//!   [Evidence that waits](FailureReporter::pending_count) is in the sums, so a kill counts it as lost.

pub mod item;
pub mod settings;
pub mod truncate;
mod kept_text;
mod attributes;
mod request;
mod evidence;
mod evidence_store;
mod log_record;
mod recent_lines;
mod platform_failure;
mod from_otlp;
mod fingerprint;
mod traces;
mod out_of_memory;
mod item_builder;
mod rate_limit;
mod failure_reporter;
mod reporting;

pub use crate::processor::failures::{
    failure_reporter::{FailureReporter, SPANS_FOLLOW},
    platform_failure::PlatformFailure,
    settings::FailureSettings,
};

#[cfg(test)]
mod tests;
