//! Spans made from platform events, around the function's server span S.
//!
//! | span | from | place |
//! |---|---|---|
//! | `init`, `restore` | `platform.initReport`, `platform.restoreReport` | child of the next S |
//! | `runtimeOverhead` | `platform.runtimeDone` | child of its S |
//! | `platform.report` | `platform.report`, one invocation later | child of its S |
//! | the function's name | a failed `platform.runtimeDone`, or SHUTDOWN, without S | the root, in place of S |
//!
//! S never waits for these spans: they leave with the next flush. Events may be late, missing, in
//! another order, or of a later schema. A span without a place in a trace is left out.

pub(crate) mod span;

use std::{collections::VecDeque, time::SystemTime};

use trace_context::{SpanId, TraceId, XrayHeader};

use crate::lambda::extensions_api::{Invoke, Shutdown};
use crate::lambda::telemetry_event::PhaseReport;
pub use crate::lambda::telemetry_event::{PlatformEvent, PlatformRecord, RawEvent};
use crate::otlp::payload::{Payload, ServerSpan};
use crate::processor::platform_spans::span::{PlatformSpan, SpanParent, encode};
pub(crate) use crate::processor::platform_spans::span::{new_span_id, new_trace_id};

/// Most invocations that are kept. Where INVOKE arrives, Lambda runs one at a time and delivers a report
/// one invocation later, so a few suffice.
const REMEMBERED: usize = 8;

#[derive(Debug)]
pub struct PlatformSpans {
    resource: Vec<(String, String)>,
    function_name: String,
    /// Oldest first.
    invocations: VecDeque<PendingInvocation>,
    /// `init` or `restore`, until the following invocation has its S, or the root in its place.
    before_first: Vec<PlatformSpan>,
}

/// The ids of an invocation in the trace backends.
#[derive(Clone, Debug, Default)]
pub struct TraceRefs {
    /// The value of `X-Amzn-Trace-Id`.
    pub xray_header: Option<String>,
    /// The server span, or the root in its place.
    pub server: Option<(TraceId, SpanId)>,
}

/// Looks up the trace ids of an invocation.
pub type TraceLookup<'a> = &'a dyn Fn(&str) -> TraceRefs;

#[derive(Debug)]
struct PendingInvocation {
    request_id: String,
    /// Whether INVOKE has arrived; a fast function's S may arrive first.
    begun: bool,
    started: SystemTime,
    xray_header: Option<String>,
    /// S, or the root in its place.
    server: Option<SpanParent>,
    /// Spans that wait for S.
    waiting: Vec<PlatformSpan>,
}

impl PlatformSpans {
    /// `resource` describes the function, as the resource of its own spans does.
    pub fn new(function_name: String, resource: Vec<(String, String)>) -> Self {
        Self { resource, function_name, invocations: VecDeque::new(), before_first: Vec::new() }
    }

    /// Handles INVOKE. A second INVOKE with the same id is another invocation.
    pub fn invoked(&mut self, invoke: &Invoke, now: SystemTime) {
        self.invocations.retain(|known| !(known.begun && known.request_id == invoke.request_id));
        let invocation = self.invocation(&invoke.request_id, now);
        invocation.begun = true;
        invocation.started = now;
        invocation.xray_header = invoke.xray_header();
    }

    /// Returns the spans that waited for this S. Ignores an S with invalid ids.
    pub fn server_span(&mut self, server: &ServerSpan, now: SystemTime) -> Option<Payload> {
        let place = SpanParent {
            trace_id: server.trace_id?,
            span_id: server.span_id?,
            is_sampled: server.is_sampled,
        };
        let before = std::mem::take(&mut self.before_first);
        let invocation = self.invocation(&server.request_id, now);
        invocation.server = Some(place);
        invocation.waiting.extend(before);
        self.release(&server.request_id)
    }

