//! What the store knows of a span without decoding it again.

use opentelemetry_proto::tonic::{
    common::v1::KeyValue,
    trace::v1::{ResourceSpans, Span, SpanFlags, span::SpanKind, status::StatusCode},
};
use prost::Message;

use crate::exporter::drawing::trace::USER_KEYS;
use crate::otlp::any_value::text;
use crate::otlp::item_facts::EXCEPTION;
use crate::otlp::payload::REQUEST_ID_KEYS;
use crate::otlp::wire::{Value, fields, nested};

/// Most characters of a text in a summary.
const MAX_CHARS: usize = 300;

/// The ids, times and outcome of a span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpanFacts {
    pub id: [u8; 8],
    /// Zeros for a root.
    pub parent: [u8; 8],
    pub start_nanos: u64,
    pub end_nanos: u64,
    pub has_failed: bool,
    /// Whether the span began the work of a process.
    pub is_entry: bool,
    /// Whether values were cut for the store.
    pub is_cut: bool,
}

/// The request that a trace is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryFacts {
    /// The entry span with the lowest rank is the trace's request; of several the earliest.
    rank: u8,
    pub start_nanos: u64,
    pub end_nanos: u64,
    pub name: String,
    pub route: Option<String>,
    pub method: Option<String>,
    pub status: Option<u16>,
    /// The cause, if the request failed.
    pub error: Option<String>,
    pub is_cold: bool,
    pub user: Option<String>,
    pub service: String,
    pub request_id: Option<String>,
}

impl SpanFacts {
    /// Reads an encoded, checked span.
    pub fn of(span: &[u8], is_cut: bool) -> Self {
        let mut facts = Self { is_cut, ..Self::default() };
        let (mut is_server, mut is_remote) = (false, false);
        for field in fields(span).flatten() {
            match field {
                (2, Value::Bytes(id)) => facts.id = id.try_into().unwrap_or_default(),
                (4, Value::Bytes(id)) => facts.parent = id.try_into().unwrap_or_default(),
                (6, Value::Varint(kind)) => is_server = kind == SpanKind::Server as u64,
                (7, Value::Fixed64(nanos)) => facts.start_nanos = nanos,
                (8, Value::Fixed64(nanos)) => facts.end_nanos = nanos,
                (15, Value::Bytes(status)) => facts.has_failed = is_error(status),
                (16, Value::Fixed32(flags)) => {
                    is_remote = flags & SpanFlags::ContextIsRemoteMask as u32 != 0;
                }
                _ => {}
            }
        }
        facts.is_entry = is_server || is_remote || facts.parent == [0; 8];
        facts
    }
}

fn is_error(status: &[u8]) -> bool {
    fields(status).flatten().any(|it| it == (3, Value::Varint(StatusCode::Error as u64)))
}

/// The trace id of an encoded item, from the field of this number; `None` if it is missing or invalid.
pub fn trace_id(item: &[u8], number: u32) -> Option<trace_context::TraceId> {
    let id = nested(item, number).last()?;
    trace_context::TraceId::from_bytes(id.try_into().ok()?)
}

impl EntryFacts {
    /// Reads an encoded entry span and the head of its resource. `None` if it cannot be decoded.
    pub fn of(span: &[u8], resource_head: &[u8]) -> Option<Self> {
        let span = Span::decode(span).ok()?;
        let resource = ResourceSpans::decode(resource_head).ok()?.resource.unwrap_or_default();
        let own = |key: &str| attribute(&span.attributes, key);
        let first = |keys: &[&str]| keys.iter().find_map(|key| own(key));
        let status = first(&["http.response.status_code", "http.status_code"]);
        let status = status.and_then(|status| status.parse().ok());
        let rank = match (span.kind == SpanKind::Server as i32, span.parent_span_id.is_empty()) {
            (true, _) => 0,
            (_, true) => 1,
            _ => 2,
        };
        Some(Self {
            rank,
            start_nanos: span.start_time_unix_nano,
            end_nanos: span.end_time_unix_nano.max(span.start_time_unix_nano),
            route: own("http.route"),
            method: first(&["http.request.method", "http.method"]),
            status,
            error: error(&span, status),
            is_cold: own("faas.coldstart").as_deref() == Some("true"),
            user: first(&USER_KEYS),
            service: attribute(&resource.attributes, "service.name").unwrap_or_default(),
            request_id: first(&REQUEST_ID_KEYS),
            name: shortened(&span.name),
        })
    }

    /// Whether this span is the trace's request rather than the other.
    pub fn precedes(&self, other: &Self) -> bool {
        (self.rank, self.start_nanos) < (other.rank, other.start_nanos)
    }
}

/// The cause of a failed span: its exception, else its status, else its error's name.
fn error(span: &Span, status: Option<u16>) -> Option<String> {
    let code = span.status.as_ref().map_or(0, |status| status.code);
    if code != StatusCode::Error as i32 && status.is_none_or(|status| status < 500) {
        return None;
    }
    let exception = span.events.iter().find(|event| event.name == EXCEPTION).map(|event| {
        let parts = ["exception.type", "exception.message"];
        parts.iter().filter_map(|key| attribute(&event.attributes, key)).collect::<Vec<_>>()
    });
    let exception = exception.map(|parts| shortened(&parts.join(": ")));
    let message = span.status.as_ref().map(|status| shortened(&status.message));
    let named = || {
        let keys = ["app.error_code", "error.type"];
        keys.iter().find_map(|key| attribute(&span.attributes, key))
    };
    let known = exception.filter(|it| !it.is_empty()).or(message.filter(|it| !it.is_empty()));
    Some(known.or_else(named).unwrap_or_else(|| match status {
        Some(status) => format!("status {status}"),
        None => "failed".to_owned(),
    }))
}

fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    Some(shortened(&text(found.value.as_ref()))).filter(|text| !text.is_empty())
}

fn shortened(text: &str) -> String {
    text.chars().take(MAX_CHARS).collect()
}
