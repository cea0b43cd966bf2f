//! Attributes evidence to the invocation it belongs to.

use std::time::SystemTime;

use crate::processor::{
    failures::{
        attributed_invocation::AttributedInvocation, evidence::Evidence,
        failure_reporter::FailureReporter,
    },
    platform_spans::TraceLookup,
};

/// Most invocations that are kept, since their evidence may still arrive. The oldest is reported when
/// another one arrives.
const REMEMBERED: usize = 16;

/// Most traces without an invocation whose evidence is kept apart. The oldest is reported when another
/// one arrives.
const MAX_TRACES: usize = 64;

impl FailureReporter {
    /// The newest invocation with this trace. While an invocation runs, one that is over is left out: the
    /// trace may be the running one's too, and its server span may still arrive.
    pub(super) fn of_trace(&self, trace_id: &str) -> Option<String> {
        if trace_id.is_empty() {
            return None;
        }
        let mut known = self.invocations.iter().rev();
        let has_it =
            |it: &&AttributedInvocation| it.gathered.trace_ids.iter().any(|id| id == trace_id);
        let is_going_on = |it: &&AttributedInvocation| !it.is_done;
        let going_on = self.has_end_events && known.clone().any(|it| is_going_on(&it));
        let found = known.find(|it| has_it(it) && (!going_on || is_going_on(it)));
        found.map(|it| it.request_id.clone())
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

    pub(super) fn invocation(
        &mut self,
        request_id: &str,
        now: SystemTime,
        lookup: TraceLookup<'_>,
    ) -> &mut AttributedInvocation {
        let found = self.invocations.iter().position(|it| it.request_id == request_id);
        let index = found.unwrap_or_else(|| {
            if self.invocations.len() == REMEMBERED {
                self.invocations[0].is_reported = true; // its report is no longer awaited
                let oldest = self.invocations[0].request_id.clone();
                self.conclude(&oldest, now, lookup);
                self.invocations.pop_front();
            }
            let request_id = request_id.to_owned();
            self.invocations
                .push_back(AttributedInvocation { request_id, ..AttributedInvocation::default() });
            self.invocations.len() - 1
        });
        &mut self.invocations[index]
    }
}
