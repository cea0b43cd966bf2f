//! Gathers evidence by invocation and decides when it becomes items.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::invocation::attempt::{Attempt, AttemptId, LineOwner};
use crate::invocation::registry::Registry;
use crate::otlp::line_codec;
use crate::otlp::payload::{Payload, SignalKind};
use crate::processor::failures::attributed_invocation::AttributedInvocation;
use crate::processor::failures::attributes::Texts;
use crate::processor::failures::evidence::{Evidence, FailedPhase, PlatformEnd};
use crate::processor::failures::evidence_limit::EvidenceLimit;
use crate::processor::failures::from_otlp;
use crate::processor::failures::item_builder::ItemBuilder;
use crate::processor::failures::log_record::ParsedLine;
use crate::processor::failures::platform_failure::PlatformFailure;
use crate::processor::failures::rate_limit::BurstLimiter;
use crate::processor::failures::recent_lines::RecentLines;
use crate::processor::failures::reported::ReportedKeys;
use crate::processor::failures::settings::{ClientAddress, FailureSettings};
use crate::time::unix_ms;

/// How long log records wait for the spans of their invocation where no event shows its end. SDKs send
/// both within milliseconds.
pub const SPANS_FOLLOW: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct FailureReporter {
    pub(super) maker: ItemBuilder,
    pub(super) address: ClientAddress,
    pub(super) bursts: BurstLimiter,
    pub(super) registry: Registry,
    /// Oldest first.
    pub(super) invocations: VecDeque<AttributedInvocation>,
    /// The invocations that have new evidence or have ended since the last report.
    pub(super) changed: Vec<AttemptId>,
    /// Evidence of traces without a known invocation, oldest first. The one without a trace holds lines
    /// without an invocation, and log records without either.
    pub(super) strays: VecDeque<Evidence>,
    pub(super) reported: ReportedKeys,
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
    /// Bounds of the bytes in `invocations` and `strays`.
    pub(super) evidence_limit: EvidenceLimit,
}

impl FailureReporter {
    pub fn new(settings: FailureSettings, registry: Registry) -> Self {
        let share = settings.max_bytes / 4;
        let address = settings.items.client_address;
        Self {
            evidence_limit: EvidenceLimit::new(2 * share),
            address,
            maker: ItemBuilder::new(settings, registry.clone()),
            bursts: BurstLimiter::new(share),
            registry,
            invocations: VecDeque::new(),
            changed: Vec::new(),
            strays: VecDeque::new(),
            reported: ReportedKeys::default(),
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
        std::mem::take(&mut self.made)
    }

    /// Drops all evidence. The reported keys stay, so that no failure is reported twice.
    pub fn drop_all(&mut self) {
        self.bursts.clear();
        self.invocations.clear();
        self.changed.clear();
        self.strays.clear();
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
        let has_evidence = |it: &&AttributedInvocation| it.id != id && !it.gathered.is_empty();
        let others = self.invocations.iter().filter(has_evidence).map(|it| it.id);
        // Evidence without an invocation may belong to the last one, if its end was not reported.
        let before =
            before.filter(|before| !self.registry.get(*before).is_some_and(|it| it.is_done()));
        let over: BTreeSet<_> = others.chain(before).collect();
        over.into_iter().for_each(|id| self.conclude(id, now));
        self.invocation(id); // strays may belong to it
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
            match named.or_else(|| self.of_trace(&trace_id)) {
                Some(id) => {
                    self.changed.push(id);
                    self.invocation(id).gathered.merge(gathered);
                }
                None => self.stray(&trace_id, now).merge(gathered),
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
            if self.invocations.iter().all(|it| it.gathered.is_empty()) {
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
            self.changed.extend(self.invocations.iter().map(|it| it.id));
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
                let gathered = match self.registry.of_line(named, LineOwner::default(), time) {
                    Some(id) => {
                        self.changed.push(id);
                        let gathered = &mut self.invocation(id).gathered;
                        gathered.add_trace(&logged.trace_id);
                        gathered
                    }
                    None => self.stray("", now),
                };
                gathered.add_failure(failure.source, || failure);
            }
        }
    }

    /// Handles a platform event, which the registry already has. [`report_ended`](Self::report_ended)
    /// follows.
    pub fn platform(&mut self, failure: PlatformFailure, now: SystemTime) {
        let PlatformFailure { attempt, is_done, is_report, max_memory_mb, ended, .. } = failure;
        let PlatformFailure { is_init, is_repeated_init, .. } = failure;
        self.init_is_over |= is_init;
        let Some(id) = attempt else {
            match ended {
                Some(ended) if is_repeated_init => self.failed_init = Some(ended),
                Some(ended) => self.report_init(ended, now),
                // Lines of a successful init have no invocation.
                None if !is_repeated_init => {
                    let logged = self.stray("", now).take();
                    self.report_stray(logged, now);
                }
                None => {}
            }
            return;
        };
        if ended.is_some() {
            self.failed_init = None;
        }
        if is_done {
            self.changed.push(id);
        }
        if ended.is_some() || self.invocations.iter().any(|it| it.id == id) {
            self.changed.push(id);
            let invocation = self.invocation(id);
            invocation.gathered.max_memory_mb = max_memory_mb.or(invocation.gathered.max_memory_mb);
            let is_more_exact = is_report && ended.is_some() && invocation.has_exited();
            let known = &mut invocation.gathered.end;
            *known = known.take().filter(|_| !is_more_exact).or(ended);
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
        let known = &mut self.invocation(id).gathered.end;
        *known = known.take().or(Some(ended));
        self.failed_init = None;
        if let Some(attempt) = self.registry.get(id) {
            self.report(&attempt, now);
        }
    }

    /// Handles an invocation whose record was evicted: its evidence is reported. Other evidence waits on.
    pub fn evict(&mut self, attempt: &Attempt, now: SystemTime) {
        let Some(index) = self.invocations.iter().position(|it| it.id == attempt.id) else {
            return;
        };
        if !self.invocations[index].gathered.is_empty() {
            let strays = std::mem::take(&mut self.strays);
            self.report(attempt, now);
            self.strays = strays;
        }
        self.invocations.remove(index);
    }

    /// Whether the invocation has evidence, or evidence without an invocation waits.
    pub fn has_something(&self, id: AttemptId) -> bool {
        let found = self.invocations.iter().find(|it| it.id == id);
        found.is_some_and(|it| !it.gathered.is_empty())
            || self.strays.iter().any(|gathered| !gathered.is_empty())
    }

    /// Whether any evidence waits.
    pub fn has_evidence(&self) -> bool {
        let gathered = self.invocations.iter().map(|it| &it.gathered).chain(&self.strays);
        self.failed_init.is_some() || gathered.into_iter().any(|gathered| !gathered.is_empty())
    }

    /// Reports all evidence at the end of the sandbox.
    pub fn finish(&mut self, now: SystemTime) {
        let all: Vec<_> = self.invocations.iter().map(|it| it.id).collect();
        let all = all.into_iter().filter_map(|id| self.registry.get(id));
        all.collect::<Vec<_>>().iter().for_each(|attempt| self.report(attempt, now));
        if let Some(ended) = self.failed_init.take() {
            self.report_init(ended, now);
        }
        self.report_strays(now);
        let folded = self.bursts.finish();
        folded.into_iter().for_each(|made| self.push(made));
    }
}
