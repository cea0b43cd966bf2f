//! OTLP log records as lines, for the same eyes as the function's own.
//!
//! | field | of the record |
//! |---|---|
//! | `timestamp`, `level`, `message` | time, severity, body |
//! | `service`, `requestId` | `service.name` and `faas.invocation_id`, where they are |
//! | `trace_id`, `span_id` | as hex |
//! | all others | its attributes |

use bytes::Bytes;
use jiff::Timestamp;
use opentelemetry_proto::tonic::{
    collector::logs::v1::ExportLogsServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value},
    logs::v1::LogRecord,
    resource::v1::Resource,
};
use prost::{DecodeError, Message};
use serde_json::{Map, Value};

use crate::{
    lines::{self, emf::AccessLines},
    scrub::Scrubber,
};

/// A request's records, as [`lines::read`] reads them.
pub(super) fn lines(
    request: &[u8],
    scrubber: &Scrubber,
    access_lines: &mut AccessLines,
) -> Result<Bytes, DecodeError> {
    let request = ExportLogsServiceRequest::decode(request)?;
    let mut signals = lines::Signals::default();
    for resource_logs in request.resource_logs {
        let service = service_name(resource_logs.resource.as_ref());
        let records = resource_logs.scope_logs.into_iter().flat_map(|scope| scope.log_records);
        for record in records {
            let time = time(&record);
            let mut fields = fields(record, service.as_ref(), time);
            if let Some(metrics) = access_lines.metrics(|key| fields.get(key).cloned()) {
                let members = metrics.members(time.into()).into_iter();
                fields.extend(members.map(|(key, value)| (key.to_owned(), value)));
            }
            let json = scrubber.json(&Value::Object(fields).to_string());
            let json = lines::shortened(json, time.into());
            let line = lines::Line { time_ms: time.as_millisecond(), json: &json };
            signals.push(line, false);
        }
    }
    let signals = signals.finish();
    Ok(signals.iter().flat_map(|signal| signal.bytes.clone()).collect())
}

/// When it happened, or was seen, or now.
fn time(record: &LogRecord) -> Timestamp {
    let nanos = [record.time_unix_nano, record.observed_time_unix_nano];
    let nanos = nanos.into_iter().find(|nanos| *nanos > 0);
    let time = nanos.and_then(|nanos| Timestamp::from_nanosecond(nanos.into()).ok());
    time.unwrap_or_else(Timestamp::now)
}

fn fields(record: LogRecord, service: Option<&Value>, time: Timestamp) -> Map<String, Value> {
    let level = match record.severity_number {
        _ if !record.severity_text.is_empty() => record.severity_text.clone(),
        1..=4 => "TRACE".to_owned(),
        5..=8 => "DEBUG".to_owned(),
        13..=16 => "WARN".to_owned(),
        17..=20 => "ERROR".to_owned(),
        21.. => "FATAL".to_owned(),
        _ => "INFO".to_owned(),
    };
    let mut fields = object(record.attributes);
    if let Some(id) = fields.remove("faas.invocation_id") {
        fields.insert("requestId".to_owned(), id);
    }
    let ids = [("trace_id", &record.trace_id), ("span_id", &record.span_id)];
    for (key, id) in ids.into_iter().filter(|(_, id)| !id.is_empty()) {
        fields.insert(key.to_owned(), hex(id).into());
    }
    let timestamp = lines::timestamp(time.into());
    let message = record.body.map_or(Value::Null, value);
    let own = [("timestamp", timestamp.into()), ("level", level.into()), ("message", message)];
    let service = service.map(|service| ("service", service.clone()));
    for (key, value) in own.into_iter().chain(service) {
        fields.insert(key.to_owned(), value);
    }
    fields
}

fn service_name(resource: Option<&Resource>) -> Option<Value> {
    let mut attributes = resource?.attributes.iter();
    let found = attributes.find(|attribute| attribute.key == "service.name")?;
    found.value.clone().map(value)
}

fn object(attributes: Vec<KeyValue>) -> Map<String, Value> {
    let pair = |KeyValue { key, value: it, .. }: KeyValue| (key, it.map_or(Value::Null, value));
    attributes.into_iter().map(pair).collect()
}

fn value(any: AnyValue) -> Value {
    use any_value::Value as Any;
    match any.value {
        None => Value::Null,
        Some(Any::StringValue(text)) => text.into(),
        Some(Any::BoolValue(bool)) => bool.into(),
        Some(Any::IntValue(number)) => number.into(),
        Some(Any::DoubleValue(number)) => number.into(),
        Some(Any::BytesValue(bytes)) => hex(&bytes).into(),
        Some(Any::ArrayValue(array)) => array.values.into_iter().map(value).collect(),
        Some(Any::KvlistValue(list)) => Value::Object(object(list.values)),
        // A reference into a table that only profiles have.
        Some(_) => Value::Null,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
