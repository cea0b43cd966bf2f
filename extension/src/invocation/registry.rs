//! One record for each attempt of a request, shared by receivers, processors, lifecycle and exporters.
//!
//! The lock covers look-ups and changes of state only: nothing is parsed, formatted or copied by input
//! size under it.

use std::{
    ops::{Deref, DerefMut},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::sync::watch;
use trace_context::TraceId;

use crate::invocation::attempt::{Attempt, AttemptId, LineOwner, SpanParent, TracingHeader};
use crate::invocation::attempts::Attempts;
use crate::invocation::choice::SamplingSettings;
use crate::invocation::end::EndEvidence;
use crate::invocation::parts::Parts;
use crate::invocation::usage::SandboxUsage;
use crate::lambda::extensions_api::{Invoke, Shutdown};
use crate::lambda::telemetry_event::{
    InvocationReport, InvocationStart, PlatformEvent, PlatformRecord, RuntimeDone,
};
use crate::otlp::payload::ServerSpan;

#[derive(Clone, Debug, Default)]
pub struct Registry(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    attempts: Mutex<Attempts>,
    /// Signals recorded evidence.
    changed: watch::Sender<()>,
    init_is_over: watch::Sender<bool>,
    runtime_done_events: AtomicU64,
    /// Whether the sandbox is a managed instance.
    is_concurrent: AtomicBool,
    /// `None` if all spans are sent.
    sampling: Option<Sampling>,
    /// CPU time of the longest lock, in nanoseconds.
    #[cfg(test)]
    longest_lock: AtomicU64,
}

#[derive(Debug)]
pub(super) struct Sampling {
    pub(super) settings: SamplingSettings,
    /// Locked before the attempts, never after them.
    pub(super) parts: Mutex<Parts>,
}

impl Registry {
    /// `settings`: `None` if all spans are sent.
    pub fn with_sampling(settings: Option<SamplingSettings>) -> Self {
        let sampling = settings.map(|settings| Sampling { settings, parts: Mutex::default() });
        Self(Arc::new(Shared { sampling, ..Shared::default() }))
    }

    pub(super) fn sampling(&self) -> Option<&Sampling> {
        self.0.sampling.as_ref()
    }

    /// Several invocations run at once, so the order of events attributes no line.
    pub fn set_concurrent(&self) {
        self.0.is_concurrent.store(true, Ordering::Relaxed);
    }

    pub fn is_concurrent(&self) -> bool {
        self.0.is_concurrent.load(Ordering::Relaxed)
    }

    /// Opens an attempt on INVOKE, or continues the one that its platform events have opened.
    pub fn on_invoke(&self, invoke: &Invoke, now: SystemTime) -> AttemptId {
        let header = invoke.xray_header().as_deref().and_then(TracingHeader::parse);
        let deadline_ms = Some(invoke.deadline_ms).filter(|ms| *ms > 0);
        let request_id = invoke.request_id.as_str().into();
        self.0.init_is_over.send_replace(true);
        self.lock().on_invoke(&request_id, header, deadline_ms, now)
    }

    /// Advances the attempt that the event is about, and returns it.
    pub fn on_platform_event(&self, event: &PlatformEvent) -> Option<AttemptId> {
        match &event.record {
            PlatformRecord::Start(start) => Some(self.on_start(start, event.time)),
            PlatformRecord::RuntimeDone(done) => Some(self.on_runtime_done(done, event.time)),
            PlatformRecord::Report(report) => Some(self.on_report(report, event.time)),
            PlatformRecord::Begin(_)
            | PlatformRecord::Init(_)
            | PlatformRecord::Restore(_)
            | PlatformRecord::Other => None,
        }
    }

    fn on_start(&self, start: &InvocationStart, time: SystemTime) -> AttemptId {
        let header = start.xray_header().and_then(TracingHeader::parse);
        let request_id = start.request_id.as_str().into();
        let tenant_id = start.tenant_id().map(Arc::from);
        self.lock().on_start(&request_id, (header, tenant_id), time)
    }

    fn on_runtime_done(&self, done: &RuntimeDone, time: SystemTime) -> AttemptId {
        let (request_id, status) = (done.request_id.as_str().into(), done.status().into());
        let has_failed = done.failure().is_some();
        self.lock().on_runtime_done(&request_id, status, has_failed, time)
    }

    fn on_report(&self, report: &InvocationReport, time: SystemTime) -> AttemptId {
        let request_id = report.request_id.as_str().into();
        self.lock().on_report(&request_id, report.failure().is_some(), time)
    }

    /// `None` for an attempt that is no longer known.
    pub fn on_server_span(&self, server: &ServerSpan, now: SystemTime) -> Option<AttemptId> {
        let parent = server.trace_id.zip(server.span_id).map(|(trace_id, span_id)| {
            let is_sampled = server.is_sampled;
            SpanParent { trace_id, span_id, is_sampled }
        });
        let request_id = server.request_id.as_str().into();
        let end = (server.ended, server.failed);
        self.lock().on_server_span(&request_id, parent, end, now)
    }

    /// The attempt that a span or record names. A new one if the request id is unknown.
    pub fn of_evidence(
        &self,
        request_id: &str,
        ended: Option<SystemTime>,
        now: SystemTime,
    ) -> Option<AttemptId> {
        let request_id = request_id.into();
        self.lock().on_server_span(&request_id, None, (ended, false), now)
    }

    /// Whether one of the last `count` invocations had a server span, or fewer have begun.
    pub fn has_recent_server_span(&self, count: usize) -> bool {
        let attempts = self.lock();
        let mut before = attempts.iter().rev().filter(|it| it.has_begun()).skip(1);
        let without = before.by_ref().take(count).take_while(|it| it.server.is_none());
        without.count() < count
    }

    pub fn set_hold(&self, id: AttemptId, hold: Duration) {
        if let Some(attempt) = self.lock().get_mut(id) {
            attempt.hold = Some(hold);
        }
    }

    pub fn set_usage(&self, id: AttemptId, usage: SandboxUsage) {
        let usage = Arc::new(usage);
        if let Some(attempt) = self.lock().get_mut(id) {
            attempt.usage = Some(usage);
        }
    }

    /// The root takes the place of the server span.
    pub fn set_root(&self, id: AttemptId, root: SpanParent) {
        if let Some(attempt) = self.lock().get_mut(id) {
            attempt.server = Some(root);
        }
    }

    /// Records evidence and wakes the waits for it. Call it when the pipeline has the payloads.
    pub fn record(&self, id: AttemptId, evidence: EndEvidence) {
        if evidence == EndEvidence::RuntimeDone {
            self.0.runtime_done_events.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(attempt) = self.lock().get_mut(id)
            && !attempt.evidence.contains(evidence)
        {
            attempt.evidence.insert(evidence);
            if evidence.is_likely() {
                attempt.ended_at.get_or_insert_with(SystemTime::now);
            }
        }
        self.0.changed.send_replace(());
    }

    pub fn record_init(&self) {
        self.0.init_is_over.send_replace(true);
    }

    /// Returns when init is over: its report has arrived, or an invocation has begun.
    pub async fn wait_for_init(&self) {
        // `wait_for` fails only without a sender, and `self` holds it.
        let _ = self.0.init_is_over.subscribe().wait_for(|over| *over).await;
    }

    /// Returns when such evidence is recorded. Never returns for an unknown attempt.
    pub async fn wait_for(&self, id: AttemptId, is_it: impl Fn(EndEvidence) -> bool) {
        let mut changed = self.0.changed.subscribe();
        loop {
            if self.lock().get(id).is_some_and(|it| it.has_evidence(&is_it)) {
                return;
            }
            let _ = changed.changed().await; // `self` holds the sender
        }
    }

    /// Number of `platform.runtimeDone` events whose payloads are in the pipeline.
    pub fn runtime_done_events(&self) -> u64 {
        self.0.runtime_done_events.load(Ordering::Relaxed)
    }

    pub fn get(&self, id: AttemptId) -> Option<Attempt> {
        self.lock().get(id).cloned()
    }

    /// Whether no more events of the attempt are expected; true for an unknown one. False until an evicted
    /// one is [taken](Self::take_evicted).
    pub fn is_over(&self, id: AttemptId) -> bool {
        let attempts = self.lock();
        match attempts.get(id) {
            Some(attempt) => attempts.is_over(attempt),
            None => !attempts.evicted.iter().any(|it| it.id == id),
        }
    }

    /// Whether the attempt runs, as far as events show.
    pub fn is_running(&self, id: AttemptId) -> bool {
        let attempts = self.lock();
        attempts.get(id).is_some_and(|it| !it.is_done() && !attempts.is_over(it))
    }

    /// Whether an invocation has begun in this process.
    pub fn has_begun(&self) -> bool {
        self.lock().has_begun
    }

    /// The attempt to which lines without a request id belong that arrive now.
    pub fn line_owner(&self) -> LineOwner {
        if self.is_concurrent() { LineOwner::default() } else { self.lock().line_owner() }
    }

    /// The last attempt in this trace, where several run at once: its root, or its server span's trace.
    pub fn of_trace(&self, trace_id: TraceId) -> Option<AttemptId> {
        if !self.is_concurrent() {
            return None;
        }
        let attempts = self.lock();
        let is_its = |it: &&Attempt| it.server.is_some_and(|it| it.trace_id == trace_id);
        attempts.of_root(trace_id).or_else(|| attempts.iter().rev().find(is_its).map(|it| it.id))
    }

    /// The attempt to which a line of this time belongs, by its request id or by its owner. Unknown
    /// request ids are ignored.
    pub fn of_line(
        &self,
        request_id: Option<&str>,
        owner: LineOwner,
        time: SystemTime,
    ) -> Option<AttemptId> {
        let named = request_id.and_then(|id| self.lock().started_at(id, time));
        named.or_else(|| owner.at(time))
    }

    pub fn set_line_trace(&self, id: AttemptId, trace_id: TraceId) {
        if let Some(attempt) = self.lock().get_mut(id) {
            attempt.line_trace_id.get_or_insert(trace_id);
        }
    }

    /// Marks that a line has the metrics. False from the second call on.
    pub fn claim_metrics(&self, id: AttemptId) -> bool {
        let mut attempts = self.lock();
        let attempt = attempts.get_mut(id);
        attempt.is_some_and(|it| !std::mem::replace(&mut it.has_metrics_line, true))
    }

    /// The attempts without metrics in a line, oldest first.
    pub fn without_metrics(&self) -> Vec<Attempt> {
        let attempts = self.lock();
        attempts.iter().filter(|it| it.has_begun() && !it.has_metrics_line).cloned().collect()
    }

    /// The last attempt without metrics in a line: that of the last INVOKE if its start event is missing.
    pub fn last_without_metrics(&self) -> Option<AttemptId> {
        let attempts = self.lock();
        let lacks = |it: &&Attempt| it.has_begun() && !it.has_metrics_line;
        let invoked = attempts.invoked.and_then(|id| attempts.get(id));
        let invoked = invoked.filter(|it| !it.has_start && lacks(it));
        invoked.or_else(|| attempts.iter().rev().find(lacks)).map(|it| it.id)
    }

    /// The first attempt that began after this time and has its server span.
    pub fn first_placed_after(&self, time: SystemTime) -> Option<AttemptId> {
        let attempts = self.lock();
        attempts.iter().find(|it| it.began >= time && it.server.is_some()).map(|it| it.id)
    }

    /// The last invocation, if the sandbox failed and neither a server span nor `platform.runtimeDone`
    /// shows how it ended.
    pub fn unexplained(&self, shutdown: &Shutdown) -> Option<Attempt> {
        let attempts = self.lock();
        let last = attempts.iter().rev().find(|it| it.is_confirmed())?;
        let is_unexplained = shutdown.is_failure() && last.server.is_none() && !last.is_done();
        is_unexplained.then(|| last.clone())
    }

    /// The X-Ray header of the attempt in which a span with this request id ended.
    pub fn header_of_request(
        &self,
        request_id: &str,
        ended: Option<SystemTime>,
    ) -> Option<TracingHeader> {
        let attempts = self.lock();
        let id = attempts.of_span(request_id, ended)?;
        attempts.get(id)?.xray_header.clone()
    }

    /// The header of the last attempt in this X-Ray trace.
    pub fn header_of_root(&self, root: TraceId) -> Option<TracingHeader> {
        let attempts = self.lock();
        attempts.get(attempts.of_root(root)?)?.xray_header.clone()
    }

    /// The header of the last attempt that began at `time` or before: Lambda runs one after the other
    /// where INVOKE arrives. `None` without INVOKE.
    pub fn header_at(&self, time: SystemTime) -> Option<TracingHeader> {
        let attempts = self.lock();
        attempts.invoked?;
        let mut begun = attempts.iter().rev().filter(|it| it.has_invoke && it.began <= time);
        begun.next()?.xray_header.clone()
    }

    /// Takes the attempts that were evicted before they were over, or before the pipeline had their report.
    pub fn take_evicted(&self) -> Vec<Attempt> {
        std::mem::take(&mut self.lock().evicted)
    }

    pub(super) fn lock(&self) -> Locked<'_> {
        // A panic under the lock costs one change of state, not all later calls.
        let attempts = self.0.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        Locked {
            attempts,
            #[cfg(test)]
            since: crate::test_clock::cpu_time(),
            #[cfg(test)]
            longest: &self.0.longest_lock,
        }
    }
}

/// Measures in tests how long the lock is held.
pub(super) struct Locked<'a> {
    attempts: MutexGuard<'a, Attempts>,
    #[cfg(test)]
    since: std::time::Duration,
    #[cfg(test)]
    longest: &'a AtomicU64,
}

impl Deref for Locked<'_> {
    type Target = Attempts;

    fn deref(&self) -> &Attempts {
        &self.attempts
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Attempts {
        &mut self.attempts
    }
}

#[cfg(test)]
impl Registry {
    /// The last started attempt of a request.
    pub fn of_record(&self, request_id: &str) -> Option<AttemptId> {
        self.lock().last_started(request_id)
    }
}

#[cfg(test)]
impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let held = crate::test_clock::cpu_time() - self.since;
        self.longest.fetch_max(held.as_nanos() as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
