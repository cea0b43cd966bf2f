//! Turns evidence into items.

use std::{sync::Arc, time::SystemTime};

use trace_context::XrayHeader;

use crate::otlp::failure_codec::signal;
use crate::processor::failures::attributed_invocation::AttributedInvocation;
use crate::processor::failures::evidence::{Evidence, PlatformEnd};
use crate::processor::failures::failure_reporter::FailureReporter;
use crate::processor::failures::item_builder::{ItemContext, NewItem};

use crate::processor::failures::truncate::fitted;
use crate::processor::platform_spans::TraceLookup;

impl FailureReporter {
    /// Reports an invocation that is over, unless its report may still name the cause. Strays of other
    /// invocations are reported too.
    pub fn conclude(&mut self, request_id: &str, now: SystemTime, lookup: TraceLookup<'_>) {
        let found = self.invocations.iter().position(|it| it.request_id == request_id);
        let Some(index) = found.filter(|index| !self.invocations[*index].awaits_report()) else {
            return;
        };
        let traces = lookup(request_id);
        let invocation = &mut self.invocations[index];
        let gathered = &mut invocation.gathered;
        if gathered.trace_ids.is_empty() {
            let root = traces.xray_header.as_deref().and_then(XrayHeader::parse);
            let server = traces.server.map(|(trace_id, _)| trace_id);
            let trace_id = server.or(root.map(|header| header.root));
            trace_id.iter().for_each(|id| gathered.add_trace(&id.to_string()));
        }
        // Decided before any stray is merged, so that their order does not matter.
        let is_its = |stray: &Evidence| gathered.owns(stray, self.has_end_events);
        let (its, others): (Vec<_>, Vec<_>) = self.strays.drain(..).partition(is_its);
        its.into_iter().for_each(|stray| gathered.merge(stray));
        let gathered = gathered.take();
        let known = ItemContext {
            key: request_id.to_owned(),
            request_id: Some(request_id.to_owned()),
            traces,
            deadline_ms: invocation.deadline_ms,
            max_memory_mb: invocation.max_memory_mb,
            is_first: invocation.is_first,
            ..ItemContext::default()
        };
        self.tell(gathered, known, now);
        others.into_iter().for_each(|stray| self.report_stray(stray, now));
    }

    /// Upper bound of the failures and messages that the gathered evidence would make now. Later spans
    /// may show that several are one.
    pub fn pending_count(&self) -> u64 {
        // Strays will be reported with the running invocation.
        let open = self.invocations.iter().rposition(|it| !it.is_done);
        let is_its = |stray: &&Evidence| {
            let takes = |it: &AttributedInvocation| it.gathered.owns(stray, self.has_end_events);
            open.is_some_and(|index| takes(&self.invocations[index]))
        };
        let (its, others): (Vec<_>, Vec<_>) = self.strays.iter().partition(is_its);
        let fails = |gathered: &&Evidence| self.maker.level(gathered).is_some();
        let failing = self.invocations.iter().enumerate().filter(|(index, it)| {
            let more = its.iter().copied().filter(|_| open == Some(*index));
            !self.told.has(&it.request_id)
                && std::iter::once(&it.gathered).chain(more).any(|part| fails(&part))
        });
        let failing = failing.count() + others.iter().copied().filter(fails).count();
        let gathered = self.invocations.iter().map(|it| &it.gathered).chain(&self.strays);
        failing as u64
            + gathered.map(|gathered| gathered.message_count).sum::<u64>()
            + u64::from(self.failed_init.is_some())
            + self.bursts.pending_count()
    }

    /// Reports the changed invocations that are over.
    pub(super) fn report_changed(&mut self, now: SystemTime, lookup: TraceLookup<'_>) {
        let touched = self.invocations.iter_mut().filter_map(|it| {
            let has_changed = std::mem::take(&mut it.has_changed);
            let is_over = it.is_done || !self.has_end_events;
            (has_changed && is_over).then(|| it.request_id.clone())
        });
        let over: Vec<_> = touched.collect();
        over.iter().for_each(|request_id| self.conclude(request_id, now, lookup));
    }

    pub(super) fn report_strays(&mut self, now: SystemTime) {
        let strays = std::mem::take(&mut self.strays);
        strays.into_iter().for_each(|stray| self.report_stray(stray, now));
    }

    pub(super) fn report_init(&mut self, ended: PlatformEnd, now: SystemTime) {
        let key = format!("init {}", ended.time_ms);
        let mut gathered = self.stray("", now).take();
        gathered.ended = Some(ended);
        self.tell(gathered, ItemContext { key, ..ItemContext::default() }, now);
    }

    /// Reports evidence without an invocation, or too late for its own.
    pub(super) fn report_stray(&mut self, gathered: Evidence, now: SystemTime) {
        let has_trace = |it: &&AttributedInvocation| {
            it.gathered.trace_ids.iter().any(|id| gathered.trace_ids.contains(id))
        };
        if let Some(owner) = self.invocations.iter().rev().find(has_trace) {
            let request_id = Some(owner.request_id.clone());
            let known =
                ItemContext { key: owner.request_id.clone(), request_id, ..ItemContext::default() };
            return self.tell(gathered, known, now);
        }
        let logged = || {
            let first = gathered.failures.first()?;
            Some(format!("log {} {}", first.time_ms, first.message))
        };
        let key = gathered.trace_ids.first().cloned().or_else(logged).unwrap_or_default();
        self.tell(gathered, ItemContext { key, ..ItemContext::default() }, now);
    }

    fn tell(&mut self, gathered: Evidence, mut known: ItemContext, now: SystemTime) {
        let is_reported = self.is_told(&gathered, &known);
        if gathered.is_empty() {
            return;
        }
        known.lines = self.lines.of(known.request_id.as_deref(), &gathered.trace_ids);
        known.resource = Arc::clone(&self.resource);
        for made in self.maker.messages(&gathered, &known) {
            self.offer(made, now);
        }
        if !is_reported && let Some(made) = self.maker.failure(&gathered, &known) {
            match known.request_id {
                None if !gathered.trace_ids.is_empty() => {
                    stray_keys(&gathered).into_iter().for_each(|key| self.told.add(key));
                }
                _ => self.told.add(known.key),
            }
            self.offer(made, now);
        }
    }

    /// Whether this failure was already reported under its key or its trace. Call it for every
    /// invocation, because the call also claims the trace.
    fn is_told(&mut self, gathered: &Evidence, known: &ItemContext) -> bool {
        let mut is_reported = self.told.has(&known.key);
        for key in stray_keys(gathered) {
            is_reported |= match &known.request_id {
                Some(request_id) => self.told.has_of(&key, request_id),
                None => self.told.has(&key),
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
        let NewItem { id, item, items, .. } = made;
        self.made.push(signal(format!("{id} {items} {}\n", fitted(item)).into()));
    }
}

/// The keys of evidence without an invocation, one for each trace: trace id and service. For
/// [`ReportedKeys`](crate::processor::failures::reported::ReportedKeys).
fn stray_keys(gathered: &Evidence) -> Vec<String> {
    let service = gathered.service();
    gathered.trace_ids.iter().map(|trace_id| format!("{trace_id} {service}")).collect()
}
