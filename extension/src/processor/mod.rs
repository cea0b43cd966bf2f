//! The invocations: what the receivers learn of them, and the lifecycle waits for.
//!
//! A fast function may be done before the extension has been told that it began, so the last few
//! ids are kept. What the platform tells beside that becomes spans in [`crate::processor::platform_spans`].

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

pub use crate::processor::reporter::FailureCounts;
use crate::{
    invocation::end::{EndEvidence, RecentIds},
    lambda::{
        extensions_api::{Invoke, Shutdown},
        telemetry_event::{PlatformEvent, PlatformRecord, RawEvent},
    },
    otlp::payload::{Payload, ServerSpan},
    processor::{
        failures::{FailureReporter, PlatformFailure},
        lock::locked,
        log_lines::LineEnricher,
        platform_spans::{PlatformSpans, TraceRefs},
        reporter::GuardedReporter,
    },
};

/// Shared by the receivers and the lifecycle. The signals that it returns are spans of the
/// platform, lines and failures, for the caller to hand to the pipeline.
#[derive(Clone, Debug)]
pub struct Processor {
    /// Perhaps over: see [`EndEvidence::Likely`].
    ended: RecentIds,
    over: RecentIds,
    /// Those that the runtime has finished: their lines have come.
    done: RecentIds,
    /// `platform.runtimeDone` events that came, of any invocation.
    runtime_done_events: Arc<AtomicU64>,
    failed: RecentIds,
    reported: RecentIds,
    init_is_over: watch::Sender<bool>,
    platform: Arc<Mutex<PlatformSpans>>,
    /// `None` if no destination wants them.
    lines: Option<Arc<Mutex<LineEnricher>>>,
    /// `None` if no destination wants them. Locked before all others.
    reporter: Option<Arc<GuardedReporter>>,
    counts: Arc<FailureCounts>,
}

impl Processor {
    /// None has begun.
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

    /// How many failures only the reporter knows, at any time.
    pub fn failure_counts(&self) -> Arc<FailureCounts> {
        Arc::clone(&self.counts)
    }

    /// Each will be told of by [`begun`](Self::begun), also if it is done before.
    pub fn expect_ends(&self) {
        self.failures(FailureReporter::expect_ends);
    }

    /// An invocation has begun. When Lambda tries an event again, that has the same id. FailureReporter of
    /// earlier ones are returned.
    pub fn begun(&self, invoke: &Invoke) -> Vec<Payload> {
        let now = SystemTime::now();
        self.init_is_over.send_replace(true);
        for known in [&self.ended, &self.over, &self.done, &self.failed, &self.reported] {
            known.forget_old(&invoke.request_id, now);
        }
        self.platform().invoked(invoke, now);
        if let Some(lines) = &self.lines {
            locked(lines).invoked(invoke, now);
        }
        self.failures(|failures| failures.begun(invoke, now, &|id| self.traces(id)))
    }

    /// The function has sent its server span.
    pub fn server_span(&self, server: &ServerSpan) -> Option<Payload> {
        if server.failed {
            self.failed.add(server.request_id.clone());
        }
        self.platform().server_span(server, SystemTime::now())
    }

    /// The platform has said something.
    pub fn platform_event(&self, event: PlatformEvent) -> PlatformOutcome {
        let mut news = PlatformOutcome::default();
        let note = PlatformFailure::of(&event);
        match &event.record {
            PlatformRecord::RuntimeDone(done) => {
                if done.failure().is_some() {
                    self.failed.add(done.request_id.clone());
                }
                news.done = Some(done.request_id.clone());
            }
            PlatformRecord::Report(report) => news.reported = Some(report.request_id.clone()),
            PlatformRecord::Init(_) => news.is_init = true,
            PlatformRecord::Restore(_) | PlatformRecord::Other => {}
        }
        let now = SystemTime::now();
        news.spans = self.platform().event(event, now);
        if let Some(note) = note {
            news.failures = self.failures(|failures| {
                failures.platform(note, now, &|id| self.traces(id));
            });
        }
        news
    }

    /// Whether anybody wants to know what went wrong.
    pub fn wants_failures(&self) -> bool {
        self.reporter.is_some()
    }

