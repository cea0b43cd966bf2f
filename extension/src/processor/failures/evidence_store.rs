//! All evidence that is not reported yet, within one bound of bytes.

use std::collections::{BTreeMap, VecDeque};

use crate::invocation::attempt::AttemptId;
use crate::processor::failures::evidence::Evidence;

/// Most attempts that are over and have nothing to report, whose traces are kept for late spans.
const MAX_ENDED: usize = 16;

/// Most strays. The oldest is reported when another one arrives.
const MAX_STRAYS: usize = 64;

#[derive(Debug)]
pub(super) struct EvidenceStore {
    /// The registry bounds the attempts.
    pub(super) attempts: BTreeMap<AttemptId, Evidence>,
    /// Evidence of traces without a known attempt, oldest first. The one without a trace holds lines
    /// without an attempt, and log records without either.
    pub(super) strays: VecDeque<Evidence>,
    max_bytes: usize,
    /// Upper bound of the bytes that are held.
    bytes: usize,
}

impl EvidenceStore {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { attempts: BTreeMap::new(), strays: VecDeque::new(), max_bytes, bytes: 0 }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.max_bytes);
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Evidence> {
        self.attempts.values().chain(&self.strays)
    }

    pub(super) fn of_attempt(&mut self, id: AttemptId) -> &mut Evidence {
        self.attempts.entry(id).or_default()
    }

    pub(super) fn has_exited(&self, id: AttemptId) -> bool {
        self.attempts.get(&id).is_some_and(Evidence::has_exited)
    }

    /// The newest attempt with one of these traces.
    pub(super) fn of_traces(
        &self,
        trace_ids: &[String],
        is_it: impl Fn(AttemptId) -> bool,
    ) -> Option<AttemptId> {
        let mut newest = self.attempts.iter().rev();
        newest.find(|(id, it)| it.shares_trace(trace_ids) && is_it(**id)).map(|(id, _)| *id)
    }

    pub(super) fn stray(&mut self, trace_id: &str) -> &mut Evidence {
        let index = self.stray_index(trace_id).unwrap_or_else(|| {
            self.strays.push_back(Evidence::default());
            self.strays.len() - 1
        });
        &mut self.strays[index]
    }

    /// Removes the stray without a trace.
    pub(super) fn take_traceless(&mut self) -> Evidence {
        let index = self.stray_index("");
        index.and_then(|index| self.strays.remove(index)).unwrap_or_default()
    }

    fn stray_index(&self, trace_id: &str) -> Option<usize> {
        self.strays.iter().position(|stray| match trace_id {
            "" => stray.trace_ids.is_empty(),
            trace_id => stray.trace_ids.iter().any(|id| id == trace_id),
        })
    }

    /// Makes room for evidence of this size: the largest evidence is cut until all of it fits in half of the
    /// bound, so that the next evidence does not search again. Returns the oldest stray if there is no room
    /// for it.
    pub(super) fn make_room(&mut self, bytes: usize) -> Option<Evidence> {
        self.bytes += bytes;
        if self.bytes > self.max_bytes {
            let all = self.attempts.values_mut().chain(&mut self.strays);
            let mut all: Vec<_> = all.map(|evidence| (evidence.bytes(), evidence)).collect();
            all.sort_unstable_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
            self.bytes = bytes + all.iter().map(|(bytes, _)| bytes).sum::<usize>();
            for (before, evidence) in all {
                if self.bytes <= self.max_bytes / 2 {
                    break;
                }
                evidence.shrink();
                self.bytes = self.bytes - before + evidence.bytes();
            }
        }
        let is_full = self.bytes > self.max_bytes || self.strays.len() > MAX_STRAYS;
        if is_full { self.strays.pop_front() } else { None }
    }

    /// Forgets the oldest attempts that are over and have nothing to report.
    pub(super) fn forget_ended(&mut self, is_running: impl Fn(AttemptId) -> bool) {
        let mut newer = 0;
        let newest = self.attempts.iter().rev();
        let ended = newest.filter(|(id, it)| it.is_empty() && !is_running(**id)).filter(|_| {
            newer += 1;
            newer > MAX_ENDED
        });
        let ended: Vec<AttemptId> = ended.map(|(id, _)| *id).collect();
        ended.iter().for_each(|id| drop(self.attempts.remove(id)));
    }
}
