//! The facts of a span or log record by which a sampling decision is made.

use std::time::{Duration, SystemTime};

use trace_context::TraceId;

use crate::otlp::payload::{self, SignalKind};
use crate::otlp::wire::{self, Value, nested};
use crate::time::time_at;

/// The event of a span that holds an exception.
pub const EXCEPTION: &str = "exception";

/// The event of a span that asks for a message at Rollbar.
pub const MESSAGE: &str = "rollbar.message";

const STATUS_CODE_KEYS: [&[u8]; 2] = [b"http.response.status_code", b"http.status_code"];
const COLD_START_KEY: &[u8] = b"faas.coldstart";

#[derive(Clone, Copy, Debug)]
pub struct ItemFacts<'a> {
    /// `None` if the id is missing or invalid.
    pub trace_id: Option<TraceId>,
    /// The end of a span, or the time of a record.
    pub ended: Option<SystemTime>,
    /// The invocation that a server span names.
    pub request_id: Option<&'a [u8]>,
    /// Whether its part is kept whatever the choice of the trace: it failed, was answered with 5xx, ran
    /// longer than `slow`, is of a cold start, or holds an exception or a message for Rollbar.
    pub is_significant: bool,
}

impl<'a> ItemFacts<'a> {
    pub fn of(kind: SignalKind, item: &'a [u8], slow: Duration) -> Self {
        if kind == SignalKind::Traces { of_span(item, slow) } else { of_record(kind, item) }
    }
}

/// Whether a span failed, was answered with 5xx, or holds an exception or a message for Rollbar.
pub fn has_failed(span: &[u8]) -> bool {
    let (mut is_server, mut has_failed) = (false, false);
    for field in wire::fields(span).flatten() {
        match field {
            (6, Value::Varint(kind)) => is_server = kind == payload::SERVER,
            (11, Value::Bytes(event)) => has_failed |= is_evidence(event),
            (15, Value::Bytes(status)) => has_failed |= payload::is_failure(status),
            _ => {}
        }
    }
    has_failed || is_server && has_attribute(span, is_server_error)
}

fn of_span(span: &[u8], slow: Duration) -> ItemFacts<'_> {
    let (mut trace_id, mut start, mut end) = (None, 0, 0);
    let (mut is_server, mut is_significant) = (false, false);
    for field in wire::fields(span).flatten() {
        match field {
            (1, Value::Bytes(id)) => trace_id = id.try_into().ok().and_then(TraceId::from_bytes),
            (6, Value::Varint(kind)) => is_server = kind == payload::SERVER,
            (7, Value::Fixed64(nanos)) => start = nanos,
            (8, Value::Fixed64(nanos)) => end = nanos,
            (11, Value::Bytes(event)) => is_significant |= is_evidence(event),
            (15, Value::Bytes(status)) => is_significant |= payload::is_failure(status),
            _ => {}
        }
    }
    is_significant |= u128::from(end.saturating_sub(start)) > slow.as_nanos();
    is_significant |= is_server
        && has_attribute(span, |key, pair| is_cold_start(key, pair) || is_server_error(key, pair));
    let request_id = if is_server { payload::request_id(span, 9) } else { None };
    ItemFacts { trace_id, ended: time_at(end), request_id, is_significant }
}

/// Whether an event of a span is reported at Rollbar.
fn is_evidence(event: &[u8]) -> bool {
    let name = nested(event, 2).last().unwrap_or_default();
    name == EXCEPTION.as_bytes() || name == MESSAGE.as_bytes()
}

/// Whether a span has such an attribute, by its key and its encoded `KeyValue`.
fn has_attribute(span: &[u8], is_such: impl Fn(&[u8], &[u8]) -> bool) -> bool {
    nested(span, 9).any(|pair| is_such(nested(pair, 1).last().unwrap_or_default(), pair))
}

fn value_of(pair: &[u8]) -> Option<Value<'_>> {
    wire::fields(nested(pair, 2).last()?).flatten().last().map(|(_, value)| value)
}

fn is_cold_start(key: &[u8], pair: &[u8]) -> bool {
    key == COLD_START_KEY && value_of(pair) == Some(Value::Varint(1))
}

/// Whether the attribute names a reply of 5xx.
fn is_server_error(key: &[u8], pair: &[u8]) -> bool {
    STATUS_CODE_KEYS.contains(&key)
        && match value_of(pair) {
            Some(Value::Varint(code)) => (500..600).contains(&code),
            Some(Value::Bytes(code)) => code.len() == 3 && code.starts_with(b"5"),
            _ => false,
        }
}

