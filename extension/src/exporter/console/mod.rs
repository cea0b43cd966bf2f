//! Draws each trace in the terminal as a waterfall tree, when its entry span has ended.
//!
//! For local work. Spans wait here until the span comes under which the process was entered: a
//! root, a SERVER span, or one whose parent is in another process.

mod waterfall;

use std::{
    collections::{HashMap, VecDeque},
    io::Write,
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    trace::v1::{Span, SpanFlags, span::SpanKind},
};
use prost::Message;

use crate::{
    delivery::{
        DestinationSpec, Exporter,
        batch::Batch,
        error::{ExportError, ExportOutcome},
        healthcheck::Finding,
    },
    otlp::payload::SignalKind,
};
use futures_util::future::BoxFuture;

/// Spans without an entry span that are kept; then they are drawn as they are. Our choice.
const MAX_WAITING_SPANS: usize = 10_000;

/// Traces that were drawn lately: what comes for them later is drawn at once. Our choice.
const REMEMBERED: usize = 256;

/// Width where standard output is no terminal, in columns.
const DEFAULT_WIDTH: usize = 120;

/// A span and the service that sent it.
#[derive(Debug)]
struct ReceivedSpan {
    span: Span,
    service: String,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Console {
    waiting: HashMap<Vec<u8>, Vec<ReceivedSpan>>,
    drawn: VecDeque<Vec<u8>>,
}

impl Console {
    /// Draws the traces that the batch completes.
    pub async fn export(&mut self, batch: &Batch) -> Result<(), ExportError> {
        let unreadable = |error: &dyn std::fmt::Display| ExportError::Unreadable(error.to_string());
        let bytes = batch.to_plain().map_err(|error| unreadable(&error))?;
        let traces =
            ExportTraceServiceRequest::decode(bytes).map_err(|error| unreadable(&error))?;
        let complete = self.collect(traces);
        let drawings = self.draw(complete);
        // In a thread of its own: a terminal may be stopped, and nobody else must wait for it.
        let written = tokio::task::spawn_blocking(move || write(&drawings)).await;
        written.map_err(|error| unreadable(&error))
    }

    /// Keeps the spans, and returns the traces that can be drawn.
    fn collect(&mut self, traces: ExportTraceServiceRequest) -> Vec<Vec<u8>> {
        let mut complete = Vec::new();
        for sent in spans(traces) {
            let trace_id = sent.span.trace_id.clone();
            let can_be_drawn = is_entry(&sent.span) || self.drawn.contains(&trace_id);
            if can_be_drawn && !complete.contains(&trace_id) {
                complete.push(trace_id.clone());
            }
            self.waiting.entry(trace_id).or_default().push(sent);
        }
        if self.waiting.values().map(Vec::len).sum::<usize>() > MAX_WAITING_SPANS {
            complete = self.waiting.keys().cloned().collect();
        }
        complete
    }

    fn draw(&mut self, traces: Vec<Vec<u8>>) -> String {
        let terminal = terminal_size::terminal_size();
        let width = terminal.map_or(DEFAULT_WIDTH, |(width, _)| width.0.into());
        let mut drawings = String::new();
        for trace_id in traces {
            if let Some(trace) = self.waiting.remove(&trace_id) {
                drawings.push_str(&waterfall::draw(&trace, width));
                self.drawn.push_front(trace_id);
                self.drawn.truncate(REMEMBERED);
            }
        }
        drawings
    }
}

impl Exporter for Console {
    fn spec(&self) -> DestinationSpec {
        DestinationSpec {
            name: "console",
            kinds: vec![SignalKind::Traces],
            durable: false,
            keeps_duplicates: true,
        }
    }

    fn export<'a>(
        &'a mut self,
        batch: &'a Batch,
    ) -> BoxFuture<'a, Result<ExportOutcome, ExportError>> {
        Box::pin(async { self.export(batch).await.map(|()| ExportOutcome::default()) })
    }

    fn healthcheck(&mut self) -> BoxFuture<'_, Vec<Finding>> {
        Box::pin(std::future::ready(vec![Finding::fine("traces are drawn on standard output")]))
    }
}

/// What still waits at the end is drawn as it is.
impl Drop for Console {
    fn drop(&mut self) {
        let rest = self.waiting.keys().cloned().collect();
        write(&self.draw(rest));
    }
}

fn write(drawings: &str) {
    // A closed terminal is no reason to hold telemetry back.
    let mut out = anstream::stdout().lock();
    let _ = out.write_all(drawings.as_bytes()).and_then(|()| out.flush());
}

fn spans(traces: ExportTraceServiceRequest) -> impl Iterator<Item = ReceivedSpan> {
    traces.resource_spans.into_iter().flat_map(|resource_spans| {
        let attributes = resource_spans.resource.map(|resource| resource.attributes);
        let service = attributes
            .iter()
            .flatten()
            .find(|attribute| attribute.key == "service.name")
            .map(|attribute| waterfall::value(attribute.value.as_ref()))
            .unwrap_or_default();
        let spans = resource_spans.scope_spans.into_iter().flat_map(|scope| scope.spans);
        spans.map(move |span| ReceivedSpan { span, service: service.clone() })
    })
}

fn is_entry(span: &Span) -> bool {
    span.parent_span_id.is_empty()
        || span.kind == SpanKind::Server as i32
        || span.flags & SpanFlags::ContextIsRemoteMask as u32 != 0
}
