//! Turns evidence into items.

use std::{collections::BTreeSet, sync::Arc, time::SystemTime};

use crate::invocation::attempt::{Attempt, AttemptId};
use crate::otlp::failure_codec::signal;
use crate::processor::failures::attributed_invocation::AttributedInvocation;
use crate::processor::failures::evidence::{Evidence, PlatformEnd};
use crate::processor::failures::failure_reporter::FailureReporter;
use crate::processor::failures::item_builder::{ItemContext, NewItem};
use crate::processor::failures::truncate::fitted;

impl FailureReporter {
    /// Reports an invocation that is over, unless its report may still name the cause. Strays of other
    /// invocations are reported too.
    pub fn conclude(&mut self, id: AttemptId, now: SystemTime) {
        let found = self.invocations.iter().find(|it| it.id == id);
        let awaits_report =
            found.is_some_and(AttributedInvocation::has_exited) && !self.registry.is_over(id);
        if let Some(attempt) = self.registry.get(id).filter(|_| !awaits_report) {
            self.report(&attempt, now);
        }
    }

    pub(super) fn report(&mut self, attempt: &Attempt, now: SystemTime) {
        let has_end_events = self.has_end_events;
        let strays = std::mem::take(&mut self.strays);
        let invocation = self.invocation(attempt.id);
        let gathered = &mut invocation.gathered;
        if gathered.trace_ids.is_empty() {
            let root = attempt.xray_header.as_ref().map(|header| header.parsed.root);
            let trace_id = attempt.server.map(|server| server.trace_id).or(root);
            trace_id.iter().for_each(|id| gathered.add_trace(&id.to_string()));
        }
        // Decided before any stray is merged, so that their order does not matter.
        let is_its = |stray: &Evidence| gathered.owns(stray, has_end_events);
        let (its, others): (Vec<_>, Vec<_>) = strays.into_iter().partition(is_its);
        its.into_iter().for_each(|stray| gathered.merge(stray));
        let gathered = gathered.take();
        let known = ItemContext {
            key: attempt.key(),
            attempt: Some(attempt.clone()),
            ..ItemContext::default()
        };
        self.report_evidence(gathered, known, now);
        others.into_iter().for_each(|stray| self.report_stray(stray, now));
    }

    /// Upper bound of the failures and messages that the gathered evidence would make now. Later spans
    /// may show that several are one.
    pub fn pending_count(&self) -> u64 {
        // Strays will be reported with the running invocation.
        let open = self.invocations.iter().rposition(|it| self.registry.is_running(it.id));
        let is_its = |stray: &&Evidence| {
            let takes = |it: &AttributedInvocation| it.gathered.owns(stray, self.has_end_events);
            open.is_some_and(|index| takes(&self.invocations[index]))
        };
        let (its, others): (Vec<_>, Vec<_>) = self.strays.iter().partition(is_its);
        let fails = |gathered: &&Evidence| self.maker.level(gathered).is_some();
        let failing = self.invocations.iter().enumerate().filter(|(index, it)| {
            let more = its.iter().copied().filter(|_| open == Some(*index));
            std::iter::once(&it.gathered).chain(more).any(|part| fails(&part))
                && self.registry.get(it.id).is_some_and(|it| !self.reported.has(&it.key()))
        });
        let failing = failing.count() + others.iter().copied().filter(fails).count();
        let gathered = self.invocations.iter().map(|it| &it.gathered).chain(&self.strays);
        failing as u64
            + gathered.map(|gathered| gathered.message_count).sum::<u64>()
            + u64::from(self.failed_init.is_some())
            + self.bursts.pending_count()
    }

    /// Reports the changed invocations that are over.
    pub(super) fn report_changed(&mut self, now: SystemTime) {
        let changed: BTreeSet<_> = std::mem::take(&mut self.changed).into_iter().collect();
        let is_over = |id: &AttemptId| !self.has_end_events || !self.registry.is_running(*id);
        let over: Vec<_> = changed.into_iter().filter(is_over).collect();
        over.into_iter().for_each(|id| self.conclude(id, now));
    }

