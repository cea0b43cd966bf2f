//! Log lines: each line of the function and each platform record becomes one JSON object when it is
//! received. Exporters cut the lines into requests.
//!
//! | field | content |
//! |---|---|
//! | the function's own | as the function wrote them, in its order; plain text is a `message` |
//! | `timestamp`, `level`, `message` | of plain text (the level if the text shows one) and of platform records |
//! | `type`, `record` | of platform records: the type, such as `platform.report`, and the record, if it takes less than half of the longest line |
//! | `requestId`, `xray_trace_id` | the invocation's, as the platform has them |
//! | `tenantId` | the line's own, else the tenant of the sandbox |
//! | `trace_id`, `span_id` | the line's own, else the server span's if it has arrived; else the trace id of an earlier line of the invocation |
//! | `_aws`, and the members that it names | metrics: see [`emf`] |
//! | `lambda` | `function`, `version`, `coldStart`, `initializationType`, `phase`: see [`sandbox_facts`]; `invocation`: `unknown` on a managed instance, for a line without ids |
//! | `claimed` | the function's own values of `requestId`, `xray_trace_id`, `lambda` and `claimed`, where ours differ |
//! | `cut_from_bytes` | the length of the text or record that was cut, where the line was longer than [`MAX_LINE_BYTES`](crate::otlp::line_codec::MAX_LINE_BYTES) |
//!
//! [`Registry::of_line`](crate::invocation::registry::Registry::of_line) attributes lines by the order of
//! the Telemetry API's events: lines between one `platform.start` and the next belong to the first. A line
//! that names a known invocation belongs to it. A managed instance runs several at once: there a line
//! belongs to the invocation of its request id or trace id, and without either to none. Without INVOKE
//! elsewhere, other lines belong to the only running invocation or, while none runs, to the last.
//!
//! Secrets are masked ([`crate::scrub`]), and terminal colours are removed from plain text.
//! [`crate::otlp::line_codec`] encodes the lines.

pub mod emf;
mod enricher;
pub mod json;
pub mod sandbox_facts;
mod level;
mod shorten;
mod invocation_fields;
mod platform_message;

pub use crate::processor::log_lines::{
    enricher::{LineEnricher, LineSettings},
    shorten::shortened,
};

#[cfg(test)]
pub(crate) mod tests;
