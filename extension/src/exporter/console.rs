//! Draws each trace in the terminal as a waterfall tree, when its entry span has ended.
//!
//! For local work. Spans wait here until the span comes under which the process was entered: a
//! root, a SERVER span, or one whose parent is in another process.

mod waterfall;

use std::{
    collections::HashMap,
    io::{self, Write},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    trace::v1::{Span, SpanFlags, span::SpanKind},
};
use prost::Message;

use super::ExportError;
use crate::batch::Batch;

/// Spans without an entry span that are kept; then they are drawn as they are. Our choice.
const MAX_WAITING_SPANS: usize = 10_000;

/// Width where standard output is no terminal, in columns.
const DEFAULT_WIDTH: usize = 120;

/// A span and the service that sent it.
#[derive(Debug)]
struct Sent {
    span: Span,
    service: String,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Console {
    waiting: HashMap<Vec<u8>, Vec<Sent>>,
}

impl Console {
    /// Draws the traces that the batch completes.
    pub fn export(&mut self, batch: &Batch) -> Result<(), ExportError> {
        let unreadable = |error: &dyn std::fmt::Display| ExportError::Unreadable(error.to_string());
        let bytes = batch.to_plain().map_err(|error| unreadable(&error))?;
        let traces =
            ExportTraceServiceRequest::decode(bytes).map_err(|error| unreadable(&error))?;
        let mut complete = Vec::new();
        for sent in spans(traces) {
            let trace_id = sent.span.trace_id.clone();
            if is_entry(&sent.span) && !complete.contains(&trace_id) {
                complete.push(trace_id.clone());
            }
            self.waiting.entry(trace_id).or_default().push(sent);
        }
        if self.waiting.values().map(Vec::len).sum::<usize>() > MAX_WAITING_SPANS {
            complete = self.waiting.keys().cloned().collect();
        }
        let width =
            terminal_size::terminal_size().map_or(DEFAULT_WIDTH, |(width, _)| width.0.into());
        let drawings: String = complete
            .iter()
            .filter_map(|trace_id| self.waiting.remove(trace_id))
            .map(|trace| waterfall::draw(&trace, width))
            .collect();
        // A closed terminal is no reason to hold telemetry back.
        let _ = anstream::stdout()
            .lock()
            .write_all(drawings.as_bytes())
            .and_then(|()| io::stdout().flush());
        Ok(())
    }
}

fn spans(traces: ExportTraceServiceRequest) -> impl Iterator<Item = Sent> {
    traces.resource_spans.into_iter().flat_map(|resource_spans| {
        let attributes = resource_spans.resource.map(|resource| resource.attributes);
        let service = attributes
            .iter()
            .flatten()
            .find(|attribute| attribute.key == "service.name")
            .map(|attribute| waterfall::value(attribute.value.as_ref()))
            .unwrap_or_default();
        let spans = resource_spans.scope_spans.into_iter().flat_map(|scope| scope.spans);
        spans.map(move |span| Sent { span, service: service.clone() })
    })
}

fn is_entry(span: &Span) -> bool {
    span.parent_span_id.is_empty()
        || span.kind == SpanKind::Server as i32
        || span.flags & SpanFlags::ContextIsRemoteMask as u32 != 0
}
