//! The parts of traces and their sampling decisions.
//!
//! A part is the spans of one trace that one invocation made. Its decision is made once, and later spans
//! follow it.

use std::{
    collections::HashSet,
    sync::{Arc, OnceLock},
    time::SystemTime,
};

use trace_context::TraceId;

use crate::bounded_map::BoundedMap;
use crate::invocation::attempt::AttemptId;

/// Most traces whose parts are known, at some 200 bytes each: more than the invocations of a minute.
const MAX_TRACES: usize = 2_048;

/// Most parts of one trace: a caller may send one id with all its requests.
const MAX_PARTS: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SamplingDecision {
    /// A rule keeps it, so it stands for itself.
    Kept,
    /// It is one of N, and stands for N.
    Chosen,
    LeftOut,
}

/// Shared with the payloads that wait for the decision.
pub(super) type SharedDecision = Arc<OnceLock<SamplingDecision>>;

#[derive(Debug)]
pub(super) struct Part {
    trace_id: TraceId,
    /// The attempt that made it, as far as it is known.
    pub(super) attempt: Option<AttemptId>,
    /// Whether a server span names the attempt; otherwise it was found by time.
    is_claimed: bool,
    /// Whether a span of it is significant.
    pub(super) is_significant: bool,
    is_chosen: bool,
    pub(super) since: SystemTime,
    decision: SharedDecision,
}

/// What is known of a span's part.
#[derive(Clone, Copy, Debug)]
pub(super) struct PartEvidence {
    pub(super) trace_id: TraceId,
    /// `None` if neither a request id nor the time names it: the last part of the trace.
    pub(super) attempt: Option<AttemptId>,
    /// The attempt of a new part, if `attempt` is `None`.
    pub(super) otherwise: Option<AttemptId>,
    /// Whether a server span names the attempt.
    pub(super) is_claim: bool,
    /// Whether the trace is that of the attempt's server span or header.
    pub(super) is_own_trace: bool,
    pub(super) is_significant: bool,
    pub(super) at: SystemTime,
}

#[derive(Debug)]
pub(super) struct Parts {
    /// The parts of each trace, oldest first.
    by_trace: BoundedMap<TraceId, Vec<Part>>,
    /// The traces that may have an undecided part.
    open: HashSet<TraceId>,
}

impl Default for Parts {
    fn default() -> Self {
        Self { by_trace: BoundedMap::new(MAX_TRACES), open: HashSet::new() }
    }
}

impl Part {
    /// Decides by the choice of the trace, unless the part is kept.
    pub(super) fn decide(&self, is_kept: bool) {
        let choice =
            if self.is_chosen { SamplingDecision::Chosen } else { SamplingDecision::LeftOut };
        let kept = is_kept || self.is_significant;
        // The first decision stays.
        let _ = self.decision.set(if kept { SamplingDecision::Kept } else { choice });
    }

    fn is_open(&self) -> bool {
        self.decision.get().is_none()
    }

    /// False while it is undecided: the failure that asks may keep it.
    fn is_left_out(&self) -> bool {
        self.decision.get() == Some(&SamplingDecision::LeftOut)
    }
}

impl Parts {
    /// Adds a span to its part. `choose` is called for a new one.
    pub(super) fn join(
        &mut self,
        evidence: &PartEvidence,
        choose: impl FnOnce() -> bool,
    ) -> SharedDecision {
        let PartEvidence { trace_id, attempt, is_significant, at, .. } = *evidence;
        if self.by_trace.get(&trace_id).is_none() {
            for part in self.by_trace.insert(trace_id, Vec::new()).into_iter().flatten() {
                part.decide(false); // by its evidence so far
                self.open.remove(&part.trace_id);
            }
        }
        let decision = SharedDecision::default();
        // It is there: the trace is known or was inserted.
        let Some(parts) = self.by_trace.get_mut(&trace_id) else { return decision };
        let place = place(parts, evidence).unwrap_or_else(|| {
            if parts.len() == MAX_PARTS {
                parts.remove(0).decide(false);
            }
            let (is_claimed, is_significant, since) = (false, false, at);
            parts.push(Part {
                trace_id,
                attempt: attempt.or(evidence.otherwise),
                is_claimed,
                is_significant,
                is_chosen: choose(),
                since,
                decision,
            });
            self.open.insert(trace_id);
            parts.len() - 1
        });
        let part = &mut parts[place];
        part.is_significant |= is_significant;
        if evidence.is_claim {
            (part.attempt, part.is_claimed) = (attempt, true);
        }
        Arc::clone(&part.decision)
    }

    /// Calls `decide` for each undecided part.
    pub(super) fn decide(&mut self, decide: impl Fn(&Part)) {
        let by_trace = &self.by_trace;
        self.open.retain(|trace_id| {
            let parts = by_trace.get(trace_id).map(Vec::as_slice).unwrap_or_default();
            parts.iter().filter(|part| part.is_open()).for_each(&decide);
            parts.iter().any(Part::is_open)
        });
    }

    /// Whether every known part of the trace is left out. False for an unknown trace.
    pub(super) fn is_left_out(&self, trace_id: TraceId) -> bool {
        let parts = self.by_trace.get(&trace_id).map(Vec::as_slice).unwrap_or_default();
        !parts.is_empty() && parts.iter().all(Part::is_left_out)
    }
}

/// The part of a span.
///
/// - Its attempt's.
/// - A server span also takes an undecided part that was found by time: INVOKE may arrive after the spans of
///   a fast invocation.
/// - A span whose attempt has another trace is a late one: that of the last server span of its trace.
/// - Without an attempt, the last part.
fn place(parts: &[Part], evidence: &PartEvidence) -> Option<usize> {
    let PartEvidence { attempt, is_claim, is_own_trace, .. } = *evidence;
    let last = |is_it: &dyn Fn(&Part) -> bool| parts.iter().rposition(is_it);
    match attempt {
        None => parts.len().checked_sub(1),
        Some(_) => {
            last(&|part| part.attempt == attempt).or_else(|| match (is_claim, is_own_trace) {
                (true, _) => last(&|part| !part.is_claimed && part.is_open()),
                (false, true) => None,
                (false, false) => last(&|part| part.is_claimed),
            })
        }
    }
}

/// The decisions on which a payload waits.
#[derive(Clone, Debug, Default)]
pub struct PayloadParts {
    decisions: Vec<SharedDecision>,
    /// The place of each item's decision; empty if there is one decision.
    by_item: Vec<u16>,
}

impl PayloadParts {
    /// `by_item`: the place of each item's decision.
    pub(super) fn new(decisions: Vec<SharedDecision>, by_item: Vec<u16>) -> Self {
        let by_item = if decisions.len() == 1 { Vec::new() } else { by_item };
        Self { decisions, by_item }
    }

    pub fn is_decided(&self) -> bool {
        self.decisions.iter().all(|decision| decision.get().is_some())
    }

    /// The decision of all items, if it is one.
    pub fn common(&self) -> Option<SamplingDecision> {
        let first = *self.decisions.first()?.get()?;
        self.decisions.iter().all(|decision| decision.get() == Some(&first)).then_some(first)
    }

    /// The decision of an item, by its place in the payload. An undecided one is kept.
    pub fn of_item(&self, place: usize) -> SamplingDecision {
        let place = self.by_item.get(place).copied().unwrap_or_default();
        let decision = self.decisions.get(usize::from(place)).and_then(|decision| decision.get());
        decision.copied().unwrap_or(SamplingDecision::Kept)
    }
}
