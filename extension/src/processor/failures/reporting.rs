//! Turns evidence into items, each failure once.

use std::{
    collections::{BTreeSet, VecDeque},
    mem,
    sync::Arc,
    time::SystemTime,
};

use crate::invocation::attempt::{Attempt, AttemptId};
use crate::otlp::failure_codec::signal;
use crate::processor::failures::evidence::{Evidence, PlatformEnd};
use crate::processor::failures::failure_reporter::FailureReporter;
use crate::processor::failures::fingerprint::hash;
use crate::processor::failures::item_builder::{ItemContext, NewItem};
use crate::processor::failures::truncate::fitted;

impl FailureReporter {
    /// Reports an invocation that is over, unless its report may still name the cause. Strays of other
    /// invocations are reported too.
    pub fn conclude(&mut self, id: AttemptId, now: SystemTime) {
        let awaits_report = self.evidence.has_exited(id) && !self.registry.is_over(id);
        if let Some(attempt) = self.registry.get(id).filter(|_| !awaits_report) {
            let strays = mem::take(&mut self.evidence.strays);
            self.report(&attempt, strays, now);
        }
    }

    /// Reports the evidence of an attempt with the strays that belong to it, and then the other strays.
    pub(super) fn report(
        &mut self,
        attempt: &Attempt,
        strays: VecDeque<Evidence>,
        now: SystemTime,
    ) {
        let has_end_events = self.has_end_events;
        let evidence = self.evidence.of_attempt(attempt.id);
        if evidence.trace_ids.is_empty() {
            let root = attempt.xray_header.as_ref().map(|header| header.parsed.root);
            let trace_id = attempt.server.map(|server| server.trace_id).or(root);
            trace_id.iter().for_each(|id| evidence.add_trace(&id.to_string()));
        }
        // Decided before any stray is merged, so that their order does not matter.
        let is_its = |stray: &Evidence| evidence.owns(stray, has_end_events);
        let (its, others): (Vec<_>, Vec<_>) = strays.into_iter().partition(is_its);
        its.into_iter().for_each(|stray| evidence.merge(stray));
        let evidence = evidence.take();
        self.report_evidence(evidence, attempt.key(), Some(attempt.clone()), now);
        others.into_iter().for_each(|stray| self.report_stray(stray, now));
    }

    /// Upper bound of the failures and messages that the gathered evidence would make now. Later spans
    /// may show that several are one.
    pub fn pending_count(&self) -> u64 {
        let fails = |evidence: &Evidence| self.builder.level(evidence).is_some();
        let attempts = &self.evidence.attempts;
        let failing = attempts.iter().filter(|(_, it)| fails(it)).map(|(id, _)| *id);
        let mut failing: BTreeSet<AttemptId> = failing.collect();
        // Strays will be reported with the running invocation.
        let open = attempts.iter().rev().find(|(id, _)| self.registry.is_running(**id));
        let mut count = 0;
        for stray in self.evidence.strays.iter().filter(|stray| fails(stray)) {
            match open.filter(|(_, it)| it.owns(stray, self.has_end_events)) {
                Some((id, _)) => {
                    failing.insert(*id);
                }
                None => count += 1,
            }
        }
        let is_new = |attempt: &Attempt| self.tombstones.get(&hash(&[&attempt.key()])).is_none();
        let failing = failing.into_iter().filter_map(|id| self.registry.get(id)).filter(is_new);
        count += failing.count() as u64;
        count
            + self.evidence.all().map(|evidence| evidence.message_count).sum::<u64>()
            + u64::from(self.failed_init.is_some())
            + self.bursts.pending_count()
    }

    /// Reports the changed invocations that are over.
    pub(super) fn report_changed(&mut self, now: SystemTime) {
        for id in mem::take(&mut self.changed) {
            if !self.has_end_events || !self.registry.is_running(id) {
                self.conclude(id, now);
            }
        }
    }

    pub(super) fn report_strays(&mut self, now: SystemTime) {
        let strays = mem::take(&mut self.evidence.strays);
        strays.into_iter().for_each(|stray| self.report_stray(stray, now));
    }

    pub(super) fn report_init(&mut self, end: PlatformEnd, now: SystemTime) {
        let key = format!("init {}", end.time_ms);
        let mut evidence = self.evidence.take_traceless();
        evidence.add_end(end, false);
        self.report_evidence(evidence, key, None, now);
    }

    /// Reports evidence without an invocation, or too late for its own.
    pub(super) fn report_stray(&mut self, evidence: Evidence, now: SystemTime) {
        let owner = self.evidence.of_traces(&evidence.trace_ids, |_| true);
        let attempt = owner.and_then(|id| self.registry.get(id));
        let logged = || {
            let first = evidence.failures.first()?;
            Some(format!("log {} {}", first.time_ms, first.message))
        };
        let key =
            attempt.as_ref().map(Attempt::key).or_else(|| evidence.trace_ids.first().cloned());
        let key = key.or_else(logged).unwrap_or_default();
        self.report_evidence(evidence, key, attempt, now);
    }

    fn report_evidence(
        &mut self,
        evidence: Evidence,
        key: String,
        attempt: Option<Attempt>,
        now: SystemTime,
    ) {
        let is_reported = self.was_reported(&evidence, &key, attempt.as_ref());
        if evidence.is_empty() {
            return;
        }
        let lines = self.lines.of(attempt.as_ref(), &evidence.trace_ids);
        let known = ItemContext { key, attempt, resource: Arc::clone(&self.resource), lines };
        for item in self.builder.messages(&evidence, &known) {
            self.offer(item, now);
        }
        if !is_reported && let Some(item) = self.builder.failure(&evidence, &known) {
            let keys = match known.attempt {
                None if !evidence.trace_ids.is_empty() => trace_keys(&evidence),
                _ => vec![hash(&[&known.key])],
            };
            for key in keys {
                self.tombstones.insert(key, None);
            }
            self.offer(item, now);
        }
    }

    /// Whether this failure was already reported under its key or its trace. Call it for every attempt,
    /// because the first attempt in a reported trace claims the report.
    fn was_reported(&mut self, evidence: &Evidence, key: &str, attempt: Option<&Attempt>) -> bool {
        let mut is_reported = self.tombstones.get(&hash(&[key])).is_some();
        for key in trace_keys(evidence) {
            is_reported |= match (self.tombstones.get_mut(&key), attempt) {
                (Some(owner), Some(attempt)) => *owner.get_or_insert(attempt.id) == attempt.id,
                (found, _) => found.is_some(),
            };
        }
        is_reported
    }

    fn offer(&mut self, item: NewItem, now: SystemTime) {
        if let Some(item) = self.bursts.offer(item, now) {
            self.push(item);
        }
    }

    pub(super) fn fold(&mut self, now: SystemTime) {
        let due = self.bursts.due(now);
        due.into_iter().for_each(|item| self.push(item));
    }

    pub(super) fn push(&mut self, item: NewItem) {
        let NewItem { id, data, items, .. } = item;
        self.made.push(signal(format!("{id} {items} {}\n", fitted(data)).into()));
    }
}

/// The keys of evidence without an attempt, one for each trace: trace id and service.
fn trace_keys(evidence: &Evidence) -> Vec<[u8; 32]> {
    let service = evidence.service();
    evidence.trace_ids.iter().map(|trace_id| hash(&[trace_id, service])).collect()
}
