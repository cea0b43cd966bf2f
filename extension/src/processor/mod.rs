//! Derives platform spans, log lines and failures from received telemetry, and keeps the evidence of
//! each invocation's end.
//!
//! The receivers call it for received telemetry; the lifecycle calls it for INVOKE and SHUTDOWN, and
//! waits for ends.

pub mod platform_spans;
pub mod log_lines;
pub mod failures;

mod lock;
mod reporter;

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use tokio::sync::watch;

use crate::invocation::end::{EndEvidence, RecentIds};
use crate::lambda::extensions_api::{Invoke, Shutdown};
use crate::lambda::telemetry_event::{PlatformEvent, PlatformRecord, RawEvent};
use crate::otlp::payload::{Payload, ServerSpan};
use crate::processor::failures::{FailureReporter, PlatformFailure};
use crate::processor::lock::locked;
use crate::processor::log_lines::LineEnricher;
use crate::processor::platform_spans::{PlatformSpans, TraceRefs};
pub use crate::processor::reporter::FailureCounts;
use crate::processor::reporter::GuardedReporter;

/// Shared by the receivers and the lifecycle. The caller hands the returned payloads to the pipeline.
#[derive(Clone, Debug)]
pub struct Processor {
    /// Invocations with evidence of their end, of any strength.
    ended: RecentIds,
    /// Invocations with [`EndEvidence::Certain`].
    over: RecentIds,
    /// Invocations whose `platform.runtimeDone` has arrived, and so all their lines.
    done: RecentIds,
    /// Number of `platform.runtimeDone` events received.
    runtime_done_events: Arc<AtomicU64>,
    failed: RecentIds,
    /// Invocations whose `platform.report` has arrived.
    reported: RecentIds,
    init_is_over: watch::Sender<bool>,
    platform: Arc<Mutex<PlatformSpans>>,
    /// `None` if no destination takes lines or failures.
    lines: Option<Arc<Mutex<LineEnricher>>>,
    /// `None` if no destination takes failures. Its lock is taken before all others.
    reporter: Option<Arc<GuardedReporter>>,
    counts: Arc<FailureCounts>,
}

impl Processor {
    pub fn new(
        platform: PlatformSpans,
        lines: Option<LineEnricher>,
        failures: Option<FailureReporter>,
    ) -> Self {
        let lines = lines.map(|lines| Arc::new(Mutex::new(lines)));
        Self {
            ended: RecentIds::default(),
            over: RecentIds::default(),
            done: RecentIds::default(),
            runtime_done_events: Arc::default(),
            failed: RecentIds::default(),
            reported: RecentIds::default(),
            init_is_over: watch::Sender::default(),
            platform: Arc::new(Mutex::new(platform)),
            lines,
            reporter: failures.map(|failures| Arc::new(GuardedReporter::new(failures))),
            counts: Arc::default(),
        }
    }

    /// The counts of failures that wait for a payload or were lost by a panic. They stay current.
    pub fn failure_counts(&self) -> Arc<FailureCounts> {
        Arc::clone(&self.counts)
    }

    /// INVOKE and platform events will arrive for each invocation, perhaps after its end.
    pub fn expect_end_events(&self) {
        self.failures(FailureReporter::expect_end_events);
    }

    /// Handles INVOKE: returns the failures of earlier invocations. A retried event has the same id.
    pub fn on_invoke(&self, invoke: &Invoke) -> Vec<Payload> {
        let now = SystemTime::now();
        self.init_is_over.send_replace(true);
        for known in [&self.ended, &self.over, &self.done, &self.failed, &self.reported] {
            known.forget_old(&invoke.request_id, now);
        }
        self.platform().invoked(invoke, now);
        if let Some(lines) = &self.lines {
            locked(lines).invoked(invoke, now);
        }
        self.failures(|failures| failures.on_invoke(invoke, now, &|id| self.traces(id)))
    }

    /// Returns the platform spans that waited for this server span.
    pub fn server_span(&self, server: &ServerSpan) -> Option<Payload> {
        if server.failed {
            self.failed.add(server.request_id.clone());
        }
        self.platform().server_span(server, SystemTime::now())
    }

    pub fn platform_event(&self, event: PlatformEvent) -> PlatformOutcome {
        let mut outcome = PlatformOutcome::default();
        let failure = PlatformFailure::of(&event);
        match &event.record {
            PlatformRecord::RuntimeDone(done) => {
                if done.failure().is_some() {
                    self.failed.add(done.request_id.clone());
                }
                outcome.done = Some(done.request_id.clone());
            }
            PlatformRecord::Report(report) => outcome.reported = Some(report.request_id.clone()),
            PlatformRecord::Init(_) => outcome.is_init = true,
            PlatformRecord::Restore(_) | PlatformRecord::Other => {}
        }
        let now = SystemTime::now();
        outcome.spans = self.platform().event(event, now);
        if let Some(failure) = failure {
            outcome.failures = self.failures(|failures| {
                failures.platform(failure, now, &|id| self.traces(id));
            });
        }
        outcome
    }

    /// Whether a destination takes failures.
    pub fn wants_failures(&self) -> bool {
        self.reporter.is_some()
    }

    /// Handles an OTLP payload: returns the failures that become items now.
    pub fn otlp(&self, signal: &Payload) -> Vec<Payload> {
        let now = SystemTime::now();
        self.failures(|failures| failures.otlp(signal, now, &|id| self.traces(id)))
    }

    /// Returns the failures that have waited for their spans long enough, and the folded ones that are due.
    pub fn overdue_failures(&self) -> Vec<Payload> {
        let now = SystemTime::now();
        self.failures(|failures| failures.overdue(now, &|id| self.traces(id)))
    }

