//! Derives platform spans, log lines and failures from received telemetry.
//!
//! The receivers call it for received telemetry; the lifecycle calls it for INVOKE and SHUTDOWN.

pub mod platform_spans;
pub mod log_lines;
pub mod failures;

pub mod xray_header;
mod lock;
mod posts;
mod reporter;

use std::{
    borrow::Cow,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard},
    time::SystemTime,
};

use tracing::error;

use crate::invocation::attempt::{Attempt, AttemptId};
use crate::invocation::end::EndEvidence;
use crate::invocation::registry::Registry;
use crate::lambda::extensions_api::{Invoke, Shutdown};
use crate::lambda::telemetry_event::{PlatformEvent, PlatformRecord, RawEvent};
use crate::otlp::line_codec::LinePayloads;
use crate::otlp::payload::{Payload, ServerSpan};
use crate::otlp::post_codec::{self, RawPost};
use crate::processor::failures::{FailureReporter, PlatformFailure};
use crate::processor::lock::locked;
use crate::processor::log_lines::LineEnricher;
use crate::processor::platform_spans::PlatformSpans;
use crate::processor::posts::{Attribution, Attributions, EventFinder, Places, PlatformPlace};
pub use crate::processor::reporter::FailureCounts;
use crate::processor::reporter::GuardedReporter;

/// Shared by the receivers and the lifecycle. The caller hands the returned payloads to the pipeline.
#[derive(Clone, Debug)]
pub struct Processor {
    registry: Registry,
    platform: Arc<Mutex<PlatformSpans>>,
    /// `None` if no destination takes lines or failures.
    lines: Option<Arc<Mutex<LineEnricher>>>,
    /// `None` if no destination takes failures. Its lock is taken before all others.
    reporter: Option<Arc<GuardedReporter>>,
    counts: Arc<FailureCounts>,
    /// Where the events of the posts belong that are not read yet.
    attributions: Arc<Mutex<Attributions>>,
}

/// Payloads made of received telemetry, and the evidence to [record](Processor::record) when the pipeline
/// has them.
#[derive(Debug, Default)]
pub struct Derived {
    pub payloads: Vec<Payload>,
    evidence: Vec<(AttemptId, EndEvidence)>,
    has_init: bool,
}

/// Payloads made of raw posts.
#[derive(Debug, Default)]
pub struct ReadPosts {
    pub payloads: Vec<Payload>,
    /// Number of events that were read.
    pub events: u64,
}

#[derive(Debug, Default)]
struct MadeOfPost {
    lines: LinePayloads,
    failed: Vec<PlatformFailure>,
    /// Attempts whose last event this post holds.
    ended: Vec<AttemptId>,
    /// Number of readable events.
    events: u64,
}

impl Processor {
    /// All parts share the registry.
    pub fn new(
        registry: Registry,
        platform: PlatformSpans,
        lines: Option<LineEnricher>,
        failures: Option<FailureReporter>,
    ) -> Self {
        Self {
            registry,
            platform: Arc::new(Mutex::new(platform)),
            lines: lines.map(|lines| Arc::new(Mutex::new(lines))),
            reporter: failures.map(|failures| Arc::new(GuardedReporter::new(failures))),
            counts: Arc::default(),
            attributions: Arc::default(),
        }
    }

    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The counts of failures that wait for a payload or were lost by a panic. They stay current.
    pub fn failure_counts(&self) -> Arc<FailureCounts> {
        Arc::clone(&self.counts)
    }

    /// INVOKE and platform events will arrive for each invocation, perhaps after its end.
    pub fn expect_end_events(&self) {
        self.failures(FailureReporter::expect_end_events);
    }

    /// Several invocations run at once, so the order of events attributes no line.
    pub fn expect_concurrency(&self) {
        self.registry.set_concurrent();
    }

    /// The first INVOKE after a snapshot has arrived.
    pub fn begin_anew(&self) {
        self.platform().begin_anew();
    }

    /// Handles INVOKE: returns its attempt, and the failures of earlier ones.
    pub fn on_invoke(&self, invoke: &Invoke) -> (AttemptId, Vec<Payload>) {
        let now = SystemTime::now();
        let id = self.registry.on_invoke(invoke, now);
        let mut payloads = self.failures(|failures| failures.on_invoke(id, now));
        payloads.extend(self.conclude_evicted(now));
        (id, payloads)
    }

    /// Whether a destination takes failures.
    pub fn wants_failures(&self) -> bool {
        self.reporter.is_some()
    }

