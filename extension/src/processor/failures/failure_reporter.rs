//! Gathers evidence by invocation and decides when it becomes items.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::lambda::extensions_api::Invoke;
use crate::otlp::line_codec;
use crate::otlp::payload::{Payload, SignalKind};
use crate::processor::failures::attributed_invocation::AttributedInvocation;
use crate::processor::failures::evidence::{Evidence, FailedPhase, PlatformEnd};
use crate::processor::failures::from_otlp;
use crate::processor::failures::item::Texts;
use crate::processor::failures::item_builder::ItemBuilder;
use crate::processor::failures::log_record::ParsedLine;
use crate::processor::failures::platform_failure::PlatformFailure;
use crate::processor::failures::rate_limit::BurstLimiter;
use crate::processor::failures::recent_lines::RecentLines;
use crate::processor::failures::reported::ReportedKeys;
use crate::processor::failures::settings::{ClientAddress, FailureSettings};
use crate::processor::platform_spans::TraceLookup;
use crate::time::unix_ms;

/// How long log records wait for the spans of their invocation where no event shows its end. SDKs send
/// both within milliseconds.
pub const SPANS_FOLLOW: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct FailureReporter {
    pub(super) maker: ItemBuilder,
    pub(super) address: ClientAddress,
    pub(super) bursts: BurstLimiter,
    /// Oldest first.
    pub(super) invocations: VecDeque<AttributedInvocation>,
    /// Evidence of traces without a known invocation, oldest first. The one without a trace holds lines
    /// without an invocation, and log records without either.
    pub(super) strays: VecDeque<Evidence>,
    pub(super) told: ReportedKeys,
    pub(super) lines: RecentLines,
    /// The resource of the function's last spans or log records that held evidence.
    pub(super) resource: Arc<Texts>,
    /// An init that failed during an invocation and is not reported yet.
    pub(super) failed_init: Option<PlatformEnd>,
    /// The arrival of the first log record that waits for its spans.
    pub(super) spans_follow: Option<SystemTime>,
    /// Whether INVOKE and platform events show when invocations begin and end.
    pub(super) has_end_events: bool,
    /// Whether an INVOKE has arrived.
    pub(super) has_begun: bool,
    /// Until then lines may explain why init fails.
    pub(super) init_is_over: bool,
    pub(super) made: Vec<Payload>,
}

