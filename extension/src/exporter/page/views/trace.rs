//! One trace: its spans, lines and failures, and the same as text.

use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{AnyValue, KeyValue, any_value},
    logs::v1::LogRecord,
    trace::v1::{ResourceSpans, Span, span::SpanKind, status::StatusCode},
};
use prost::Message;
use serde::{Serialize, Serializer};
use trace_context::SpanId;

use crate::exporter::drawing::line::Screen;
use crate::exporter::drawing::trace::{ReceivedTrace, lines, spans};
use crate::exporter::drawing::waterfall;
use crate::exporter::page::facts::SpanFacts;
use crate::exporter::page::store::StoredTrace;
use crate::exporter::page::views::failures::{FailureGroup, groups};
use crate::exporter::page::views::lines::{ShownLine, of_payload};
use crate::exporter::page::views::summary::{TraceSummary, millis};
use crate::otlp::any_value::{JsonValue, unique_keys};
use crate::otlp::log_level::LogLevel;
use crate::otlp::payload::SignalKind;
use crate::text::{hex_id, without_colours};

/// Columns of the trace as text.
const TEXT_COLUMNS: usize = 120;

/// The scope of the spans that the extension makes of platform events.
const OWN_SCOPE: &str = env!("CARGO_PKG_NAME");

#[derive(Debug, Serialize)]
pub struct ShownTrace {
    summary: TraceSummary,
    resources: Vec<ShownAttributes>,
    spans: Vec<ShownSpan>,
    lines: Vec<ShownLine>,
    failures: Vec<FailureGroup>,
    dropped: u64,
}

#[derive(Debug, Serialize)]
struct ShownSpan {
    id: String,
    parent: Option<String>,
    name: String,
    kind: &'static str,
    service: String,
    start_ms: f64,
    duration_ms: f64,
    error: bool,
    status_message: Option<String>,
    platform: Option<&'static str>,
    cut: bool,
    attributes: ShownAttributes,
    /// An index of the trace's resources.
    resource: usize,
    events: Vec<ShownEvent>,
    links: Vec<ShownLink>,
}

#[derive(Debug, Serialize)]
struct ShownEvent {
    name: String,
    time_ms: f64,
    attributes: ShownAttributes,
}

#[derive(Debug, Serialize)]
struct ShownLink {
    trace: String,
    span: String,
}

/// An object with each key once.
#[derive(Debug, PartialEq)]
struct ShownAttributes(Vec<KeyValue>);

impl Serialize for ShownAttributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let keys = unique_keys(self.0.iter().map(|attribute| attribute.key.as_str()));
        let values = self.0.iter().map(|attribute| attribute.value.as_ref().map(JsonValue));
        serializer.collect_map(keys.into_iter().zip(values))
    }
}

impl ShownTrace {
    pub fn of(trace: &StoredTrace) -> Self {
        let mut shown = Self {
            summary: TraceSummary::of(trace),
            resources: Vec::new(),
            spans: Vec::new(),
            lines: trace.parts.iter().flat_map(of_payload).collect(),
            failures: groups(trace.parts.iter()),
            dropped: trace.dropped,
        };
        let mut facts = trace.spans.iter();
        for part in trace.parts.iter().filter(|part| part.kind == SignalKind::Traces) {
            let request = ExportTraceServiceRequest::decode(&part.bytes[..]).unwrap_or_default();
            for resource_spans in request.resource_spans {
                shown.add(resource_spans, &mut facts);
            }
        }
        shown.spans.sort_by(|a, b| a.start_ms.total_cmp(&b.start_ms));
        shown.lines.sort_by_key(|line| line.time_ms);
        shown
    }

