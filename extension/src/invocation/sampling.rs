//! Decides which parts Honeycomb gets.
//!
//! | a part | decision |
//! |---|---|
//! | with a [significant](crate::otlp::item_facts) span or log record | kept |
//! | of an attempt that is the first, has failed, has logged an error, or ran longer than `slow` | kept |
//! | of another attempt that is over | one in N, by its [trace](crate::invocation::choice) |
//! | of no known attempt, or of one that neither INVOKE nor `platform.start` named, after `slow` | the same |
//! | of an earlier process, of an evicted record, or at SHUTDOWN | the same, by the evidence so far |
//!
//! Until then the payload waits in the pipeline's queue of Honeycomb, in memory and on disk. The pipeline
//! reads it when a flush begins, since that is after the reply, and then most attempts are known. The
//! decision of a part is kept here, so late spans follow it. That of a payload is kept in its record: the
//! flag "undecided" goes, or another record takes its place with the rate in its bytes. So the next
//! process decides the undecided records alone.
//!
//! After a restart a late span of a decided part is decided anew. The choice is the same; a part that a rule
//! kept may lack the span.

use std::{
    collections::HashMap,
    sync::{MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use trace_context::TraceId;

use crate::invocation::attempt::{Attempt, AttemptId};
use crate::invocation::attempts::Attempts;
use crate::invocation::choice::SamplingSettings;
use crate::invocation::parts::{
    Part, PartEvidence, Parts, PayloadParts, SamplingDecision, SharedDecision,
};
use crate::invocation::registry::{Registry, Sampling};
use crate::otlp::item_facts::ItemFacts;
use crate::otlp::payload::{self, SignalKind};
use crate::otlp::wire::nested;

/// Most parts of one payload. The items of further traces follow the last one, which bounds memory.
const MAX_PARTS_OF_PAYLOAD: usize = 4_096;

/// Most attempts among which a span is placed by its time.
const MAX_PLACES: usize = 16;

impl Registry {
    /// `None` if all spans are sent.
    pub fn sampling_settings(&self) -> Option<&SamplingSettings> {
        self.sampling().map(|sampling| &sampling.settings)
    }

    /// Adds the items of a payload to their parts. `is_earlier`: an earlier process has received it.
    pub fn observe(&self, kind: SignalKind, request: &[u8], is_earlier: bool) -> PayloadParts {
        let Some(sampling) = self.sampling() else { return PayloadParts::default() };
        let mut observer = Observer::new(self, sampling, is_earlier);
        for resource_items in nested(request, 1) {
            let is_forwarded = payload::is_forwarded(resource_items);
            for item in nested(resource_items, 2).flat_map(|scope| nested(scope, 2)) {
                let mut facts = ItemFacts::of(kind, item, sampling.settings.slow);
                facts.request_id = facts.request_id.filter(|_| !is_forwarded);
                observer.add(&facts);
            }
        }
        PayloadParts::new(observer.decisions, observer.by_item)
    }

    /// Decides the parts that are over or kept; with `is_last`, all.
    pub fn decide(&self, now: SystemTime, is_last: bool) {
        let Some(sampling) = self.sampling() else { return };
        let slow = sampling.settings.slow;
        let mut parts = sampling.lock();
        let attempts = self.lock();
        parts.decide(|part| {
            let attempt = part.attempt.and_then(|id| attempts.get(id));
            let is_kept = part.is_significant
                || attempt.is_some_and(|it| is_significant(it, &attempts, slow, now));
            if is_kept || is_last || is_over(part, attempt, &attempts, slow, now) {
                part.decide(is_kept);
            }
        });
    }

    /// The spans, lines and end of an attempt are known, as far as they are awaited.
    pub fn conclude(&self, id: AttemptId) {
        if self.sampling().is_some()
            && let Some(attempt) = self.lock().get_mut(id)
        {
            attempt.is_concluded = true;
        }
    }

    /// Records a log line of level ERROR or above.
    pub fn set_error_line(&self, id: AttemptId) {
        if let Some(attempt) = self.lock().get_mut(id) {
            attempt.has_error_line = true;
        }
    }

    /// Records a failure that only the end of the sandbox shows.
    pub fn set_failed(&self, id: AttemptId) {
        if let Some(attempt) = self.lock().get_mut(id) {
            attempt.has_failed = true;
        }
    }

    /// Whether Honeycomb gets no span of this trace from here, as far as is known. False for an unknown
    /// trace.
    pub fn is_left_out(&self, trace_id: TraceId) -> bool {
        self.sampling().is_some_and(|sampling| sampling.lock().is_left_out(trace_id))
    }

    /// The last attempts, newest first. Empty where several run at once.
    fn last_begun(&self) -> Vec<BegunAttempt> {
        let attempts = self.lock();
        let begun = attempts.iter().rev().filter(|it| it.has_begun());
        let begun = begun.take(if attempts.invoked.is_some() { MAX_PLACES } else { 0 });
        begun.map(BegunAttempt::of).collect()
    }

    fn attempt_of_server_span(
        &self,
        request_id: &[u8],
        ended: Option<SystemTime>,
    ) -> Option<AttemptId> {
        self.lock().of_span(str::from_utf8(request_id).ok()?, ended)
    }

    fn attempt_of_root(&self, root: TraceId) -> Option<AttemptId> {
        self.lock().of_root(root)
    }
}

impl Sampling {
    fn lock(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_significant(attempt: &Attempt, attempts: &Attempts, slow: Duration, now: SystemTime) -> bool {
    let is_running = attempt.is_open() && !attempts.is_past(attempt.id);
    let until = attempt.done_at.or(attempt.ended_at).or(is_running.then_some(now));
    let until = until.filter(|_| attempt.has_begun());
    let ran = until.and_then(|until| until.duration_since(attempt.began).ok());
    attempt.is_first
        || attempt.has_failed
        || attempt.has_error_line
        || ran.is_some_and(|ran| ran > slow)
}

fn is_over(
    part: &Part,
    attempt: Option<&Attempt>,
    attempts: &Attempts,
    slow: Duration,
    now: SystemTime,
) -> bool {
    let is_evicted = part.attempt.is_some() && attempt.is_none();
    let is_past = attempt.is_some_and(|it| it.is_concluded || attempts.is_past(it.id));
    let is_running = attempt.is_some_and(Attempt::is_open);
    let is_old = now.duration_since(part.since).is_ok_and(|age| age >= slow);
    is_evicted || is_past || is_old && !is_running
}

#[derive(Clone, Copy)]
struct BegunAttempt {
    id: AttemptId,
    began: SystemTime,
    /// Those of its server span and its header.
    traces: [Option<TraceId>; 2],
}

impl BegunAttempt {
    fn of(attempt: &Attempt) -> Self {
        let root = attempt.xray_header.as_ref().map(|header| header.parsed.root);
        let traces = [attempt.server.map(|server| server.trace_id), root];
        Self { id: attempt.id, began: attempt.began, traces }
    }
}

/// `None` stands for items without a trace.
type PartKey = Option<(TraceId, Option<AttemptId>)>;

/// Finds the part of each item of one payload.
struct Observer<'a> {
    registry: &'a Registry,
    sampling: &'a Sampling,
    /// Newest first.
    begun: Vec<BegunAttempt>,
    now: SystemTime,
    /// The place of each part's decision.
    places: HashMap<PartKey, u16>,
    /// The part of the item before, since most items have the same one.
    last: Option<(PartKey, u16)>,
    decisions: Vec<SharedDecision>,
    by_item: Vec<u16>,
}

impl<'a> Observer<'a> {
    /// `is_earlier`: its items are of no attempt of this process, and old.
    fn new(registry: &'a Registry, sampling: &'a Sampling, is_earlier: bool) -> Self {
        Self {
            registry,
            sampling,
            begun: if is_earlier { Vec::new() } else { registry.last_begun() },
            now: if is_earlier { SystemTime::UNIX_EPOCH } else { SystemTime::now() },
            places: HashMap::new(),
            last: None,
            decisions: Vec::new(),
            by_item: Vec::new(),
        }
    }

    fn add(&mut self, facts: &ItemFacts<'_>) {
        let claimed = facts
            .request_id
            .and_then(|request_id| self.registry.attempt_of_server_span(request_id, facts.ended));
        let attempt = claimed.or_else(|| self.attempt_at(facts.ended));
        let key = facts.trace_id.map(|trace_id| (trace_id, attempt));
        let known = match self.last {
            Some((last, place)) if last == key => Some(place),
            _ => self.places.get(&key).copied(),
        };
        let has_news = claimed.is_some() || facts.is_significant;
        let place = match known {
            Some(place) if !has_news => place,
            _ => {
                let decision = self.decision(facts, attempt, claimed.is_some());
                known.unwrap_or_else(|| self.push(key, decision))
            }
        };
        self.last = Some((key, place));
        self.by_item.push(place);
    }

    /// Returns the place of a part's decision.
    fn push(&mut self, key: PartKey, decision: SharedDecision) -> u16 {
        if self.decisions.len() < MAX_PARTS_OF_PAYLOAD {
            self.places.insert(key, self.decisions.len() as u16);
            self.decisions.push(decision);
        }
        (self.decisions.len() - 1) as u16
    }

    fn decision(
        &self,
        facts: &ItemFacts<'_>,
        attempt: Option<AttemptId>,
        is_claim: bool,
    ) -> SharedDecision {
        let Some(trace_id) = facts.trace_id else {
            // There is no id to choose by.
            return SharedDecision::new(SamplingDecision::Kept.into());
        };
        let is_its =
            |it: &BegunAttempt| Some(it.id) == attempt && it.traces.contains(&Some(trace_id));
        let of_root = || self.registry.attempt_of_root(trace_id);
        let evidence = PartEvidence {
            trace_id,
            attempt,
            // A span of init, or one with another clock.
            otherwise: of_root().or_else(|| self.begun.first().map(|it| it.id)),
            is_claim,
            is_own_trace: self.begun.iter().any(is_its),
            is_significant: facts.is_significant,
            at: self.now,
        };
        self.sampling.lock().join(&evidence, || self.sampling.settings.chooses(trace_id))
    }

    /// The last attempt that began before this time.
    fn attempt_at(&self, time: Option<SystemTime>) -> Option<AttemptId> {
        let time = time?;
        self.begun.iter().find(|it| it.began <= time).map(|it| it.id)
    }
}

#[cfg(test)]
mod tests;
