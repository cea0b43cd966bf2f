//! A document that is ready to be sent, and X-Ray's refusal of one.

use trace_context::{SpanId, TraceId};

pub(super) type SegmentId = (TraceId, SpanId);

#[derive(Debug)]
pub(super) struct Segment {
    pub(super) id: SegmentId,
    pub(super) json: String,
    pub(super) annotations: usize,
    /// Copies of the span in the batch; the document is sent once.
    pub(super) spans: u64,
}

/// X-Ray's refusal of one document.
#[derive(Debug)]
pub(super) struct SegmentRefusal {
    /// `None` if X-Ray could not read the document's id.
    pub(super) id: Option<String>,
    /// For example `InvalidSegment`.
    pub(super) code: String,
    pub(super) message: String,
}

impl SegmentRefusal {
    /// Whether X-Ray may accept the document later.
    pub(super) fn is_temporary(&self) -> bool {
        const CODES: [&str; 7] = [
            "InternalError",
            "InternalFailure",
            "InternalServerError",
            "LimitExceeded",
            "RequestLimitExceeded",
            "ServiceUnavailable",
            "TooManyRequests",
        ];
        let code = self.code.trim_end_matches("Exception");
        code.contains("Throttl") || CODES.contains(&code)
    }

    pub(super) fn is_of(&self, id: SpanId) -> bool {
        self.id.as_ref().is_some_and(|refused| *refused == id.to_string())
    }
}