    /// Handles an OTLP payload and its server spans: returns the platform spans that have their place now,
    /// and the failures that become items now.
    pub fn otlp(&self, signal: &Payload, servers: &[ServerSpan]) -> Derived {
        let now = SystemTime::now();
        let mut derived = Derived::default();
        for server in servers {
            let Some(id) = self.registry.on_server_span(server, now) else { continue };
            derived.payloads.extend(self.platform().on_server_span(id));
            let is_last = server.is_last_word;
            let evidence = if is_last { EndEvidence::LastSpan } else { EndEvidence::ServerSpan };
            derived.evidence.push((id, evidence));
        }
        derived.payloads.extend(self.failures(|failures| failures.otlp(signal, now)));
        derived.payloads.extend(self.conclude_evicted(now));
        derived
    }

    /// Handles the platform's events of one POST in their order. Returns platform spans and evidence, and
    /// the post for [`read_posts`](Self::read_posts) if lines or failures are wanted.
    pub fn receive_post(
        &self,
        events: &[Cow<'_, str>],
        arrived: SystemTime,
    ) -> (Derived, Option<Payload>) {
        let mut derived = Derived::default();
        let mut attribution =
            Attribution { owner: self.registry.line_owner(), platform: Vec::new() };
        let owner = attribution.owner.at(arrived).and_then(|id| self.registry.get(id));
        let mut kept = Vec::with_capacity(events.len());
        let finder = EventFinder::new();
        for json in events {
            if let Some(raw) = finder.platform_event(json, arrived) {
                let place = self.on_platform_event(&raw, kept.len(), &mut derived);
                attribution.platform.push(place);
            }
            if !finder.is_of_extension(json, arrived) {
                kept.push(json.as_ref());
            }
        }
        if self.lines.is_none() {
            derived.payloads.extend(self.conclude_evicted(arrived));
            return (derived, None);
        }
        if kept.is_empty() {
            return (derived, None);
        }
        let number = locked(&self.attributions).keep(attribution, arrived);
        let request_id = owner.as_ref().map_or("", |it| &*it.request_id);
        (derived, Some(post_codec::encode(number, request_id, &kept)))
    }

    fn on_platform_event(
        &self,
        raw: &RawEvent<'_>,
        index: usize,
        derived: &mut Derived,
    ) -> PlatformPlace {
        let event = PlatformEvent::read(raw);
        let attempt = self.registry.on_platform_event(&event);
        derived.has_init |= matches!(event.record, PlatformRecord::Init(_));
        let evidence = match &event.record {
            PlatformRecord::RuntimeDone(_) => Some(EndEvidence::RuntimeDone),
            PlatformRecord::Report(_) => Some(EndEvidence::Report),
            _ => None,
        };
        derived.evidence.extend(attempt.zip(evidence));
        derived.payloads.extend(self.platform().event(event, attempt));
        PlatformPlace { index, attempt, owner: self.registry.line_owner() }
    }

    /// Makes lines and failures of raw posts, which are in the order of their arrival.
    pub fn read_posts(&self, posts: &[u8]) -> ReadPosts {
        let now = SystemTime::now();
        let mut read = ReadPosts::default();
        for post in post_codec::read(posts) {
            let attribution = locked(&self.attributions).take(&post);
            let mut made = MadeOfPost::default();
            let make = AssertUnwindSafe(|| self.lines_of(&post, attribution, &mut made));
            if catch_unwind(make).is_err() {
                error!(
                    "A post of the Telemetry API caused a panic; the rest of its lines is dropped"
                );
            }
            let MadeOfPost { lines, failed, ended, events } = made;
            read.events += events;
            let lines = lines.finish();
            let failures = self.failures(|reporter| {
                // All lines of the POST come first, since they may show the cause of its failures.
                reporter.lines(&lines, now);
                failed.into_iter().for_each(|failure| reporter.platform(failure, now));
            });
            read.payloads.extend(lines.into_iter().chain(failures));
            ended.into_iter().for_each(|id| self.registry.conclude(id));
        }
        // After the last post: it may hold the report that names the cause of a failure in the first one.
        read.payloads.extend(self.failures(|reporter| reporter.report_ended(now)));
        read.payloads.extend(self.conclude_evicted(now));
        read
    }

    fn lines_of(
        &self,
        post: &RawPost<'_>,
        attribution: Option<Attribution>,
        made: &mut MadeOfPost,
    ) {
        let Some(enricher) = &self.lines else { return };
        let mut enricher = locked(enricher);
        enricher.set_earlier(attribution.is_none());
        let mut places = Places::of(post, attribution, &self.registry);
        for (index, json) in post.events().enumerate() {
            let raw = RawEvent::read(json, post.arrived());
            let event = raw.as_ref().filter(|raw| raw.kind.starts_with("platform."));
            let event = event.map(PlatformEvent::read);
            let attempt = places.next(index, event.as_ref());
            let Some(raw) = raw else { continue };
            enricher.add_line(&raw, attempt, places.owner(), &mut made.lines);
            made.events += 1;
            let is_end = |event: &PlatformEvent| {
                matches!(event.record, PlatformRecord::RuntimeDone(_) | PlatformRecord::Report(_))
            };
            made.ended.extend(attempt.filter(|_| event.as_ref().is_some_and(is_end)));
            made.failed.extend(event.and_then(|event| PlatformFailure::of(&event, attempt)));
        }
    }

    /// Records the evidence and wakes the waits for it. Call it when the pipeline has the payloads.
    pub fn record(&self, derived: Derived) {
        if derived.has_init {
            self.registry.record_init();
        }
        for (id, evidence) in derived.evidence {
            // Otherwise its lines are awaited.
            let is_end = evidence.is_certain() || evidence == EndEvidence::Report;
            if is_end && self.lines.is_none() {
                self.registry.conclude(id);
            }
            self.registry.record(id, evidence);
        }
    }

    /// Returns the failures that have waited for their spans long enough, and the folded ones that are due.
    pub fn overdue_failures(&self) -> Vec<Payload> {
        self.failures(|failures| failures.overdue(SystemTime::now()))
    }

    /// Whether evidence of a failure waits.
    pub fn has_evidence(&self) -> bool {
        self.reporter.as_ref().is_some_and(|reporter| reporter.has_evidence())
    }

    /// Whether the end of the invocation may make items: its own evidence waits, or evidence without an
    /// invocation.
    pub fn has_failures(&self, attempt: AttemptId) -> bool {
        self.reporter.as_ref().is_some_and(|reporter| reporter.has_something(attempt))
    }

    /// Returns the failures of an invocation that is over, unless its report may still name the cause.
    pub fn conclude(&self, attempt: AttemptId) -> Vec<Payload> {
        self.failures(|failures| failures.conclude(attempt, SystemTime::now()))
    }

    /// Returns all failures that are not reported yet.
    pub fn last_failures(&self) -> Vec<Payload> {
        self.failures(|failures| failures.finish(SystemTime::now()))
    }

    /// The last invocation whose `platform.report` has not become a line.
    pub fn unreported(&self) -> Option<AttemptId> {
        self.lines.as_ref().and_then(|_| self.registry.last_without_metrics())
    }

    /// Returns the lines about the end of the sandbox.
    pub fn last_lines(&self, shutdown: &Shutdown) -> Vec<Payload> {
        let Some(lines) = &self.lines else { return Vec::new() };
        locked(lines).shut_down(shutdown, SystemTime::now())
    }

    /// Handles SHUTDOWN: returns the root span, with the spans that waited for it, and the failure of the
    /// [unexplained](Registry::unexplained) invocation.
    pub fn shut_down(&self, shutdown: &Shutdown) -> Vec<Payload> {
        let now = SystemTime::now();
        let Some(attempt) = self.registry.unexplained(shutdown) else { return Vec::new() };
        self.registry.set_failed(attempt.id);
        let root = self.platform().shut_down(&attempt, shutdown, now);
        let reason = shutdown.shutdown_reason.to_ascii_lowercase();
        let failures =
            self.failures(|failures| failures.ended_with_sandbox(attempt.id, reason, now));
        root.into_iter().chain(failures).collect()
    }

    /// Concludes the invocations whose records were evicted before they were over.
    fn conclude_evicted(&self, now: SystemTime) -> Vec<Payload> {
        let evicted = self.registry.take_evicted();
        let conclude = |attempt: &Attempt| {
            let spans = self.platform().evict(attempt, now);
            let failures = self.failures(|failures| failures.evict(attempt, now));
            spans.into_iter().chain(failures)
        };
        evicted.iter().flat_map(conclude).collect()
    }

    /// Runs `act` on the failure reporter and returns the items that it made.
    fn failures(&self, act: impl FnOnce(&mut FailureReporter)) -> Vec<Payload> {
        self.reporter.as_ref().map(|reporter| reporter.act(&self.counts, act)).unwrap_or_default()
    }

    fn platform(&self) -> MutexGuard<'_, PlatformSpans> {
        locked(&self.platform)
    }
}

#[cfg(test)]
impl Processor {
    /// Evidence of an invocation arrives.
    pub fn ended(&self, request_id: &str, evidence: EndEvidence) {
        let attempt = self.registry.of_evidence(request_id, None, SystemTime::now()).unwrap();
        self.registry.record(attempt, evidence);
    }

    /// Handles the events of one POST, which is read at once.
    pub fn telemetry(&self, events: &serde_json::Value) -> Derived {
        let events = events.as_array().unwrap().iter();
        let events: Vec<_> = events.map(|event| event.to_string().into()).collect();
        let (mut derived, post) = self.receive_post(&events, SystemTime::now());
        let read = post.map(|post| self.read_posts(&post.bytes)).unwrap_or_default();
        derived.payloads.splice(0..0, read.payloads);
        derived
    }

    /// The reporter's next action panics.
    pub fn break_reporter(&self) {
        self.reporter
            .as_ref()
            .unwrap()
            .panics_next
            .store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
