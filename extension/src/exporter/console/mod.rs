//! Shows each trace in the terminal, for local work: as a row, or as a waterfall.
//!
//! Spans and log lines wait for the entry span of the process: a root, a SERVER span, or a span whose
//! parent is in another process.

pub mod config;

use std::{
    collections::{HashMap, VecDeque},
    io::{IsTerminal, Write},
};

use futures_util::future::BoxFuture;
use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest,
};
use prost::Message;
use trace_context::TraceId;

use crate::delivery::batch::Batch;
use crate::delivery::error::{ExportError, ExportOutcome};
use crate::delivery::healthcheck::Finding;
use crate::delivery::{DestinationSpec, Exporter};
use crate::exporter::console::config::{ConsoleConfig, ConsoleView};
use crate::exporter::drawing::line::Screen;
use crate::exporter::drawing::trace::{ReceivedTrace, is_entry, lines, spans};
use crate::exporter::drawing::{line, waterfall};
use crate::exporter::kind::{ExporterConfig, ExporterKind};
use crate::invocation::registry::Registry;
use crate::otlp::payload::{Payload, SignalKind};

/// Most waiting spans and lines, which bounds memory. Beyond it, all traces are drawn without an entry
/// span.
const MAX_WAITING: usize = 10_000;

/// Most drawn traces whose late spans and lines are drawn at once.
const MAX_DRAWN: usize = 256;

pub const KIND: ExporterKind = ExporterKind {
    name: "console",
    variables: config::VARIABLES,
    read: |reader, selection| ConsoleConfig::read(reader, selection).map(|it| Box::new(it) as _),
};

impl ExporterConfig for ConsoleConfig {
    fn start(&self, registry: Option<&Registry>) -> Box<dyn Exporter> {
        Box::new(Console::new(self.clone(), registry.cloned().unwrap_or_default()))
    }
}

#[derive(Debug)]
pub struct Console {
    config: ConsoleConfig,
    registry: Registry,
    waiting: HashMap<Vec<u8>, ReceivedTrace>,
    drawn: VecDeque<Vec<u8>>,
}

impl Console {
    fn new(config: ConsoleConfig, registry: Registry) -> Self {
        Self { config, registry, waiting: HashMap::new(), drawn: VecDeque::new() }
    }

    async fn draw_batch(&mut self, batch: &Batch) -> Result<ExportOutcome, ExportError> {
        let unreadable = |error: &dyn std::fmt::Display| ExportError::Unreadable(error.to_string());
        let bytes = batch.to_plain().map_err(|error| unreadable(&error))?;
        let complete = self.collect(batch.kind, &bytes).map_err(|error| unreadable(&error))?;
        let drawings = self.draw(complete);
        // On a blocking thread: a stopped terminal must not block other tasks.
        let written = tokio::task::spawn_blocking(move || write(&drawings)).await;
        written.map_err(|error| unreadable(&error))?;
        Ok(ExportOutcome::default())
    }

    /// Stores spans or lines and returns the ids of complete traces.
    fn collect(
        &mut self,
        kind: SignalKind,
        bytes: &[u8],
    ) -> Result<Vec<Vec<u8>>, prost::DecodeError> {
        let mut complete = Vec::new();
        let mut add = |trace_id: &[u8], is_complete: bool| {
            let is_late = self.drawn.iter().any(|drawn| drawn == trace_id);
            if (is_complete || is_late) && !complete.iter().any(|seen| seen == trace_id) {
                complete.push(trace_id.to_vec());
            }
            is_late
        };
        match kind {
            SignalKind::Logs => {
                for line in lines(ExportLogsServiceRequest::decode(bytes)?) {
                    let is_late = add(&line.trace_id, line.trace_id.is_empty());
                    let trace = self.waiting.entry(line.trace_id.clone()).or_default();
                    trace.is_late |= is_late;
                    trace.lines.push(line);
                }
            }
            _ => {
                for received in spans(ExportTraceServiceRequest::decode(bytes)?) {
                    let is_late = add(&received.span.trace_id, is_entry(&received.span));
                    let trace = self.waiting.entry(received.span.trace_id.clone()).or_default();
                    trace.is_late |= is_late;
                    trace.spans.push(received);
                }
            }
        }
        let waiting = self.waiting.values().map(|trace| trace.spans.len() + trace.lines.len());
        if waiting.sum::<usize>() > MAX_WAITING {
            complete = self.waiting.keys().cloned().collect();
        }
        Ok(complete)
    }