    pub(super) fn report_strays(&mut self, now: SystemTime) {
        let strays = std::mem::take(&mut self.strays);
        strays.into_iter().for_each(|stray| self.report_stray(stray, now));
    }

    pub(super) fn report_init(&mut self, ended: PlatformEnd, now: SystemTime) {
        let key = format!("init {}", ended.time_ms);
        let mut gathered = self.stray("", now).take();
        gathered.end = Some(ended);
        self.report_evidence(gathered, ItemContext { key, ..ItemContext::default() }, now);
    }

    /// Reports evidence without an invocation, or too late for its own.
    pub(super) fn report_stray(&mut self, gathered: Evidence, now: SystemTime) {
        let has_trace = |it: &&AttributedInvocation| {
            it.gathered.trace_ids.iter().any(|id| gathered.trace_ids.contains(id))
        };
        if let Some(owner) = self.invocations.iter().rev().find(has_trace) {
            let attempt = self.registry.get(owner.id);
            let key = attempt.as_ref().map(Attempt::key).unwrap_or_default();
            let known = ItemContext { key, attempt, ..ItemContext::default() };
            return self.report_evidence(gathered, known, now);
        }
        let logged = || {
            let first = gathered.failures.first()?;
            Some(format!("log {} {}", first.time_ms, first.message))
        };
        let key = gathered.trace_ids.first().cloned().or_else(logged).unwrap_or_default();
        self.report_evidence(gathered, ItemContext { key, ..ItemContext::default() }, now);
    }

    fn report_evidence(&mut self, gathered: Evidence, mut known: ItemContext, now: SystemTime) {
        let is_reported = self.was_reported(&gathered, &known);
        if gathered.is_empty() {
            return;
        }
        known.lines = self.lines.of(known.attempt.as_ref(), &gathered.trace_ids);
        known.resource = Arc::clone(&self.resource);
        for made in self.maker.messages(&gathered, &known) {
            self.offer(made, now);
        }
        if !is_reported && let Some(made) = self.maker.failure(&gathered, &known) {
            match known.attempt {
                None if !gathered.trace_ids.is_empty() => {
                    stray_keys(&gathered).into_iter().for_each(|key| self.reported.add(key));
                }
                _ => self.reported.add(known.key),
            }
            self.offer(made, now);
        }
    }

    /// Whether this failure was already reported under its key or its trace. Call it for every
    /// invocation, because the call also claims the trace.
    fn was_reported(&mut self, gathered: &Evidence, known: &ItemContext) -> bool {
        let mut is_reported = self.reported.has(&known.key);
        for key in stray_keys(gathered) {
            is_reported |= match &known.attempt {
                Some(_) => self.reported.has_of(&key, &known.key),
                None => self.reported.has(&key),
            };
        }
        is_reported
    }

    fn offer(&mut self, made: NewItem, now: SystemTime) {
        if let Some(made) = self.bursts.offer(made, now) {
            self.push(made);
        }
    }

    pub(super) fn fold(&mut self, now: SystemTime) {
        let due = self.bursts.due(now);
        due.into_iter().for_each(|made| self.push(made));
    }

    pub(super) fn push(&mut self, made: NewItem) {
        let NewItem { id, data, items, .. } = made;
        self.made.push(signal(format!("{id} {items} {}\n", fitted(data)).into()));
    }
}

/// The keys of evidence without an invocation, one for each trace: trace id and service. For
/// [`ReportedKeys`](crate::processor::failures::reported::ReportedKeys).
fn stray_keys(gathered: &Evidence) -> Vec<String> {
    let service = gathered.service();
    gathered.trace_ids.iter().map(|trace_id| format!("{trace_id} {service}")).collect()
}
