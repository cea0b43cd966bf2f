//! Failures and messages in what comes by OTLP, whatever the language of the sender.
//!
//! | what | level |
//! |---|---|
//! | an `exception` event | error |
//! | a server span with error status or a reply of 5xx | error |
//! | another span with error status, without an exception | warning, unless its server span failed too: somebody dealt with it |
//! | a log record of severity ERROR or FATAL | error, critical |
//! | a `rollbar.message` event | its own `level`, else info |

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value},
    logs::v1::LogRecord,
    resource::v1::Resource,
    trace::v1::{Span, span::Event, span::SpanKind, status::StatusCode},
};
use prost::Message as _;
use serde_json::json;

use super::gathered::{Context, Failure, Message, Source, cut, cut_stack, cut_to};
use crate::{
    exporter::rollbar::payload::{Level, Texts},
    signal::{self, Kind, Signal, is_error},
    wire::{self, Value, nested},
};

/// The event that asks for a message.
const MESSAGE: &str = "rollbar.message";

/// The event that is an exception.
const EXCEPTION: &str = "exception";

/// Attributes that tell something to whoever reads an item; no other is kept, whatever it holds.
const TOLD: [&str; 17] = [
    "app.user_",
    "aws.lambda.",
    "client.",
    "cloud.",
    "cruddur.xray_header",
    "enduser.",
    "error.type",
    "faas.",
    "http.",
    "net.",
    "process.runtime.name",
    "server.",
    "service.",
    "telemetry.sdk.language",
    "url.",
    "user.",
    "user_agent.",
];

/// Most attributes that are kept. Our choice, well above the conventions' own number.
const MAX_FACTS: usize = 100;

/// What one span or record tells.
#[derive(Debug, Default)]
pub(super) struct Finding {
    /// As hex digits; empty if there is none.
    pub(super) trace_id: String,
    /// `faas.invocation_id`
    pub(super) request_id: Option<String>,
    pub(super) context: Option<Context>,
    pub(super) failures: Vec<Failure>,
    pub(super) messages: Vec<Message>,
}

/// Everything in a request that matters here, in its order.
pub(super) fn find(signal: &Signal) -> Vec<Finding> {
    let mut findings = Vec::new();
    for resource_items in nested(&signal.bytes, 1) {
        let mut resource = None;
        let items = nested(resource_items, 2).flat_map(|scope| nested(scope, 2));
        for item in items.filter(|item| matters(signal.kind, item)) {
            let resource: &Resource = resource.get_or_insert_with(|| {
                let bytes = nested(resource_items, 1).next().unwrap_or_default();
                Resource::decode(bytes).unwrap_or_default()
            });
            // The receiver has checked them: they decode.
            findings.extend(match signal.kind {
                Kind::Traces => Span::decode(item).ok().map(|span| of_span(&span, resource)),
                _ => LogRecord::decode(item).ok().map(|record| of_record(&record, resource)),
            });
        }
    }
    findings
}

/// Log records as [lines](crate::lines) with what an item tells of them: time in Unix milliseconds,
/// and JSON.
pub(super) fn lines(signal: &Signal) -> Vec<(i64, String)> {
    if signal.kind != Kind::Logs {
        return Vec::new();
    }
    let records = signal::items(&signal.bytes).filter_map(|item| LogRecord::decode(item).ok());
    let line = |record: LogRecord| {
        let request_id = attribute(&record.attributes, "faas.invocation_id");
        let line = json!({
            "level": level(&record).name(),
            "message": cut(&text(record.body.as_ref())),
            "requestId": Some(request_id).filter(|id| !id.is_empty()),
            "trace_id": hex(&record.trace_id),
        });
        (time_ms(&record), line.to_string())
    };
    records.map(line).collect()
}

/// Without decoding it: most spans are fine.
fn matters(kind: Kind, item: &[u8]) -> bool {
    if kind != Kind::Traces {
        return is_error(kind, item);
    }
    let names = |event| nested(event, 2).next().unwrap_or_default();
    is_error(kind, item)
        || wire::fields(item).flatten().any(|field| match field {
            (6, Value::Varint(kind)) => kind == SpanKind::Server as u64,
            (11, Value::Bytes(event)) => {
                [EXCEPTION.as_bytes(), MESSAGE.as_bytes()].contains(&names(event))
            }
            _ => false,
        })
}

fn of_span(span: &Span, resource: &Resource) -> Finding {
    let is_server = span.kind == SpanKind::Server as i32;
    let context = context(span, resource, is_server);
    let source = if is_server { Source::Server } else { Source::Otlp };
    let mut failures = Vec::new();
    let mut messages = Vec::new();
    for (index, event) in span.events.iter().enumerate() {
        match event.name.as_str() {
            EXCEPTION => failures.push(exception(event, source, &span.name)),
            MESSAGE => messages.push(message(event, &context.span_id, index)),
            _ => {}
        }
    }
    if failures.is_empty() {
        failures.extend(failed(span, source, &context));
    }
    Finding {
        trace_id: hex(&span.trace_id),
        request_id: context.facts.get("faas.invocation_id").filter(|_| is_server).cloned(),
        context: Some(context),
        failures,
        messages,
    }
}