    /// Whether the end of the invocation may make items: its own evidence waits, or evidence without an
    /// invocation.
    pub fn has_failures(&self, request_id: &str) -> bool {
        self.reporter.as_ref().is_some_and(|reporter| reporter.has_something(request_id))
    }

    /// Returns the failures of an invocation that is over, unless its report may still name the cause.
    pub fn conclude(&self, request_id: &str) -> Vec<Payload> {
        let now = SystemTime::now();
        self.failures(|failures| failures.conclude(request_id, now, &|id| self.traces(id)))
    }

    /// Returns all failures that are not reported yet.
    pub fn last_failures(&self) -> Vec<Payload> {
        let now = SystemTime::now();
        self.failures(|failures| failures.finish(now, &|id| self.traces(id)))
    }

    /// Makes lines of the Telemetry API's events, and failures of the lines. Returns both.
    pub fn lines(&self, events: &[RawEvent<'_>]) -> Vec<Payload> {
        let Some(lines) = &self.lines else { return Vec::new() };
        let mut signals =
            locked(lines).take(events, |request_id| self.platform().traces(request_id));
        let now = SystemTime::now();
        signals.extend(self.failures(|failures| {
            failures.lines(&signals, now, &|id| self.traces(id));
        }));
        signals
    }

    /// The last invocation whose `platform.report` has not become a line.
    pub fn unreported(&self) -> Option<String> {
        locked(self.lines.as_ref()?).unreported()
    }

    /// Returns the lines about the end of the sandbox.
    pub fn last_lines(&self, shutdown: &Shutdown) -> Vec<Payload> {
        let Some(lines) = &self.lines else { return Vec::new() };
        locked(lines).shut_down(shutdown, SystemTime::now())
    }

    /// The last invocation, if the sandbox failed and the invocation has neither server span nor root.
    pub fn unexplained(&self, shutdown: &Shutdown) -> Option<String> {
        self.platform().unexplained(shutdown).map(str::to_owned)
    }

    /// Handles SHUTDOWN: returns the root span, with the spans that waited for it, and the failure of the
    /// [unexplained](Self::unexplained) invocation.
    pub fn shut_down(&self, shutdown: &Shutdown) -> Vec<Payload> {
        let now = SystemTime::now();
        let unexplained = self.unexplained(shutdown);
        let root = self.platform().shut_down(shutdown, now);
        let failures = unexplained.map(|request_id| {
            let reason = shutdown.shutdown_reason.to_ascii_lowercase();
            self.failures(|failures| {
                failures.ended_with_sandbox(&request_id, reason, now, &|id| self.traces(id));
            })
        });
        root.into_iter().chain(failures.into_iter().flatten()).collect()
    }

    pub fn ended(&self, request_id: String, end: EndEvidence) {
        if end == EndEvidence::Certain {
            self.over.add(request_id.clone());
        }
        self.ended.add(request_id);
    }

    /// Records the evidence and wakes the waits for it. Call it when the pipeline has the payloads of the
    /// outcome.
    pub fn record(&self, outcome: PlatformOutcome) {
        if outcome.is_init {
            self.init_is_over.send_replace(true);
        }
        if let Some(request_id) = outcome.done {
            self.runtime_done_events.fetch_add(1, Ordering::Relaxed);
            self.done.add(request_id.clone());
            self.ended(request_id, EndEvidence::Certain);
        }
        outcome.reported.into_iter().for_each(|request_id| self.reported.add(request_id));
    }

    /// Returns when init is over: its report has arrived, or an invocation has begun.
    pub async fn wait_for_init(&self) {
        // `wait_for` fails only without a sender, and `self` holds it.
        let _ = self.init_is_over.subscribe().wait_for(|over| *over).await;
    }

    /// Returns when there is evidence of the invocation's end that is at least this strong.
    pub async fn wait_for_end(&self, request_id: &str, evidence: EndEvidence) {
        match evidence {
            EndEvidence::Likely => self.ended.wait_for(request_id).await,
            EndEvidence::Certain => self.over.wait_for(request_id).await,
        }
    }

    pub fn runtime_done_events(&self) -> u64 {
        self.runtime_done_events.load(Ordering::Relaxed)
    }

    /// Returns when `platform.runtimeDone` of the invocation has arrived.
    pub async fn wait_for_runtime_done(&self, request_id: &str) {
        self.done.wait_for(request_id).await;
    }

    /// Returns when `platform.report` of the invocation has arrived.
    pub async fn wait_for_report(&self, request_id: &str) {
        self.reported.wait_for(request_id).await;
    }

    /// Whether the server span or `platform.runtimeDone` reported a failure.
    pub fn has_failed(&self, request_id: &str) -> bool {
        self.failed.has(request_id)
    }

    /// Runs `act` on the failure reporter and returns the items that it made.
    fn failures(&self, act: impl FnOnce(&mut FailureReporter)) -> Vec<Payload> {
        self.reporter.as_ref().map(|reporter| reporter.act(&self.counts, act)).unwrap_or_default()
    }

    fn traces(&self, request_id: &str) -> TraceRefs {
        self.platform().traces(request_id)
    }

    fn platform(&self) -> MutexGuard<'_, PlatformSpans> {
        locked(&self.platform)
    }
}

/// The result of a platform event.
#[derive(Debug, Default)]
pub struct PlatformOutcome {
    pub spans: Option<Payload>,
    pub failures: Vec<Payload>,
    is_init: bool,
    done: Option<String>,
    reported: Option<String>,
}

#[cfg(test)]
impl Processor {
    /// The reporter's next action panics.
    pub fn break_reporter(&self) {
        self.reporter.as_ref().unwrap().panics_next.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