    fn draw(&mut self, traces: Vec<Vec<u8>>) -> String {
        let mut drawings = String::new();
        for trace_id in traces {
            let Some(trace) = self.waiting.remove(&trace_id) else { continue };
            let screen = self.screen(&trace_id);
            drawings.push_str(&match self.config.view {
                ConsoleView::Waterfall { shows_all } if !trace.spans.is_empty() => {
                    waterfall::draw(&trace, &screen, shows_all)
                }
                ConsoleView::Waterfall { .. } => line::draw_lines(&trace.lines, &screen),
                ConsoleView::Line => line::draw(&trace, &screen),
            });
            // Lines without a trace have an empty id, and lines may come before their spans.
            if !trace.spans.is_empty() {
                self.drawn.push_front(trace_id);
                self.drawn.truncate(MAX_DRAWN);
            }
        }
        drawings
    }

    fn draw_rest(&mut self) -> String {
        let rest = self.waiting.keys().cloned().collect();
        self.draw(rest)
    }

    /// With a link to the local page, else to the destination unless sampling left the trace out.
    fn screen(&self, trace_id: &[u8]) -> Screen {
        let terminal = std::io::stdout().is_terminal();
        let width = terminal.then(|| {
            let size = terminal_size::terminal_size();
            // A terminal without a size, as of some recorders, has 0 columns.
            size.map(|(width, _)| width.0.into()).filter(|width| *width > 0).unwrap_or(80)
        });
        let trace_id = trace_id.try_into().ok().and_then(TraceId::from_bytes);
        let is_left_out = trace_id.is_some_and(|id| self.registry.is_left_out(id));
        let page_url = self.config.page.as_ref().map(|page| format!("{page}/traces/{{trace_id}}"));
        let trace_url = || self.config.trace_url.clone().filter(|_| !is_left_out);
        Screen { width, trace_url: page_url.or_else(trace_url) }
    }
}

impl Exporter for Console {
    fn spec(&self) -> DestinationSpec {
        DestinationSpec {
            name: "console",
            kinds: vec![SignalKind::Traces, SignalKind::Logs],
            durable: false,
            max_items: u64::MAX,
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
        let mut console = Self::new(self.config.clone(), self.registry.clone());
        console.collect(payload.kind, &payload.bytes).map_err(unreadable)?;
        Ok(vec![console.draw_rest()])
    }

    fn healthcheck(&mut self) -> BoxFuture<'_, Vec<Finding>> {
        let text = match self.config.view {
            ConsoleView::Line => "each request is a row on standard output",
            ConsoleView::Waterfall { .. } => "traces are drawn on standard output",
        };
        Box::pin(std::future::ready(vec![Finding::fine(text)]))
    }
}

/// Incomplete traces would be lost with the process, so they are drawn.
impl Drop for Console {
    fn drop(&mut self) {
        write(&self.draw_rest());
    }
}

fn write(drawings: &str) {
    // An error is ignored: a closed terminal must not stop telemetry.
    let mut out = anstream::stdout().lock();
    let _ = out.write_all(drawings.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

    use super::*;
    use crate::invocation::choice::SamplingSettings;

    #[test]
    fn a_row_has_no_link_to_a_trace_that_sampling_left_out() {
        let (slow, salt) = (Duration::from_secs(2), String::new());
        let settings = SamplingSettings { rate: 1_000_000, slow, salt, samples_logs: false };
        let registry = Registry::with_sampling(Some(settings));
        let span = Span { trace_id: vec![7; 16], span_id: vec![1; 8], ..Span::default() };
        let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        let bytes = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        let (payload, _) = Payload::read(SignalKind::Traces, bytes.into()).unwrap();
        let trace_url = Some("https://trace.example/{trace_id}".to_owned());
        let config = ConsoleConfig { view: ConsoleView::Line, trace_url, page: None };
        let console = Console::new(config, registry.clone());

        let before = console.preview(&payload).unwrap().concat();
        registry.observe(SignalKind::Traces, &payload.bytes, false);
        registry.decide(SystemTime::now(), true);
        let after = console.preview(&payload).unwrap().concat();

        assert!(before.contains("https://trace.example/0707"), "{before}");
        assert!(after.contains("0707") && !after.contains("https://"), "{after}");
    }
}
