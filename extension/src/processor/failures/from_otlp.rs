//! Failures and messages in OTLP payloads of any language.
//!
//! | source | level |
//! |---|---|
//! | an `exception` event | error |
//! | a server span with error status or a reply of 5xx, without an exception | error |
//! | another span with error status, without an exception | warning, since the error was handled |
//! | a log record of severity ERROR or FATAL | error, critical |
//! | a `rollbar.message` event | its own `level`, else info |
//!
//! A request may be as large as the buffer and hold failures only. Each is decoded separately, and
//! only the parts that [`Evidence`] keeps are copied.

use std::{borrow::Cow, collections::HashMap, sync::Arc, time::SystemTime};

use opentelemetry_proto::tonic::{
    common::v1::KeyValue,
    logs::v1::LogRecord,
    trace::v1::{
        Status,
        span::{Event, SpanKind},
        status::StatusCode,
    },
};
use prost::Message as _;

use crate::otlp::any_value::text;
use crate::otlp::item_facts::{EXCEPTION, MESSAGE};
use crate::otlp::log_level::LogLevel;
use crate::otlp::payload::{Payload, REQUEST_ID_KEYS, SignalKind, is_error};
use crate::otlp::wire::{Value, nested};
use crate::otlp::{payload, wire};
use crate::processor::failures::attributes;
use crate::processor::failures::attributes::{
    MAX_ATTRIBUTES, SelectedAttributes, Texts, attribute,
};
use crate::processor::failures::evidence::{
    Evidence, Failure, FailureSource, ReportedMessage, SpanContext,
};
use crate::processor::failures::item::ItemLevel;
use crate::processor::failures::kept_text::{cut, cut_stack};
use crate::processor::failures::log_record::RecentLine;
use crate::processor::failures::request::{CLIENT_ADDRESS, without_address};
use crate::processor::failures::settings::ClientAddress;
use crate::processor::failures::truncate::cut_to;
use crate::text::hex;
use crate::time::{time_at, unix_ms};

/// The evidence of one span or record.
#[derive(Debug)]
pub(super) struct OtlpEvidence {
    /// Hex digits; empty without a trace.
    pub(super) trace_id: String,
    /// From the server span's or record's attribute, or from such a span or record of its trace.
    pub(super) request_id: Option<String>,
    /// The span's end or the record's time.
    pub(super) ended: Option<SystemTime>,
    pub(super) gathered: Evidence,
}

/// Calls `found` for each span or record that may hold evidence, in order. Server spans are among them
/// without any failure, since they show the trace of the invocation.
///
/// Without a time, an event has the end of its span, and a span or record has `now`.
pub(super) fn find(
    signal: &Payload,
    address: ClientAddress,
    now: SystemTime,
    mut found: impl FnMut(OtlpEvidence),
) {
    let claims = request_ids_by_trace(signal);
    for resource_items in resources(signal) {
        let mut resource = None;
        let items = nested(resource_items, 2).flat_map(|scope| nested(scope, 2));
        for item in items.filter(|item| is_relevant(signal.kind, item)) {
            let resource = resource.get_or_insert_with(|| {
                let attributes = nested(resource_items, 1).flat_map(|it| nested(it, 1));
                Arc::new(attributes::kept(attributes))
            });
            let evidence = match signal.kind {
                SignalKind::Traces => Some(of_span(item, resource, now)),
                _ => of_record(item, resource, address, now),
            };
            let Some(mut evidence) = evidence else { continue };
            let claim = || claims.get(trace_id(signal.kind, item)?);
            let claimed = || Some(String::from_utf8_lossy(claim()?).into_owned());
            evidence.request_id = evidence.request_id.or_else(claimed);
            found(evidence);
        }
    }
}

pub(super) fn lines(
    signal: &Payload,
    address: ClientAddress,
    now: SystemTime,
) -> impl Iterator<Item = RecentLine> {
    let items = resources(signal).filter(|_| signal.kind == SignalKind::Logs);
    let items = items.flat_map(|it| nested(it, 2)).flat_map(|scope| nested(scope, 2));
    items.filter_map(|item| LogRecord::decode(item).ok()).map(move |record| {
        let request_id = request_id(&record.attributes);
        RecentLine {
            time_ms: time_ms(&record, now),
            level: level(&record).into(),
            message: cut(&said(&record, address)),
            request_id,
            trace_id: hex_id(&record.trace_id),
        }
    })
}

