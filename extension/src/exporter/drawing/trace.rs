//! A received trace: its spans, and the log lines that belong to it.

use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{AnyValue, KeyValue},
    logs::v1::LogRecord,
    resource::v1::Resource,
    trace::v1::{Span, SpanFlags, span::SpanKind, status::StatusCode},
};

use crate::exporter::drawing::text::clean;
use crate::otlp::any_value::text;

/// The attributes that name a request's user, the most readable first.
pub const USER_KEYS: [&str; 4] = ["user.name", "enduser.id", "user.id", "app.user_id"];

/// Spans and lines of one trace id that are not drawn yet.
#[derive(Debug, Default)]
pub struct ReceivedTrace {
    pub spans: Vec<ReceivedSpan>,
    pub lines: Vec<LogRecord>,
    /// Whether a part of the trace is drawn already.
    pub is_late: bool,
}

/// A span and the service that sent it.
#[derive(Debug)]
pub struct ReceivedSpan {
    pub span: Span,
    pub service: String,
}

pub fn spans(request: ExportTraceServiceRequest) -> impl Iterator<Item = ReceivedSpan> {
    request.resource_spans.into_iter().flat_map(|resource_spans| {
        let service = service(resource_spans.resource);
        let spans = resource_spans.scope_spans.into_iter().flat_map(|scope| scope.spans);
        spans.map(move |span| ReceivedSpan { span, service: service.clone() })
    })
}

pub fn lines(request: ExportLogsServiceRequest) -> impl Iterator<Item = LogRecord> {
    let scopes = request.resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
    scopes.flat_map(|scope| scope.log_records)
}

fn service(resource: Option<Resource>) -> String {
    let attributes = resource.map(|resource| resource.attributes).unwrap_or_default();
    attribute(&attributes, "service.name").unwrap_or_default()
}

/// Whether the span began the work of a process: a root, a SERVER span, or a span whose parent is in
/// another process.
pub fn is_entry(span: &Span) -> bool {
    span.parent_span_id.is_empty()
        || span.kind == SpanKind::Server as i32
        || span.flags & SpanFlags::ContextIsRemoteMask as u32 != 0
}

pub fn has_failed(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code == StatusCode::Error as i32)
}

/// 0 for a span without a start, which would seem to last since 1970.
pub fn nanos(span: &Span) -> u64 {
    match span.start_time_unix_nano {
        0 => 0,
        start => span.end_time_unix_nano.saturating_sub(start),
    }
}

/// The clean text of an attribute; `None` if it is missing or empty.
pub fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    Some(value(found.value.as_ref())).filter(|value| !value.is_empty())
}

pub fn value(value: Option<&AnyValue>) -> String {
    clean(&text(value))
}

/// Whether the line is the summary that a function writes of each request, which its span repeats.
pub fn is_access_line(line: &LogRecord) -> bool {
    let has = |key: &str| line.attributes.iter().any(|attribute| attribute.key == key);
    has("route") && has("status") && has("duration_ms")
}

/// The body, or the name of an event without a body.
pub fn line_text(line: &LogRecord) -> String {
    let body = value(line.body.as_ref());
    if body.is_empty() { clean(&line.event_name) } else { body }
}