    /// Returns the spans of the invocation that have a place now, this event's among them.
    pub fn event(&mut self, event: PlatformEvent, now: SystemTime) -> Option<Payload> {
        match event.record {
            PlatformRecord::Init(phase) => self.phase("init", &phase, event.time),
            PlatformRecord::Restore(phase) => self.phase("restore", &phase, event.time),
            PlatformRecord::RuntimeDone(done) => {
                let invocation = self.invocation(&done.request_id, now);
                invocation.waiting.extend(PlatformSpan::overhead(&done));
                let failed = done.failure();
                match failed.filter(|_| invocation.server.is_none()) {
                    Some(error_type) => self.make_root(&done.request_id, &error_type, event.time),
                    None => self.release(&done.request_id),
                }
            }
            PlatformRecord::Report(report) => {
                let invocation = self.invocation(&report.request_id, now);
                let span = PlatformSpan::report(&report, invocation.started);
                invocation.waiting.push(span);
                self.release(&report.request_id)
            }
            PlatformRecord::Other => None,
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
        let after = self.invocations.iter_mut().find(|it| it.started >= end && it.server.is_some());
        let Some(invocation) = after else {
            self.before_first.push(span);
            return None;
        };
        invocation.waiting.push(span);
        let request_id = invocation.request_id.clone();
        self.release(&request_id)
    }

    /// The X-Ray header and server span of an invocation.
    pub fn traces(&self, request_id: &str) -> TraceRefs {
        let found = self.invocations.iter().find(|known| known.request_id == request_id);
        TraceRefs {
            xray_header: found.and_then(|known| known.xray_header.clone()),
            server: found.and_then(|known| known.server).map(|it| (it.trace_id, it.span_id)),
        }
    }

    /// The last invocation, if the sandbox failed and the invocation has neither S nor root.
    pub fn unexplained(&self, shutdown: &Shutdown) -> Option<&str> {
        let last = self.invocations.back().filter(|last| last.server.is_none());
        last.filter(|_| shutdown.is_failure()).map(|last| &*last.request_id)
    }

    /// Handles SHUTDOWN: the unexplained invocation gets its root.
    pub fn shut_down(&mut self, shutdown: &Shutdown, now: SystemTime) -> Option<Payload> {
        let request_id = self.unexplained(shutdown)?.to_owned();
        self.make_root(&request_id, &shutdown.shutdown_reason.to_ascii_lowercase(), now)
    }

    fn make_root(
        &mut self,
        request_id: &str,
        error_type: &str,
        end: SystemTime,
    ) -> Option<Payload> {
        let function_name = self.function_name.clone();
        let before = std::mem::take(&mut self.before_first);
        let invocation = self.invocation(request_id, end);
        let header = invocation.xray_header.as_deref().and_then(XrayHeader::parse);
        let trace_id = header.map_or_else(|| span::new_trace_id(invocation.started), |x| x.root);
        let mut root = PlatformSpan::root(function_name, invocation.started, end, error_type);
        root.attribute("faas.invocation_id", invocation.request_id.clone());
        invocation.server = Some(SpanParent { trace_id, span_id: root.id, is_sampled: true });
        invocation.waiting.extend(before);
        invocation.waiting.push(root);
        self.release(request_id)
    }

    /// Takes all spans that wait for an invocation's S, if S is known.
    fn release(&mut self, request_id: &str) -> Option<Payload> {
        let found = self.invocations.iter_mut().find(|known| known.request_id == request_id);
        let invocation = found.filter(|known| !known.waiting.is_empty())?;
        let server = invocation.server?;
        let mut spans = std::mem::take(&mut invocation.waiting);
        // A later process may send these spans from the spool, without this invocation's header.
        if let Some(header) = &invocation.xray_header {
            spans.iter_mut().for_each(|span| span.attribute("cruddur.xray_header", header.clone()));
        }
        Some(encode(&self.resource, server, spans))
    }

    fn invocation(&mut self, request_id: &str, now: SystemTime) -> &mut PendingInvocation {
        let known = self.invocations.iter().position(|known| known.request_id == request_id);
        let index = known.unwrap_or_else(|| {
            if self.invocations.len() == REMEMBERED {
                self.invocations.pop_front();
            }
            self.invocations.push_back(PendingInvocation {
                request_id: request_id.to_owned(),
                begun: false,
                started: now,
                xray_header: None,
                server: None,
                waiting: Vec::new(),
            });
            self.invocations.len() - 1
        });
        &mut self.invocations[index]
    }
}

#[cfg(test)]
mod tests;