/// The `ResourceSpans` or `ResourceLogs` of the function itself.
fn resources(signal: &Payload) -> impl Iterator<Item = &[u8]> {
    nested(&signal.bytes, 1).filter(|resource_items| !payload::is_forwarded(resource_items))
}

fn request_id(attributes: &[KeyValue]) -> Option<String> {
    let ids = REQUEST_ID_KEYS.iter().map(|key| attribute(attributes, key));
    ids.into_iter().find(|id| !id.is_empty())
}

/// The invocations that server spans or log records name, by trace id.
fn request_ids_by_trace(signal: &Payload) -> HashMap<&[u8], &[u8]> {
    let items = resources(signal).flat_map(|it| nested(it, 2)).flat_map(|scope| nested(scope, 2));
    let claim = |item| {
        let attributes = match signal.kind {
            SignalKind::Traces if is_server(item) => 9,
            SignalKind::Traces => return None,
            _ => 6,
        };
        let id = payload::request_id(item, attributes)?;
        Some((trace_id(signal.kind, item)?, id))
    };
    items.filter_map(claim).collect()
}

fn trace_id(kind: SignalKind, item: &[u8]) -> Option<&[u8]> {
    nested(item, if kind == SignalKind::Traces { 1 } else { 9 }).last()
}

fn is_server(span: &[u8]) -> bool {
    let kinds = wire::fields(span).flatten().filter(|(number, _)| *number == 6);
    kinds.last() == Some((6, Value::Varint(SpanKind::Server as u64)))
}

/// Whether a span or record can hold evidence. It is not decoded for this, since most spans hold none.
fn is_relevant(kind: SignalKind, item: &[u8]) -> bool {
    let names = [EXCEPTION.as_bytes(), MESSAGE.as_bytes()];
    let has_evidence = |event| nested(event, 2).last().is_some_and(|name| names.contains(&name));
    is_error(kind, item)
        || kind == SignalKind::Traces && (is_server(item) || nested(item, 11).any(has_evidence))
}

fn of_span(span: &[u8], resource: &Arc<Texts>, now: SystemTime) -> OtlpEvidence {
    let is_server = is_server(span);
    let bytes = |number| nested(span, number).last().unwrap_or_default();
    let end = wire::fields(span).flatten().filter_map(|field| match field {
        (8, Value::Fixed64(nanos)) => Some(nanos),
        _ => None,
    });
    let end = end.last().unwrap_or_default();
    let context = SpanContext {
        is_server,
        name: cut_to(&utf8(bytes(5)), 255),
        trace_id: hex_id(bytes(1)),
        span_id: hex(bytes(2)),
        end_ms: millis_or(end, unix_ms(now)),
        facts: SelectedAttributes {
            resource: Arc::clone(resource),
            own: attributes::kept(nested(span, 9)),
        },
    };
    let source = if is_server { FailureSource::Server } else { FailureSource::Otlp };
    let mut gathered = Evidence::default();
    for (index, event) in nested(span, 11).enumerate() {
        let name = nested(event, 2).last().unwrap_or_default();
        if name == EXCEPTION.as_bytes() {
            gathered.add_failure(source, || exception(event, source, &context));
        } else if name == MESSAGE.as_bytes() {
            gathered.add_message(|| message(event, &context, index));
        }
    }
    if gathered.failures.is_empty()
        && let Some(failure) = failed(Status::decode(bytes(15)).unwrap_or_default(), &context)
    {
        gathered.add_failure(source, || failure);
    }
    let trace_id = context.trace_id.clone();
    let request_id = context.facts.first(&REQUEST_ID_KEYS).filter(|_| is_server).map(str::to_owned);
    gathered.add_trace(&trace_id);
    gathered.add_context(context);
    OtlpEvidence { trace_id, request_id, ended: time_at(end), gathered }
}

fn exception(event: &[u8], source: FailureSource, context: &SpanContext) -> Failure {
    let event = Event::decode(event).unwrap_or_default();
    let text = |key: &str| attribute(&event.attributes, key);
    Failure {
        source,
        level: ItemLevel::Error,
        class: cut_to(&text("exception.type"), 255),
        message: cut(&text("exception.message")),
        stack: cut_stack(&text("exception.stacktrace")),
        place: context.name.clone(),
        time_ms: millis_or(event.time_unix_nano, context.end_ms),
    }
}