impl FailureReporter {
    pub fn new(settings: FailureSettings) -> Self {
        Self {
            address: settings.items.client_address,
            maker: ItemBuilder::new(settings),
            bursts: BurstLimiter::default(),
            invocations: VecDeque::new(),
            strays: VecDeque::new(),
            told: ReportedKeys::default(),
            lines: RecentLines::default(),
            resource: Arc::default(),
            failed_init: None,
            spans_follow: None,
            has_end_events: false,
            has_begun: false,
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
        self.bursts = BurstLimiter::default();
        self.invocations.clear();
        self.strays.clear();
        self.lines = RecentLines::default();
        self.failed_init = None;
        self.spans_follow = None;
        self.made.clear();
    }

    /// INVOKE and platform events will arrive; INVOKE perhaps after the end of a fast invocation.
    pub fn expect_end_events(&mut self) {
        self.has_end_events = true;
    }

    /// Handles INVOKE: all other invocations are over.
    pub fn on_invoke(&mut self, invoke: &Invoke, now: SystemTime, lookup: TraceLookup<'_>) {
        self.expect_end_events();
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        self.init_is_over = true;
        let others = self.invocations.iter_mut().filter(|it| it.request_id != invoke.request_id);
        let over = others.filter_map(|it| {
            it.is_reported = true;
            let was_done = std::mem::replace(&mut it.is_done, true);
            (!was_done || !it.gathered.is_empty()).then(|| it.request_id.clone())
        });
        let over: Vec<_> = over.collect();
        over.iter().for_each(|request_id| self.conclude(request_id, now, lookup));
        let invocation = self.invocation(&invoke.request_id, now, lookup);
        invocation.is_done = false; // a retry has the same id
        invocation.is_reported = false;
        invocation.is_first = Some(is_first);
        invocation.deadline_ms = i64::try_from(invoke.deadline_ms).ok().filter(|ms| *ms > 0);
        self.fold(now);
    }

    /// Gathers the evidence of an OTLP payload, and reports that of invocations that are over. Without
    /// end events, spans are reported at once.
    pub fn otlp(&mut self, signal: &Payload, now: SystemTime, lookup: TraceLookup<'_>) {
        if signal.kind == SignalKind::Metrics {
            return;
        }
        self.overdue(now, lookup);
        from_otlp::lines(signal, self.address).for_each(|line| self.lines.keep(line));
        let mut has_found = false;
        from_otlp::find(signal, self.address, |finding| {
            let from_otlp::OtlpEvidence { trace_id, request_id, gathered } = finding;
            has_found = true;
            if let Some(context) = &gathered.context {
                self.resource = Arc::clone(&context.facts.resource);
            }
            match request_id.or_else(|| self.of_trace(&trace_id)) {
                Some(request_id) => {
                    let invocation = self.invocation(&request_id, now, lookup);
                    invocation.has_changed = true;
                    invocation.gathered.merge(gathered);
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
        self.report_changed(now, lookup);
        if !self.has_end_events {
            self.report_strays(now);
            if self.invocations.iter().all(|it| it.gathered.is_empty()) {
                self.spans_follow = None;
            }
        }
    }

    /// Reports the evidence that has waited long enough, and the folded failures that are due.
    pub fn overdue(&mut self, now: SystemTime, lookup: TraceLookup<'_>) {
        let is_over = |since: &SystemTime| match now.duration_since(*since) {
            Ok(age) => age >= SPANS_FOLLOW,
            Err(_) => true, // the clock was set back
        };
        if self.spans_follow.take_if(|since| is_over(since)).is_some() {
            self.invocations.iter_mut().for_each(|it| it.has_changed = true);
            self.report_changed(now, lookup);
            self.report_strays(now);
        }
        self.fold(now);
    }

    /// Gathers the evidence of log lines, and reports that of invocations that are over.
    pub fn lines(&mut self, signals: &[Payload], now: SystemTime, lookup: TraceLookup<'_>) {
        for signal in signals {
            for line in line_codec::read(&signal.bytes) {
                let Some(logged) = ParsedLine::read(line, self.address) else { continue };
                self.lines.keep(logged.line());
                let failure = signal.has_error.then(|| logged.failure()).flatten();
                let Some(failure) = failure else { continue };
                let gathered = match &logged.request_id {
                    Some(request_id) => {
                        let invocation = self.invocation(request_id, now, lookup);
                        invocation.has_changed = true;
                        invocation.gathered.add_trace(&logged.trace_id);
                        &mut invocation.gathered
                    }
                    None => self.stray("", now),
                };
                gathered.add_failure(failure.source, || failure);
            }
        }
        self.report_changed(now, lookup);
        if !self.has_end_events && self.init_is_over {
            self.report_strays(now);
        }
        self.fold(now);
    }

    /// Handles a platform event. The lookup already knows this event.
    pub fn platform(&mut self, failure: PlatformFailure, now: SystemTime, lookup: TraceLookup<'_>) {
        let PlatformFailure { request_id, is_done, is_report, max_memory_mb, ended, .. } = failure;
        let PlatformFailure { is_init, is_repeated_init, .. } = failure;
        self.init_is_over |= is_init;
        let Some(request_id) = request_id else {
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
        let invocation = self.invocation(&request_id, now, lookup);
        invocation.is_done |= is_done;
        invocation.max_memory_mb = max_memory_mb.or(invocation.max_memory_mb);
        let knows_better = is_report && ended.is_some() && invocation.awaits_report();
        invocation.is_reported |= is_report;
        let known = &mut invocation.gathered.ended;
        *known = known.take().filter(|_| !knows_better).or(ended);
        if is_done || !invocation.gathered.is_empty() {
            self.conclude(&request_id, now, lookup);
        }
        self.fold(now);
    }

    /// Handles the end of the sandbox during an invocation.
    pub fn ended_with_sandbox(
        &mut self,
        request_id: &str,
        error_type: String,
        now: SystemTime,
        lookup: TraceLookup<'_>,
    ) {
        let ended =
            PlatformEnd { error_type, time_ms: unix_ms(now), phase: FailedPhase::Invocation };
        let invocation = self.invocation(request_id, now, lookup);
        invocation.is_reported = true;
        let known = &mut invocation.gathered.ended;
        *known = known.take().or(Some(ended));
        self.failed_init = None;
        self.conclude(request_id, now, lookup);
    }

    /// Whether the invocation has evidence, or evidence without an invocation waits.
    pub fn has_something(&self, request_id: &str) -> bool {
        let found = self.invocations.iter().find(|it| it.request_id == request_id);
        found.is_some_and(|it| !it.gathered.is_empty())
            || self.strays.iter().any(|gathered| !gathered.is_empty())
    }

    /// Reports all evidence at the end of the sandbox.
    pub fn finish(&mut self, now: SystemTime, lookup: TraceLookup<'_>) {
        self.invocations.iter_mut().for_each(|it| it.is_reported = true);
        let all: Vec<_> = self.invocations.iter().map(|it| it.request_id.clone()).collect();
        all.iter().for_each(|request_id| self.conclude(request_id, now, lookup));
        if let Some(ended) = self.failed_init.take() {
            self.report_init(ended, now);
        }
        self.report_strays(now);
        let folded = self.bursts.finish();
        folded.into_iter().for_each(|made| self.push(made));
    }
}
