//! The bound of the bytes of all gathered evidence.

use crate::processor::failures::evidence::Evidence;

#[derive(Debug)]
pub(super) struct EvidenceLimit {
    max_bytes: usize,
    /// Upper bound of the bytes that are held.
    bytes: usize,
}

impl EvidenceLimit {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { max_bytes, bytes: 0 }
    }

    /// Shrinks the largest evidence until `more` bytes fit, if they do not. `false` if they never fit.
    pub(super) fn make_room<'a>(
        &mut self,
        more: usize,
        all: impl Iterator<Item = &'a mut Evidence>,
    ) -> bool {
        self.bytes += more;
        if self.bytes <= self.max_bytes {
            return true;
        }
        let mut all: Vec<_> = all.map(|evidence| (evidence.bytes(), evidence)).collect();
        all.sort_unstable_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        self.bytes = more + all.iter().map(|(bytes, _)| bytes).sum::<usize>();
        for (bytes, evidence) in all {
            // Half of the bound, so that the next findings do not search again.
            if self.bytes <= self.max_bytes / 2 {
                break;
            }
            evidence.shrink();
            self.bytes = self.bytes - bytes + evidence.bytes();
        }
        self.bytes <= self.max_bytes
    }
}