fn context(span: &Span, resource: &Resource, is_server: bool) -> Context {
    let attributes = resource.attributes.iter().chain(&span.attributes);
    let told = attributes.filter(|it| TOLD.iter().any(|prefix| it.key.starts_with(prefix)));
    Context {
        is_server,
        name: cut_to(&span.name, 255),
        span_id: hex(&span.span_id),
        end_ms: (span.end_time_unix_nano / 1_000_000) as i64,
        facts: told
            .take(MAX_FACTS)
            .map(|it| (cut_to(&it.key, 255), cut(&text(it.value.as_ref()))))
            .collect(),
    }
}

fn exception(event: &Event, source: Source, place: &str) -> Failure {
    let told = |key: &str| attribute(&event.attributes, key);
    Failure {
        source,
        level: Level::Error,
        class: cut_to(&told("exception.type"), 255),
        message: cut(&told("exception.message")),
        stack: cut_stack(&told("exception.stacktrace")),
        place: cut_to(place, 255),
        time_ms: (event.time_unix_nano / 1_000_000) as i64,
    }
}

/// A span that failed without an exception.
fn failed(span: &Span, source: Source, context: &Context) -> Option<Failure> {
    let status = span.status.clone().unwrap_or_default();
    let code = ["http.response.status_code", "http.status_code"];
    let code = code.iter().find_map(|key| context.facts.get(*key)?.parse::<u16>().ok());
    let is_5xx = source == Source::Server && code.is_some_and(|code| (500..600).contains(&code));
    if status.code != StatusCode::Error as i32 && !is_5xx {
        return None;
    }
    let error_type = context.facts.get("error.type").filter(|it| it.parse::<u16>().is_err());
    let class = error_type.cloned().or(code.map(|code| format!("HTTP {code}")));
    Some(Failure {
        source,
        level: if source == Source::Server { Level::Error } else { Level::Warning },
        class: class.unwrap_or_else(|| "Error".to_owned()),
        message: cut(if status.message.is_empty() { &span.name } else { &status.message }),
        stack: String::new(),
        place: context.name.clone(),
        time_ms: context.end_ms,
    })
}

fn message(event: &Event, span_id: &str, index: usize) -> Message {
    let level = Level::parse(&attribute(&event.attributes, "level"));
    let body = attribute(&event.attributes, "body");
    let rest = event.attributes.iter().filter(|it| !["level", "body"].contains(&it.key.as_str()));
    let more: Texts = rest
        .take(MAX_FACTS)
        .map(|it| (cut_to(&it.key, 255), cut(&text(it.value.as_ref()))))
        .collect();
    Message {
        level: level.unwrap_or(Level::Info),
        body: cut(&body),
        more,
        time_ms: (event.time_unix_nano / 1_000_000) as i64,
        key: format!("{span_id}/{index}"),
    }
}

fn of_record(record: &LogRecord, resource: &Resource) -> Finding {
    let told = |key: &str| attribute(&record.attributes, key);
    let body = text(record.body.as_ref());
    let thrown = told("exception.message");
    let facts = Span { attributes: record.attributes.clone(), ..Span::default() };
    let context = context(&facts, resource, false);
    let class = cut_to(&told("exception.type"), 255);
    let stack = cut_stack(&told("exception.stacktrace"));
    let has_exception = !class.is_empty() || !stack.is_empty();
    let failure = Failure {
        // Without one it says no more than a line.
        source: if has_exception { Source::Otlp } else { Source::Line },
        level: level(record),
        class,
        message: cut(if thrown.is_empty() { &body } else { &thrown }),
        stack,
        place: cut_to(&record.event_name, 255),
        time_ms: time_ms(record),
    };
    Finding {
        trace_id: hex(&record.trace_id),
        request_id: context.facts.get("faas.invocation_id").cloned(),
        context: Some(Context { span_id: hex(&record.span_id), ..context }),
        failures: vec![failure],
        messages: Vec::new(),
    }
}

/// The lowest number of each class, as in `SeverityNumber`.
fn level(record: &LogRecord) -> Level {
    match record.severity_number {
        21.. => Level::Critical,
        17.. => Level::Error,
        13.. => Level::Warning,
        1..9 => Level::Debug,
        _ => Level::Info,
    }
}

fn time_ms(record: &LogRecord) -> i64 {
    (record.time_unix_nano.max(record.observed_time_unix_nano) / 1_000_000) as i64
}

fn attribute(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    found.map(|found| text(found.value.as_ref())).unwrap_or_default()
}

/// A value as text; the values of a list with commas between them. Maps and bytes say nothing.
fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        Some(any_value::Value::BoolValue(it)) => it.to_string(),
        Some(any_value::Value::IntValue(it)) => it.to_string(),
        Some(any_value::Value::DoubleValue(it)) => it.to_string(),
        Some(any_value::Value::ArrayValue(list)) => {
            let texts: Vec<_> = list.values.iter().take(20).map(|it| text(Some(it))).collect();
            texts.join(", ")
        }
        _ => String::new(),
    }
}

fn hex(bytes: &[u8]) -> String {
    if bytes.iter().all(|byte| *byte == 0) {
        return String::new();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
