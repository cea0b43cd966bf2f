//! Draws each trace in the terminal as a waterfall, for local work.
//!
//! Spans wait for the entry span of the process: a root, a SERVER span, or a span whose parent is in
//! another process.

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

use crate::delivery::batch::Batch;
use crate::delivery::error::{ExportError, ExportOutcome};
use crate::delivery::healthcheck::Finding;
use crate::delivery::{DestinationSpec, Exporter};
use crate::exporter::console::waterfall::ReceivedSpan;
use crate::exporter::kind::{ExporterConfig, ExporterKind, Selection};
use crate::invocation::registry::Registry;
use crate::otlp::payload::{Payload, SignalKind};
use futures_util::future::BoxFuture;

/// Most waiting spans, which bounds memory. Beyond it, all traces are drawn without an entry span.
const MAX_WAITING_SPANS: usize = 10_000;

/// Most drawn traces whose late spans are drawn at once.
const MAX_DRAWN: usize = 256;

/// Columns if standard output is not a terminal.
const DEFAULT_WIDTH: usize = 120;

pub const KIND: ExporterKind = ExporterKind {
    name: "console",
    variables: &[],
    read: |_, Selection { is_named, is_on_lambda }| {
        (is_named || !is_on_lambda).then(|| Box::new(ConsoleConfig) as _)
    },
};

#[derive(Debug)]
pub struct ConsoleConfig;

impl ExporterConfig for ConsoleConfig {
    fn start(&self, _: Option<&Registry>) -> Box<dyn Exporter> {
        Box::new(Console::default())
    }
}

#[derive(Debug, Default)]
pub struct Console {
    waiting: HashMap<Vec<u8>, Vec<ReceivedSpan>>,
    drawn: VecDeque<Vec<u8>>,
}

impl Console {
    async fn draw_batch(&mut self, batch: &Batch) -> Result<ExportOutcome, ExportError> {
        let unreadable = |error: &dyn std::fmt::Display| ExportError::Unreadable(error.to_string());
        let bytes = batch.to_plain().map_err(|error| unreadable(&error))?;
        let traces =
            ExportTraceServiceRequest::decode(bytes).map_err(|error| unreadable(&error))?;
        let complete = self.collect(traces);
        let drawings = self.draw(complete);
        // On a blocking thread: a stopped terminal must not block other tasks.
        let written = tokio::task::spawn_blocking(move || write(&drawings)).await;
        written.map_err(|error| unreadable(&error))?;
        Ok(ExportOutcome::default())
    }

    /// Stores the spans and returns the ids of complete traces.
    fn collect(&mut self, traces: ExportTraceServiceRequest) -> Vec<Vec<u8>> {
        let mut complete = Vec::new();
        for received in spans(traces) {
            let trace_id = received.span.trace_id.clone();
            let can_be_drawn = is_entry(&received.span) || self.drawn.contains(&trace_id);
            if can_be_drawn && !complete.contains(&trace_id) {
                complete.push(trace_id.clone());
            }
            self.waiting.entry(trace_id).or_default().push(received);
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
                self.drawn.truncate(MAX_DRAWN);
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
        Box::pin(self.draw_batch(batch))
    }

    fn preview(&self, payload: &Payload) -> Result<Vec<String>, ExportError> {
        let unreadable = |error: prost::DecodeError| ExportError::Unreadable(error.to_string());
        let traces = ExportTraceServiceRequest::decode(&payload.bytes[..]).map_err(unreadable)?;
        let mut console = Self::default();
        console.collect(traces);
        let all = console.waiting.keys().cloned().collect();
        Ok(vec![console.draw(all)])
    }

    fn healthcheck(&mut self) -> BoxFuture<'_, Vec<Finding>> {
        Box::pin(std::future::ready(vec![Finding::fine("traces are drawn on standard output")]))
    }
}

/// Incomplete traces would be lost with the process, so they are drawn.
impl Drop for Console {
    fn drop(&mut self) {
        let rest = self.waiting.keys().cloned().collect();
        write(&self.draw(rest));
    }
}

fn write(drawings: &str) {
    // An error is ignored: a closed terminal must not stop telemetry.
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
