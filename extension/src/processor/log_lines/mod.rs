//! LineEnricher: what the function wrote and what the platform says, one JSON object each, complete when
//! they are received, so that who sends them need only cut them into requests.
//!
//! | field | what |
//! |---|---|
//! | the function's own | as the function wrote them, in its order; plain text is a `message` |
//! | `timestamp`, `level`, `message` | of plain text (the level as far as it shows one) and of platform records |
//! | `type`, `record` | of platform records: `platform.report` and the like, and all that it says |
//! | `requestId`, `xray_trace_id` | the invocation's, as the platform has them |
//! | `trace_id`, `span_id` | the line's own, else the server span's if that has come already |
//! | `_aws`, and what it names | metrics: see [`emf`] |
//! | `lambda` | `function`, `version`, `coldStart`, `initializationType`, `phase`: see [`context`] |
//! | `claimed` | what the function said in one of these fields, where the platform knows better |
//! | `cut_from_bytes` | the line's length, where it was longer than [`MAX_LINE_BYTES`] |
//!
//! Secrets are masked ([`crate::scrub`]), terminal colours are taken out. A signal of
//! [`SignalKind::Lines`] holds one line after the other, as [`read`] gives them back.

pub mod context;
pub mod emf;
mod enricher;
pub mod json;
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