fn of_record(kind: SignalKind, record: &[u8]) -> ItemFacts<'_> {
    let (mut trace_id, mut time) = (None, 0);
    for field in wire::fields(record).flatten() {
        match field {
            (9, Value::Bytes(id)) => trace_id = id.try_into().ok().and_then(TraceId::from_bytes),
            (1 | 11, Value::Fixed64(nanos)) => time = nanos.max(time),
            _ => {}
        }
    }
    let is_significant = payload::is_error(kind, record);
    ItemFacts { trace_id, ended: time_at(time), request_id: None, is_significant }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::{
        common::v1::{AnyValue, KeyValue, any_value},
        logs::v1::LogRecord,
        trace::v1::{
            Span, Status,
            span::{Event, SpanKind},
        },
    };
    use prost::Message;

    use super::*;

    const SLOW: Duration = Duration::from_secs(2);

    fn span() -> Span {
        let kind = SpanKind::Server as i32;
        Span { trace_id: vec![1; 16], kind, end_time_unix_nano: 7_000, ..Span::default() }
    }

    fn with(key: &str, value: any_value::Value) -> Span {
        let value = Some(AnyValue { value: Some(value) });
        let attribute = KeyValue { key: key.to_owned(), value, ..KeyValue::default() };
        Span { attributes: vec![attribute], ..span() }
    }

    fn with_event(name: &str) -> Span {
        let event = Event { name: name.to_owned(), ..Event::default() };
        Span { events: vec![event], ..span() }
    }

    fn is_significant(span: &Span) -> bool {
        ItemFacts::of(SignalKind::Traces, &span.encode_to_vec(), SLOW).is_significant
    }

    #[test]
    fn a_span_is_significant_by_failure_5xx_cold_start_slowness_or_evidence_for_rollbar() {
        use any_value::Value::{BoolValue, IntValue, StringValue};
        let status = |code| Some(Status { code, ..Status::default() });
        let lasting = |nanos| Span { end_time_unix_nano: nanos, ..span() };
        let client = |span: Span| Span { kind: SpanKind::Client as i32, ..span };
        for (name, span, expected) in [
            ("plain", span(), false),
            ("ok", Span { status: status(1), ..span() }, false),
            ("failed", Span { status: status(2), ..span() }, true),
            ("499", with("http.response.status_code", IntValue(499)), false),
            ("500", with("http.response.status_code", IntValue(500)), true),
            ("503 as text", with("http.status_code", StringValue("503".into())), true),
            ("600", with("http.status_code", IntValue(600)), false),
            ("the reply of another", client(with("http.status_code", IntValue(503))), false),
            ("cold", with("faas.coldstart", BoolValue(true)), true),
            ("warm", with("faas.coldstart", BoolValue(false)), false),
            ("as long as allowed", lasting(2_000_000_000), false),
            ("slow", lasting(2_000_000_001), true),
            ("ended before its start", Span { start_time_unix_nano: 9_000, ..span() }, false),
            ("exception", client(with_event("exception")), true),
            ("message", client(with_event("rollbar.message")), true),
            ("another event", with_event("retry"), false),
        ] {
            assert_eq!(is_significant(&span), expected, "{name}");
        }
    }

    #[test]
    fn ids_and_times_are_those_of_the_item_and_an_invalid_id_is_none() {
        let named = with("faas.invocation_id", any_value::Value::StringValue("r".into()));
        let bytes = named.encode_to_vec();
        let facts = ItemFacts::of(SignalKind::Traces, &bytes, SLOW);
        assert_eq!((facts.request_id, facts.ended), (Some(&b"r"[..]), time_at(7_000)));
        assert_eq!(facts.trace_id, TraceId::from_bytes([1; 16]));

        for id in [vec![], vec![0; 16], vec![1; 15]] {
            let bytes = Span { trace_id: id, ..span() }.encode_to_vec();
            assert_eq!(ItemFacts::of(SignalKind::Traces, &bytes, SLOW).trace_id, None);
        }

        let record = LogRecord {
            trace_id: vec![2; 16],
            severity_number: 17,
            observed_time_unix_nano: 5_000,
            ..LogRecord::default()
        };
        let bytes = record.encode_to_vec();
        let facts = ItemFacts::of(SignalKind::Logs, &bytes, SLOW);
        assert_eq!(facts.trace_id, TraceId::from_bytes([2; 16]));
        assert_eq!((facts.ended, facts.is_significant), (time_at(5_000), true));
    }
}