    fn add<'a>(&mut self, from: ResourceSpans, facts: &mut impl Iterator<Item = &'a SpanFacts>) {
        let attributes = ShownAttributes(from.resource.unwrap_or_default().attributes);
        let service = attributes.0.iter().find(|attribute| attribute.key == "service.name");
        let service = service.and_then(|it| text_of(it.value.as_ref()?)).unwrap_or_default();
        let known = self.resources.iter().position(|resource| *resource == attributes);
        let resource = known.unwrap_or_else(|| {
            self.resources.push(attributes);
            self.resources.len() - 1
        });
        for scope in from.scope_spans {
            let is_own = scope.scope.is_some_and(|scope| scope.name == OWN_SCOPE);
            for span in scope.spans {
                let is_cut = facts.next().is_some_and(|facts| facts.is_cut);
                let platform = is_own.then(|| platform(&span.name));
                self.spans.push(ShownSpan {
                    platform,
                    cut: is_cut,
                    resource,
                    service: service.clone(),
                    ..ShownSpan::of(span)
                });
            }
        }
    }
}

/// The part of an invocation that a span of the extension shows.
fn platform(name: &str) -> &'static str {
    match name {
        "init" => "init",
        "restore" => "restore",
        "runtimeOverhead" => "overhead",
        "platform.report" => "report",
        _ => "invocation",
    }
}

fn text_of(value: &AnyValue) -> Option<String> {
    match value.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

impl ShownSpan {
    fn of(span: Span) -> Self {
        let status = span.status.unwrap_or_default();
        let kind = match SpanKind::try_from(span.kind).unwrap_or_default() {
            SpanKind::Unspecified => "unspecified",
            SpanKind::Internal => "internal",
            SpanKind::Server => "server",
            SpanKind::Client => "client",
            SpanKind::Producer => "producer",
            SpanKind::Consumer => "consumer",
        };
        let took = match span.start_time_unix_nano {
            0 => 0,
            start => span.end_time_unix_nano.saturating_sub(start),
        };
        let links = span.links.into_iter();
        Self {
            id: hex_id(&span.span_id),
            parent: Some(hex_id(&span.parent_span_id)).filter(|id| !id.is_empty()),
            name: span.name,
            kind,
            service: String::new(),
            start_ms: millis(span.start_time_unix_nano),
            duration_ms: millis(took),
            error: status.code == StatusCode::Error as i32,
            status_message: Some(status.message).filter(|message| !message.is_empty()),
            platform: None,
            cut: false,
            attributes: ShownAttributes(span.attributes),
            resource: 0,
            events: span
                .events
                .into_iter()
                .map(|event| ShownEvent {
                    name: event.name,
                    time_ms: millis(event.time_unix_nano),
                    attributes: ShownAttributes(event.attributes),
                })
                .collect(),
            links: links
                .map(|link| ShownLink {
                    trace: hex_id(&link.trace_id),
                    span: hex_id(&link.span_id),
                })
                .collect(),
        }
    }
}

/// The trace as the console draws it, without colours.
pub fn text(trace: &StoredTrace) -> String {
    let mut received = ReceivedTrace::default();
    for part in &trace.parts {
        match part.kind {
            SignalKind::Traces => {
                let request = ExportTraceServiceRequest::decode(&part.bytes[..]);
                received.spans.extend(spans(request.unwrap_or_default()));
            }
            SignalKind::Logs => {
                let request = ExportLogsServiceRequest::decode(&part.bytes[..]);
                received.lines.extend(lines(request.unwrap_or_default()));
            }
            _ => received.lines.extend(of_payload(part).into_iter().map(record)),
        }
    }
    let screen = Screen { width: Some(TEXT_COLUMNS), trace_url: None };
    without_colours(&waterfall::draw(&received, &screen, false)).into_owned()
}

fn record(line: ShownLine) -> LogRecord {
    let span_id = line.span.as_deref().and_then(SpanId::from_hex);
    let level = LogLevel::parse(line.level).unwrap_or(LogLevel::Info);
    let body = any_value::Value::StringValue(line.message);
    LogRecord {
        time_unix_nano: u64::try_from(line.time_ms).unwrap_or_default().saturating_mul(1_000_000),
        severity_number: level as i32 * 4 + 1, // each level has four numbers, from 1 on
        body: Some(AnyValue { value: Some(body) }),
        span_id: span_id.map(|id| id.to_bytes().to_vec()).unwrap_or_default(),
        ..LogRecord::default()
    }
}
