//! Lines of batches that are not done with, of which the service has said what becomes of them: when
//! they come again, in whatever company, they are left out.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use crate::otlp::line_codec::LogLine;

/// Most different lines. Our choice: what a few batches hold. Beyond it all are forgotten, those of
/// batches that were given up among them, and lines may be there twice.
const MAX_LINES: usize = 1 << 16;

/// See the module's documentation. Lines are told apart by a hash, and counted: two of one
/// millisecond may be the same.
#[derive(Clone, Debug, Default)]
pub(super) struct AcknowledgedLines(HashMap<u64, LineOutcome>);

#[derive(Clone, Copy, Debug)]
struct LineOutcome {
    times: u64,
    /// Not taken, for good.
    refused: bool,
}

impl AcknowledgedLines {
    /// The service has spoken of a line.
    pub(super) fn note(&mut self, line: &LogLine<'_>, refused: bool) {
        if self.0.len() == MAX_LINES {
            self.0.clear();
        }
        self.0.entry(hash(line)).or_insert(LineOutcome { times: 0, refused }).times += 1;
    }

    /// Forgets a line, once, and says whether it was refused. `None` if it is unknown.
    pub(super) fn take(&mut self, line: &LogLine<'_>) -> Option<bool> {
        if self.0.is_empty() {
            return None;
        }
        let key = hash(line);
        let fate = self.0.get_mut(&key)?;
        let refused = fate.refused;
        fate.times -= 1;
        if fate.times == 0 {
            self.0.remove(&key);
        }
        Some(refused)
    }
}

fn hash(line: &LogLine<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (line.time_ms, line.json).hash(&mut hasher);
    hasher.finish()
}