/// A span that failed without an exception.
fn failed(status: Status, context: &SpanContext) -> Option<Failure> {
    let SpanContext { is_server, facts, .. } = context;
    let code = ["http.response.status_code", "http.status_code"];
    let code = code.iter().find_map(|key| facts.get(key)?.parse::<u16>().ok());
    let is_5xx = *is_server && code.is_some_and(|code| (500..600).contains(&code));
    if status.code != StatusCode::Error as i32 && !is_5xx {
        return None;
    }
    let error_type = facts.own.get("error.type").filter(|it| it.parse::<u16>().is_err());
    let class = error_type.cloned().or(code.map(|code| format!("HTTP {code}")));
    Some(Failure {
        source: if *is_server { FailureSource::Server } else { FailureSource::Otlp },
        level: if *is_server { ItemLevel::Error } else { ItemLevel::Warning },
        class: class.unwrap_or_else(|| "Error".to_owned()),
        message: cut(if status.message.is_empty() { &context.name } else { &status.message }),
        stack: String::new(),
        place: context.name.clone(),
        time_ms: context.end_ms,
    })
}

fn message(event: &[u8], context: &SpanContext, index: usize) -> ReportedMessage {
    let event = Event::decode(event).unwrap_or_default();
    let level = LogLevel::parse(&attribute(&event.attributes, "level"));
    let body = attribute(&event.attributes, "body");
    let is_more = |it: &KeyValue| !["level", "body"].contains(&it.key.as_str());
    ReportedMessage {
        level: level.map_or(ItemLevel::Info, ItemLevel::from),
        body: cut(&body),
        more: attributes::texts(event.attributes.into_iter().filter(is_more).take(MAX_ATTRIBUTES)),
        time_ms: millis_or(event.time_unix_nano, context.end_ms),
        key: format!("{}/{index}", context.span_id),
    }
}

fn of_record(
    item: &[u8],
    resource: &Arc<Texts>,
    address: ClientAddress,
    now: SystemTime,
) -> Option<OtlpEvidence> {
    // Decoding succeeds, because the receiver has checked the message.
    let record = LogRecord::decode(item).ok()?;
    let text = |key: &str| attribute(&record.attributes, key);
    let body = said(&record, address);
    let thrown = text("exception.message");
    let class = cut_to(&text("exception.type"), 255);
    let stack = cut_stack(&text("exception.stacktrace"));
    let has_exception = !class.is_empty() || !stack.is_empty();
    let facts = SelectedAttributes {
        resource: Arc::clone(resource),
        own: attributes::kept(nested(item, 6)),
    };
    let trace_id = hex_id(&record.trace_id);
    let request_id = facts.first(&REQUEST_ID_KEYS).map(str::to_owned);
    let mut gathered = Evidence::default();
    gathered.add_trace(&trace_id);
    // A record without an exception counts like a line.
    let source = if has_exception { FailureSource::Otlp } else { FailureSource::Line };
    gathered.add_failure(source, || Failure {
        source,
        level: level(&record).into(),
        class,
        message: cut(if thrown.is_empty() { &body } else { &thrown }),
        stack,
        place: cut_to(&record.event_name, 255),
        time_ms: time_ms(&record, now),
    });
    gathered.add_context(SpanContext {
        trace_id: trace_id.clone(),
        span_id: hex(&record.span_id),
        facts,
        ..SpanContext::default()
    });
    let ended = time_at(record.time_unix_nano.max(record.observed_time_unix_nano));
    Some(OtlpEvidence { trace_id, request_id, ended, gathered })
}

/// The text of a record or, without one, the name of its event. The client's address is redacted as
/// configured.
fn said(record: &LogRecord, address: ClientAddress) -> String {
    let client = attribute(&record.attributes, CLIENT_ADDRESS);
    let body = text(record.body.as_ref());
    let body = if body.is_empty() { record.event_name.clone() } else { body.into_owned() };
    without_address(body, &client, address)
}

fn level(record: &LogRecord) -> LogLevel {
    LogLevel::of_record(record.severity_number, &record.severity_text)
}

fn time_ms(record: &LogRecord, now: SystemTime) -> i64 {
    millis_or(record.time_unix_nano.max(record.observed_time_unix_nano), unix_ms(now))
}

fn millis_or(nanos: u64, otherwise_ms: i64) -> i64 {
    if nanos == 0 { otherwise_ms } else { (nanos / 1_000_000) as i64 }
}

/// Hex digits; empty for an invalid id.
fn hex_id(trace_id: &[u8]) -> String {
    match trace_id.len() == 16 && trace_id.iter().any(|byte| *byte != 0) {
        true => hex(trace_id),
        false => String::new(),
    }
}

fn utf8(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
