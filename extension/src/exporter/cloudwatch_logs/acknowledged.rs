//! Lines of unfinished batches that the service accepted or rejected. A retry omits them, in whatever
//! batch they arrive.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use crate::otlp::line_codec::LogLine;

/// Most distinct lines, about those of a few batches. A full set is cleared, which also forgets lines of
/// dropped batches; lines may then be written twice.
const MAX_LINES: usize = 1 << 16;

/// Outcomes by the line's hash. Each is counted, since two lines of one millisecond may be identical.
#[derive(Clone, Debug, Default)]
pub(super) struct AcknowledgedLines(HashMap<u64, LineOutcome>);

#[derive(Clone, Copy, Debug)]
struct LineOutcome {
    times: u64,
    is_rejected: bool,
}

impl AcknowledgedLines {
    pub(super) fn insert(&mut self, line: &LogLine<'_>, is_rejected: bool) {
        if self.0.len() == MAX_LINES {
            self.0.clear();
        }
        self.0.entry(hash(line)).or_insert(LineOutcome { times: 0, is_rejected }).times += 1;
    }

    /// Removes one occurrence of a line. Returns whether it was rejected; `None` if it is unknown.
    pub(super) fn take(&mut self, line: &LogLine<'_>) -> Option<bool> {
        if self.0.is_empty() {
            return None;
        }
        let key = hash(line);
        let outcome = self.0.get_mut(&key)?;
        let is_rejected = outcome.is_rejected;
        outcome.times -= 1;
        if outcome.times == 0 {
            self.0.remove(&key);
        }
        Some(is_rejected)
    }
}

fn hash(line: &LogLine<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (line.time_ms, line.json).hash(&mut hasher);
    hasher.finish()
}
