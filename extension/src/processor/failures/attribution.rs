//! Attributes evidence to the invocation it belongs to.

use std::time::SystemTime;

use crate::invocation::attempt::AttemptId;
use crate::processor::failures::attributed_invocation::AttributedInvocation;
use crate::processor::failures::evidence::Evidence;
use crate::processor::failures::failure_reporter::FailureReporter;

/// Most invocations that are over and have nothing to report, whose traces are kept for late spans.
const MAX_ENDED: usize = 16;

/// Most traces without an invocation whose evidence is kept apart. The oldest is reported when another
/// one arrives.
const MAX_TRACES: usize = 64;

impl FailureReporter {
    /// The newest invocation with this trace. While an invocation runs, one that is over is left out: the
    /// trace may be the running one's too, and its server span may still arrive.
    pub(super) fn of_trace(&self, trace_id: &str) -> Option<AttemptId> {
        if trace_id.is_empty() {
            return None;
        }
        let is_running = |id: AttemptId| self.registry.is_running(id);
        let going_on = self.has_end_events && self.invoked.is_some_and(is_running);
        let has_it = |it: &&AttributedInvocation| {
            it.gathered.trace_ids.iter().any(|id| id == trace_id)
                && (!going_on || is_running(it.id))
        };
        self.invocations.iter().rev().find(has_it).map(|it| it.id)
    }

    pub(super) fn stray(&mut self, trace_id: &str, now: SystemTime) -> &mut Evidence {
        let is_it = |stray: &Evidence| match trace_id {
            "" => stray.trace_ids.is_empty(),
            trace_id => stray.trace_ids.iter().any(|id| id == trace_id),
        };
        let index = self.strays.iter().position(is_it).unwrap_or_else(|| {
            if self.strays.len() == MAX_TRACES
                && let Some(oldest) = self.strays.pop_front()
            {
                self.report_stray(oldest, now);
            }
            self.strays.push_back(Evidence::default());
            self.strays.len() - 1
        });
        &mut self.strays[index]
    }

    /// Makes room for evidence of this size. If cutting all evidence does not suffice, that of the oldest
    /// trace without an invocation is reported.
    pub(super) fn make_room(&mut self, bytes: usize, now: SystemTime) {
        let invocations = self.invocations.iter_mut().map(|it| &mut it.gathered);
        let has_room = self.evidence_limit.make_room(bytes, invocations.chain(&mut self.strays));
        if !has_room && let Some(oldest) = self.strays.pop_front() {
            self.report_stray(oldest, now);
        }
    }

    /// The registry bounds the invocations: it evicts the oldest, which [`FailureReporter::evict`]
    /// concludes.
    pub(super) fn invocation(&mut self, id: AttemptId) -> &mut AttributedInvocation {
        let index = self.invocations.binary_search_by_key(&id, |it| it.id);
        let index = index.unwrap_or_else(|index| {
            self.invocations.insert(index, AttributedInvocation::new(id));
            index
        });
        &mut self.invocations[index]
    }

    /// Forgets the oldest invocations that are over and have nothing to report.
    pub(super) fn forget_ended(&mut self) {
        let is_ended =
            |it: &AttributedInvocation| it.gathered.is_empty() && !self.registry.is_running(it.id);
        let ended = self.invocations.iter().filter(|it| is_ended(it)).count();
        let mut excess = ended.saturating_sub(MAX_ENDED);
        self.invocations.retain(|it| {
            let is_forgotten = excess > 0 && is_ended(it);
            excess -= usize::from(is_forgotten);
            !is_forgotten
        });
    }
}