    /// A request has come by OTLP; the failures that are told of at once.
    pub fn otlp(&self, signal: &Payload) -> Vec<Payload> {
        let now = SystemTime::now();
        self.failures(|failures| failures.otlp(signal, now, &|id| self.traces(id)))
    }

    /// Some time has passed; the failures that have waited long enough.
    pub fn overdue_failures(&self) -> Vec<Payload> {
        let now = SystemTime::now();
        self.failures(|failures| failures.overdue(now, &|id| self.traces(id)))
    }

    /// Whether something went wrong in an invocation that is yet to be told of.
    pub fn has_failures(&self, request_id: &str) -> bool {
        self.reporter.as_ref().is_some_and(|reporter| reporter.has_something(request_id))
    }

    /// The failures of an invocation that is over.
    pub fn conclude(&self, request_id: &str) -> Vec<Payload> {
        let now = SystemTime::now();
        self.failures(|failures| failures.conclude(request_id, now, &|id| self.traces(id)))
    }

    /// All failures that are yet to be told of.
    pub fn last_failures(&self) -> Vec<Payload> {
        let now = SystemTime::now();
        self.failures(|failures| failures.finish(now, &|id| self.traces(id)))
    }

    /// What the Telemetry API has delivered, as lines for whoever wants them.
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

    /// The invocation whose cost is yet to be told to those who want lines.
    pub fn unreported(&self) -> Option<String> {
        locked(self.lines.as_ref()?).unreported()
    }

    /// LineEnricher about the end of the sandbox.
    pub fn last_lines(&self, shutdown: &Shutdown) -> Vec<Payload> {
        let Some(lines) = &self.lines else { return Vec::new() };
        locked(lines).shut_down(shutdown, SystemTime::now())
    }

    /// The invocation that failed with the sandbox, if nobody has said why yet.
    pub fn unexplained(&self, shutdown: &Shutdown) -> Option<String> {
        self.platform().unexplained(shutdown).map(str::to_owned)
    }

    /// The sandbox is about to end.
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

    /// An invocation is over.
    pub fn ended(&self, request_id: String, end: EndEvidence) {
        if end == EndEvidence::Certain {
            self.over.add(request_id.clone());
        }
        self.ended.add(request_id);
    }

    /// What the news say of an invocation, once the pipeline has all that came with them.
    pub fn told(&self, news: PlatformOutcome) {
        if news.is_init {
            self.init_is_over.send_replace(true);
        }
        if let Some(request_id) = news.done {
            self.runtime_done_events.fetch_add(1, Ordering::Relaxed);
            self.done.add(request_id.clone());
            self.ended(request_id, EndEvidence::Certain);
        }
        news.reported.into_iter().for_each(|request_id| self.reported.add(request_id));
    }

    /// Returns when init is known to be over: the platform has said so, or an invocation has begun.
    pub async fn wait_for_init(&self) {
        // An error means that the sender is gone, which `self` is not.
        let _ = self.init_is_over.subscribe().wait_for(|over| *over).await;
    }

    /// Returns when it is so sure that the invocation is over, at once if it already is.
    pub async fn wait_for_end(&self, request_id: &str, sure: EndEvidence) {
        match sure {
            EndEvidence::Likely => self.ended.wait_for(request_id).await,
            EndEvidence::Certain => self.over.wait_for(request_id).await,
        }
    }

    /// How many `platform.runtimeDone` events have come.
    pub fn runtime_done_events(&self) -> u64 {
        self.runtime_done_events.load(Ordering::Relaxed)
    }

    /// Returns when the platform says that the runtime has finished the invocation.
    pub async fn wait_for_runtime_done(&self, request_id: &str) {
        self.done.wait_for(request_id).await;
    }

    /// Returns when the platform has reported on the invocation.
    pub async fn wait_for_report(&self, request_id: &str) {
        self.reported.wait_for(request_id).await;
    }

    /// Whether somebody has said that the invocation failed.
    pub fn has_failed(&self, request_id: &str) -> bool {
        self.failed.has(request_id)
    }

    /// Does something about failures; what is told of then.
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

/// What an event of the platform leads to.
#[derive(Debug, Default)]
pub struct PlatformOutcome {
    /// Spans for the pipeline.
    pub spans: Option<Payload>,
    /// FailureReporter for the pipeline.
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
