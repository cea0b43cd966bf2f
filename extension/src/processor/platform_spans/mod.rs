//! Spans made from platform events, around the function's server span S.
//!
//! | span | from | place |
//! |---|---|---|
//! | `init`, `restore` | `platform.initReport`, `platform.restoreReport` | child of the next S |
//! | `runtimeOverhead` | `platform.runtimeDone` | child of its S |
//! | `platform.report` | `platform.report`, one invocation later | child of its S |
//! | the function's name | a failed `platform.runtimeDone`, or SHUTDOWN, without S | the root, in place of S |
//!
//! The `init` of a snapshot ran once for many sandboxes, perhaps weeks ago, so it is in no trace.
//!
//! S never waits for these spans: they leave with the next flush. Events may be late, missing, in
//! another order, or of a later schema. A span without a place in a trace is left out.

pub(crate) mod span;

use std::{collections::BTreeMap, time::SystemTime};

use sha2::{Digest, Sha256};

use crate::invocation::attempt::{Attempt, AttemptId, SpanParent};
use crate::invocation::registry::Registry;
use crate::lambda::extensions_api::Shutdown;
use crate::lambda::telemetry_event::PhaseReport;
pub use crate::lambda::telemetry_event::{PlatformEvent, PlatformRecord, RawEvent};
use crate::otlp::payload::{Payload, XRAY_HEADER_KEY};
use crate::processor::platform_spans::span::{PlatformSpan, encode};
pub(crate) use crate::processor::platform_spans::span::{new_span_id, new_trace_id};

/// Most invocations whose spans wait for S, at about 1 KB each, unless more are open. More than a managed
/// instance ends before the function's SDK sends their S.
const MAX_WAITING: usize = 256;

const INSTANCE_ID: &str = "service.instance.id";

