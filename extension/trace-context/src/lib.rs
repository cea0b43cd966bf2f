//! The two headers that carry a trace, and the ids that they share.
//!
//! AWS speaks `X-Amzn-Trace-Id` ([`XrayHeader`]), everybody else `traceparent` ([`TraceParent`]).
//! Both hold a 16-byte trace id and an 8-byte span id, so [`TraceId`] and [`SpanId`] serve both.
//! The function and the extension read the same headers with this one crate: no async, no AWS SDK.
//!
//! Anybody can send either header: parsing never panics, and what is not valid is `None`.

mod id;
mod traceparent;
mod xray;

pub use id::{SpanId, TraceId};
pub use traceparent::TraceParent;
pub use xray::XrayHeader;

/// Longest header that is looked at, in bytes; a longer one counts as absent.
///
/// Our choice: real headers stay below 200 bytes even with a `Lineage` part.
const MAX_HEADER_BYTES: usize = 1024;
