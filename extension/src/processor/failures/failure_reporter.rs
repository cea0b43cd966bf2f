//! Gathers evidence by invocation and decides when it becomes items.

use std::{
    collections::{BTreeSet, VecDeque},
    mem,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::bounded_map::BoundedMap;
use crate::invocation::attempt::{Attempt, AttemptId, LineOwner};
use crate::invocation::registry::Registry;
use crate::otlp::line_codec;
use crate::otlp::payload::{Payload, SignalKind};
use crate::processor::failures::attributes::Texts;
use crate::processor::failures::evidence::{Evidence, FailedPhase, PlatformEnd};
use crate::processor::failures::evidence_store::EvidenceStore;
use crate::processor::failures::from_otlp;
use crate::processor::failures::item_builder::ItemBuilder;
use crate::processor::failures::log_record::ParsedLine;
use crate::processor::failures::platform_failure::PlatformFailure;
use crate::processor::failures::rate_limit::BurstLimiter;
use crate::processor::failures::recent_lines::RecentLines;
use crate::processor::failures::settings::{ClientAddress, FailureSettings};
use crate::time::unix_ms;

/// How long log records wait for the spans of their invocation where no event shows its end. SDKs send
/// both within milliseconds.
pub const SPANS_FOLLOW: Duration = Duration::from_secs(1);

/// Most tombstones: many more than the failures whose evidence may still arrive.
const MAX_TOMBSTONES: usize = 512;

#[derive(Debug)]
pub struct FailureReporter {
    pub(super) builder: ItemBuilder,
    pub(super) address: ClientAddress,
    pub(super) bursts: BurstLimiter,
    pub(super) registry: Registry,
    pub(super) evidence: EvidenceStore,
    /// The attempts that have new evidence or have ended since the last report.
    pub(super) changed: BTreeSet<AttemptId>,
    /// The hashed keys of reported failures, so that late evidence does not report them again. For that of
    /// a trace without an attempt: the attempt that it belonged to, once that is known.
    pub(super) tombstones: BoundedMap<[u8; 32], Option<AttemptId>>,
    pub(super) lines: RecentLines,
    /// The resource of the function's last spans or log records that held evidence.
    pub(super) resource: Arc<Texts>,
    /// An init that failed during an invocation and is not reported yet.
    pub(super) failed_init: Option<PlatformEnd>,
    /// The arrival of the first log record that waits for its spans.
    pub(super) spans_follow: Option<SystemTime>,
    /// Whether INVOKE and platform events show when invocations begin and end.
    pub(super) has_end_events: bool,
    /// The invocation of the last INVOKE.
    pub(super) invoked: Option<AttemptId>,
    /// Until then lines may explain why init fails.
    pub(super) init_is_over: bool,
    pub(super) made: Vec<Payload>,
}

impl FailureReporter {
    pub fn new(settings: FailureSettings, registry: Registry) -> Self {
        let share = settings.max_bytes / 4;
        let address = settings.items.client_address;
        Self {
            address,
            builder: ItemBuilder::new(settings, registry.clone()),
            bursts: BurstLimiter::new(share),
            registry,
            evidence: EvidenceStore::new(2 * share),
            changed: BTreeSet::new(),
            tombstones: BoundedMap::new(MAX_TOMBSTONES),
            lines: RecentLines::new(share, address),
            resource: Arc::default(),
            failed_init: None,
            spans_follow: None,
            has_end_events: false,
            invoked: None,
            init_is_over: false,
            made: Vec::new(),
        }
    }

    /// Takes the items that were made since the last call.
    pub fn take_items(&mut self) -> Vec<Payload> {
        mem::take(&mut self.made)
    }

    /// Drops all evidence. The tombstones stay, so that no failure is reported twice.
    pub fn drop_all(&mut self) {
        self.bursts.clear();
        self.evidence.clear();
        self.changed.clear();
        self.lines.clear();
        self.failed_init = None;
        self.spans_follow = None;
        self.made.clear();
    }

    /// INVOKE and platform events will arrive; INVOKE perhaps after the end of a fast invocation.
    pub fn expect_end_events(&mut self) {
        self.has_end_events = true;
    }

    /// Handles INVOKE of this invocation: all others are over.
    pub fn on_invoke(&mut self, id: AttemptId, now: SystemTime) {
        self.expect_end_events();
        self.init_is_over = true;
        let before = self.invoked.replace(id).filter(|before| *before != id);
        // Evidence without an invocation may belong to the last one, if its end was not reported.
        let before =
            before.filter(|before| !self.registry.get(*before).is_some_and(|it| it.is_done()));
        let others = self.evidence.attempts.iter().filter(|(_, it)| !it.is_empty());
        let others = others.map(|(other, _)| *other).filter(|other| *other != id);
        let over: BTreeSet<_> = others.chain(before).collect();
        over.into_iter().for_each(|id| self.conclude(id, now));
        self.evidence.of_attempt(id); // strays may belong to it
        self.forget_ended();
        self.fold(now);
    }

    /// Gathers the evidence of an OTLP payload, and reports that of invocations that are over. Without
    /// end events, spans are reported at once.
    pub fn otlp(&mut self, signal: &Payload, now: SystemTime) {
        if signal.kind == SignalKind::Metrics {
            return;
        }
        self.overdue(now);
        from_otlp::lines(signal, self.address, now).for_each(|line| self.lines.keep(line));
        let mut has_found = false;
        from_otlp::find(signal, self.address, now, |finding| {
            let from_otlp::OtlpEvidence { trace_id, request_id, ended, gathered } = finding;
            has_found = true;
            self.make_room(gathered.bytes(), now);
            if let Some(context) = &gathered.context {
                self.resource = Arc::clone(&context.facts.resource);
            }
            let named = request_id.and_then(|id| self.registry.of_evidence(&id, ended, now));
            match named.or_else(|| self.of_trace(trace_id.clone())) {
                Some(id) => {
                    self.changed.insert(id);
                    self.evidence.of_attempt(id).merge(gathered);
                }
                None => self.evidence.stray(&trace_id).merge(gathered),
            }
        });
        if !has_found {
            return;
        }
        if signal.kind == SignalKind::Logs && !self.has_end_events {
            self.spans_follow.get_or_insert(now);
            return;
        }
        self.report_changed(now);
        if !self.has_end_events {
            self.report_strays(now);
            if self.evidence.attempts.values().all(Evidence::is_empty) {
                self.spans_follow = None;
            }
        }
    }

    /// Reports the evidence that has waited long enough, and the folded failures that are due.
    pub fn overdue(&mut self, now: SystemTime) {
        let is_over = |since: &SystemTime| match now.duration_since(*since) {
            Ok(age) => age >= SPANS_FOLLOW,
            Err(_) => true, // the clock was set back
        };
        if self.spans_follow.take_if(|since| is_over(since)).is_some() {
            self.changed.extend(self.evidence.attempts.keys());
            self.report_changed(now);
            self.report_strays(now);
        }
        self.fold(now);
    }

    /// Gathers the evidence of log lines, and reports that of invocations that are over.
    pub fn lines(&mut self, signals: &[Payload], now: SystemTime) {
        for signal in signals {
            if !signal.has_error {
                self.lines.keep_unread(line_codec::read(&signal.bytes), signal.items);
                continue;
            }
            for line in line_codec::read(&signal.bytes) {
                let Some(logged) = ParsedLine::read(line, self.address) else { continue };
                self.lines.keep(logged.line());
                let Some(failure) = logged.failure() else { continue };
                self.make_room(failure.message.len() + failure.stack.len(), now);
                let named = logged.request_id.as_deref();
                let time = UNIX_EPOCH + Duration::from_millis(line.time_ms.max(0).unsigned_abs());
                let owner = self.registry.of_line(named, LineOwner::default(), time);
                self.changed.extend(owner);
                let gathered = match owner {
                    Some(id) => self.evidence.of_attempt(id),
                    None => self.evidence.stray(""),
                };
                if owner.is_some() {
                    gathered.add_trace(&logged.trace_id);
                }
                gathered.add_failure(failure.source, || failure);
            }
        }
    }

    /// Handles a platform event, which the registry already has. [`report_ended`](Self::report_ended)
    /// follows.
    pub fn platform(&mut self, failure: PlatformFailure, now: SystemTime) {
        match failure {
            PlatformFailure::Init { end, is_repeated } => {
                self.init_is_over = true;
                match end {
                    Some(end) if is_repeated => self.failed_init = Some(end),
                    Some(end) => self.report_init(end, now),
                    None if is_repeated => {}
                    None => {
                        // Lines of a successful init have no invocation.
                        let logged = self.evidence.take_traceless();
                        self.report_stray(logged, now);
                    }
                }
            }
            PlatformFailure::Invocation { attempt, end, is_report, max_memory_mb } => {
                if end.is_some() {
                    self.failed_init = None;
                }
                if is_report && end.is_none() && !self.evidence.attempts.contains_key(&attempt) {
                    return;
                }
                self.changed.insert(attempt);
                let evidence = self.evidence.of_attempt(attempt);
                evidence.max_memory_mb = max_memory_mb.or(evidence.max_memory_mb);
                end.into_iter().for_each(|end| evidence.add_end(end, is_report));
            }
        }
    }

    /// Reports the invocations that have ended and those with new evidence that are over.
    pub fn report_ended(&mut self, now: SystemTime) {
        self.report_changed(now);
        if !self.has_end_events && self.init_is_over {
            self.report_strays(now);
        }
        self.forget_ended();
        self.fold(now);
    }

    /// Handles the end of the sandbox during an invocation.
    pub fn ended_with_sandbox(&mut self, id: AttemptId, error_type: String, now: SystemTime) {
        let phase = FailedPhase::Invocation;
        let ended = PlatformEnd { error_type, time_ms: unix_ms(now), phase };
        self.evidence.of_attempt(id).add_end(ended, false);
        self.failed_init = None;
        if let Some(attempt) = self.registry.get(id) {
            let strays = mem::take(&mut self.evidence.strays);
            self.report(&attempt, strays, now);
        }
    }

    /// Handles an invocation whose record was evicted: its evidence is reported. Other evidence waits on.
    pub fn evict(&mut self, attempt: &Attempt, now: SystemTime) {
        if self.evidence.attempts.get(&attempt.id).is_some_and(|it| !it.is_empty()) {
            self.report(attempt, VecDeque::new(), now);
        }
        self.evidence.attempts.remove(&attempt.id);
    }

    /// Whether the invocation has evidence, or evidence without an invocation waits.
    pub fn has_something(&self, id: AttemptId) -> bool {
        let own = self.evidence.attempts.get(&id);
        own.into_iter().chain(&self.evidence.strays).any(|evidence| !evidence.is_empty())
    }

    /// Whether any evidence waits.
    pub fn has_evidence(&self) -> bool {
        self.failed_init.is_some() || self.evidence.all().any(|evidence| !evidence.is_empty())
    }

    /// Reports all evidence at the end of the sandbox.
    pub fn finish(&mut self, now: SystemTime) {
        let all: Vec<_> = self.evidence.attempts.keys().copied().collect();
        for id in all {
            let Some(attempt) = self.registry.get(id) else { continue };
            let strays = mem::take(&mut self.evidence.strays);
            self.report(&attempt, strays, now);
        }
        if let Some(ended) = self.failed_init.take() {
            self.report_init(ended, now);
        }
        self.report_strays(now);
        let folded = self.bursts.finish();
        folded.into_iter().for_each(|made| self.push(made));
    }
    /// The newest invocation with this trace. While an invocation runs, one that is over is left out: the
    /// trace may be the running one's too, and its server span may still arrive.
    fn of_trace(&self, trace_id: String) -> Option<AttemptId> {
        let is_running = |id: AttemptId| self.registry.is_running(id);
        let going_on = self.has_end_events && self.invoked.is_some_and(is_running);
        self.evidence.of_traces(&[trace_id], |id| !going_on || is_running(id))
    }

    /// Makes room for evidence of this size; the stray without room is reported.
    fn make_room(&mut self, bytes: usize, now: SystemTime) {
        if let Some(oldest) = self.evidence.make_room(bytes) {
            self.report_stray(oldest, now);
        }
    }

    fn forget_ended(&mut self) {
        self.evidence.forget_ended(|id| self.registry.is_running(id));
    }
}