/// The id of the sandbox with this name. Cruddur's functions derive the same one from the name of their log
/// stream, which Lambda's `instanceId` repeats.
fn instance_id(name: &str) -> String {
    let digest = Sha256::digest(name);
    let bytes = digest.first_chunk().copied().unwrap_or_default();
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

#[derive(Debug)]
pub struct PlatformSpans {
    resource: Vec<(String, String)>,
    function_name: String,
    registry: Registry,
    /// Spans that wait for S, by invocation.
    waiting: BTreeMap<AttemptId, Vec<PlatformSpan>>,
    /// `init` or `restore`, until the following invocation has its S, or the root in its place.
    before_first: Vec<PlatformSpan>,
    /// Whether spans get `service.instance.id`: not if the variables set one.
    names_instance: bool,
    /// That attribute, derived from the sandbox's name.
    instance_id: Option<String>,
    /// The attribute of a sandbox without a name, drawn for the first spans.
    drawn_id: Option<String>,
}

impl PlatformSpans {
    /// `resource` describes the function, like the resource of the function's spans.
    pub fn new(function_name: String, resource: Vec<(String, String)>, registry: Registry) -> Self {
        let (waiting, before_first) = (BTreeMap::new(), Vec::new());
        let names_instance = !resource.iter().any(|(key, _)| key == INSTANCE_ID);
        Self {
            resource,
            function_name,
            registry,
            waiting,
            before_first,
            names_instance,
            instance_id: None,
            drawn_id: None,
        }
    }

    /// A snapshot was restored, so an id that was drawn before is in other sandboxes too.
    pub fn begin_anew(&mut self) {
        self.drawn_id = None;
    }

    /// Returns the spans that waited for the S of this invocation.
    pub fn on_server_span(&mut self, id: AttemptId) -> Option<Payload> {
        let attempt = self.registry.get(id).filter(|attempt| attempt.server.is_some())?;
        let before = std::mem::take(&mut self.before_first);
        self.add(id, before);
        self.release(&attempt)
    }

    /// Returns the spans of the invocation that have a place now, this event's among them. `attempt` is the
    /// one that the event is about.
    pub fn event(&mut self, event: PlatformEvent, attempt: Option<AttemptId>) -> Option<Payload> {
        match event.record {
            PlatformRecord::Begin(phase) => {
                let name = phase.instance_id().filter(|_| !phase.is_of_snapshot());
                self.instance_id = name.map(instance_id).or(self.instance_id.take());
                None
            }
            PlatformRecord::Init(phase) if phase.is_of_snapshot() => None,
            PlatformRecord::Init(phase) => self.phase("init", &phase, event.time),
            PlatformRecord::Restore(phase) => self.phase("restore", &phase, event.time),
            PlatformRecord::RuntimeDone(done) => {
                let attempt = self.registry.get(attempt?)?;
                self.add(attempt.id, PlatformSpan::overhead(&done));
                match done.failure().filter(|_| attempt.server.is_none()) {
                    Some(error_type) => self.make_root(&attempt, Some(&error_type), event.time),
                    None => self.release(&attempt),
                }
            }
            PlatformRecord::Report(report) => {
                let attempt = self.registry.get(attempt?)?;
                let usage = attempt.usage.as_deref();
                let span = PlatformSpan::report(&report, attempt.began, attempt.hold, usage);
                self.add(attempt.id, Some(span));
                self.release(&attempt)
            }
            PlatformRecord::Start(_) | PlatformRecord::Other => None,
        }
    }

    /// Adds the span of init or restore to the next invocation or, if the event is late, to the first
    /// invocation that began after it and has its S.
    fn phase(
        &mut self,
        name: &'static str,
        phase: &PhaseReport,
        end: SystemTime,
    ) -> Option<Payload> {
        let span = PlatformSpan::phase(name, phase, end);
        let Some(after) = self.registry.first_placed_after(end) else {
            self.before_first.push(span);
            return None;
        };
        self.add(after, Some(span));
        self.release(&self.registry.get(after)?)
    }

    /// Handles SHUTDOWN: the unexplained invocation gets its root.
    pub fn shut_down(
        &mut self,
        unexplained: &Attempt,
        shutdown: &Shutdown,
        now: SystemTime,
    ) -> Option<Payload> {
        let reason = shutdown.shutdown_reason.to_ascii_lowercase();
        self.make_root(unexplained, Some(&reason), now)
    }

    /// Handles an invocation whose record was evicted while its spans waited: they get a root.
    pub fn evict(&mut self, attempt: &Attempt, now: SystemTime) -> Option<Payload> {
        let is_waiting = self.waiting.contains_key(&attempt.id);
        if is_waiting { self.make_root(attempt, None, now) } else { None }
    }

    fn make_root(
        &mut self,
        attempt: &Attempt,
        error_type: Option<&str>,
        end: SystemTime,
    ) -> Option<Payload> {
        let header = attempt.xray_header.as_ref();
        let trace_id = header.map_or_else(|| new_trace_id(attempt.began), |it| it.parsed.root);
        let name = self.function_name.clone();
        // Without a start event the begin may be unknown.
        let began = attempt.began.min(end);
        let span_id = new_span_id();
        let mut root = PlatformSpan::root(span_id, name, (began, end), error_type);
        root.attribute("faas.invocation_id", attempt.request_id.to_string());
        let server = SpanParent { trace_id, span_id, is_sampled: true };
        self.registry.set_root(attempt.id, server);
        let before = std::mem::take(&mut self.before_first);
        // Not by `add`, which may drop spans of evicted attempts.
        self.waiting.entry(attempt.id).or_default().extend(before.into_iter().chain([root]));
        let mut placed = attempt.clone();
        placed.server = Some(server);
        self.release(&placed)
    }

    /// Takes all spans that wait for an invocation's S, if S is known.
    fn release(&mut self, attempt: &Attempt) -> Option<Payload> {
        let server = attempt.server?;
        let mut spans = self.waiting.remove(&attempt.id)?;
        // A later process may send these spans from the spool, without this invocation's header.
        if let Some(header) = &attempt.xray_header {
            spans.iter_mut().for_each(|span| span.attribute(XRAY_HEADER_KEY, &*header.text));
        }
        if let Some(tenant_id) = &attempt.tenant_id {
            spans.iter_mut().for_each(|span| span.attribute("aws.lambda.tenant_id", &**tenant_id));
        }
        let mut resource = self.resource.clone();
        if self.names_instance {
            let draw = || uuid::Uuid::new_v4().to_string();
            let id = self.instance_id.clone();
            let id = id.unwrap_or_else(|| self.drawn_id.get_or_insert_with(draw).clone());
            resource.push((INSTANCE_ID.to_owned(), id));
        }
        Some(encode(&resource, server, spans))
    }

    fn add(&mut self, id: AttemptId, spans: impl IntoIterator<Item = PlatformSpan>) {
        let mut spans = spans.into_iter().peekable();
        if spans.peek().is_none() {
            return;
        }
        self.waiting.entry(id).or_default().extend(spans);
        if self.waiting.len() > MAX_WAITING {
            let over = self.waiting.keys().find(|id| self.registry.is_over(**id)).copied();
            over.and_then(|id| self.waiting.remove(&id)); // its function sends no S
        }
    }
}

#[cfg(test)]
mod tests;
