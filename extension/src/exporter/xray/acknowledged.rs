//! Spans of unfinished batches that X-Ray accepted or refused. A retry omits them, in whatever batch they
//! arrive and on either way to X-Ray.

use crate::bounded_map::BoundedMap;
use crate::exporter::xray::segment::SegmentId;

/// Most spans, about 100 bytes each. Beyond it, the oldest may be sent again, which X-Ray asks senders
/// to avoid.
const MAX_ACKNOWLEDGED: usize = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AcknowledgedSpan {
    pub(super) is_refused: bool,
    /// Annotations of its document.
    pub(super) annotations: usize,
}

/// By the ids that X-Ray has of them.
#[derive(Debug)]
pub(super) struct AcknowledgedSpans(BoundedMap<SegmentId, AcknowledgedSpan>);

impl Default for AcknowledgedSpans {
    fn default() -> Self {
        Self(BoundedMap::new(MAX_ACKNOWLEDGED))
    }
}

impl AcknowledgedSpans {
    pub(super) fn get(&self, id: SegmentId) -> Option<AcknowledgedSpan> {
        self.0.get(&id).copied()
    }

    pub(super) fn insert(&mut self, id: SegmentId, span: AcknowledgedSpan) {
        self.0.insert(id, span);
    }

    /// Forgets the spans of a complete batch.
    pub(super) fn forget(&mut self, ids: &[SegmentId]) {
        ids.iter().for_each(|id| self.0.remove(id));
    }
}
