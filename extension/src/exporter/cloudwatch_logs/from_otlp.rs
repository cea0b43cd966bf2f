//! Converts OTLP log records to lines in the form of the function's log lines.
//!
//! | field | of the record |
//! |---|---|
//! | `timestamp`, `level`, `message` | time, severity, body |
//! | `service`, `requestId` | the resource's `service.name`, and `faas.invocation_id` |
//! | `trace_id`, `span_id` | in hex |
//! | `event_name`, `scope`, `resource` | event name, scope and resource attributes |
//! | all others | attributes |
//! | `claimed` | attributes whose name is the name of a field above |

use std::borrow::Cow;

use jiff::Timestamp;
use opentelemetry_proto::tonic::{
    collector::logs::v1::ExportLogsServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue},
    logs::v1::LogRecord,
};
use prost::{DecodeError, Message};
use serde_json::{Map, Value};

use crate::otlp::any_value::{JsonValue, unique_keys};
use crate::otlp::log_level::LogLevel;
use crate::otlp::payload::REQUEST_ID_KEYS;
use crate::processor::log_lines;
use crate::processor::log_lines::emf::AccessLines;
use crate::scrub::Scrubber;
use crate::text::hex_id;
use crate::time::timestamp;

/// Fields that an attribute never sets. `xray_trace_id` is not one: a record has no such field.
const RESERVED_FIELDS: [&str; 3] = ["requestId", "lambda", "claimed"];

/// For each record its time in Unix milliseconds and its line, a JSON object.
pub fn lines(
    request: &[u8],
    scrubber: &Scrubber,
    access_lines: &mut AccessLines,
) -> Result<Vec<(i64, String)>, DecodeError> {
    let request = ExportLogsServiceRequest::decode(request)?;
    let mut lines = Vec::new();
    for resource_logs in request.resource_logs {
        let resource = resource_logs.resource.unwrap_or_default().attributes;
        let mut origin = RecordOrigin::from_resource(object(resource));
        for scope_logs in resource_logs.scope_logs {
            origin.scope = scope(scope_logs.scope.unwrap_or_default());
            for record in scope_logs.log_records {
                let time = time(&record);
                let mut fields = fields(record, &origin, time);
                let members = access_lines.members(time.into(), |key| fields.get(key).cloned());
                fields.extend(members.into_iter().map(|(key, value)| (key.to_owned(), value)));
                let json = Value::Object(fields).to_string();
                lines.push((time.as_millisecond(), json));
            }
        }
    }
    for (time_ms, json) in &mut lines {
        *json = log_lines::shortened(scrubber.json(json), *time_ms);
    }
    Ok(lines)
}

/// Fields that the records of a scope share.
#[derive(Debug, Default)]
struct RecordOrigin {
    service: Value,
    request_id: Value,
    resource: Map<String, Value>,
    scope: Map<String, Value>,
}

impl RecordOrigin {
    /// Omits attributes of the telemetry SDK, which do not help readers of lines.
    fn from_resource(mut resource: Map<String, Value>) -> Self {
        let service = resource.remove("service.name").unwrap_or_default();
        let request_id = take_request_id(&mut resource).unwrap_or_default();
        resource.retain(|key, _| !key.starts_with("telemetry."));
        Self { service, request_id, resource, scope: Map::new() }
    }
}

fn scope(scope: InstrumentationScope) -> Map<String, Value> {
    let mut fields = object(scope.attributes);
    for (key, text) in [("name", scope.name), ("version", scope.version)] {
        if !text.is_empty() {
            fields.insert(key.to_owned(), text.into());
        }
    }
    fields
}

/// The record's time, else its observed time, else now.
fn time(record: &LogRecord) -> Timestamp {
    let nanos = [record.time_unix_nano, record.observed_time_unix_nano];
    let nanos = nanos.into_iter().find(|nanos| *nanos > 0);
    let time = nanos.and_then(|nanos| Timestamp::from_nanosecond(nanos.into()).ok());
    time.unwrap_or_else(Timestamp::now)
}

fn fields(record: LogRecord, origin: &RecordOrigin, time: Timestamp) -> Map<String, Value> {
    let mut fields = object(record.attributes);
    let level = match record.severity_text.is_empty() {
        true => LogLevel::from_severity(record.severity_number).name().to_owned(),
        false => record.severity_text,
    };
    let own_id = take_request_id(&mut fields);
    let record_fields = [
        ("timestamp", timestamp(time.into()).into()),
        ("level", level.into()),
        ("message", record.body.as_ref().map_or(Value::Null, value)),
        ("service", origin.service.clone()),
        ("requestId", own_id.unwrap_or_else(|| origin.request_id.clone())),
        ("trace_id", hex_id(&record.trace_id).into()),
        ("span_id", hex_id(&record.span_id).into()),
        ("event_name", record.event_name.into()),
        ("scope", origin.scope.clone().into()),
        ("resource", origin.resource.clone().into()),
    ];
    let record_fields: Vec<_> =
        record_fields.into_iter().filter(|(_, value)| !is_empty(value)).collect();
    let names = record_fields.iter().map(|(key, _)| *key).chain(RESERVED_FIELDS);
    let claimed = names.filter_map(|key| fields.remove_entry(key)).collect::<Map<_, _>>();
    fields.extend(record_fields.into_iter().map(|(key, value)| (key.to_owned(), value)));
    if !claimed.is_empty() {
        fields.insert("claimed".to_owned(), claimed.into());
    }
    fields
}

fn take_request_id(attributes: &mut Map<String, Value>) -> Option<Value> {
    let ids = REQUEST_ID_KEYS.map(|key| attributes.remove(key));
    ids.into_iter().flatten().next()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

fn object(attributes: Vec<KeyValue>) -> Map<String, Value> {
    let keys = unique_keys(attributes.iter().map(|attribute| attribute.key.as_str()));
    let values = attributes.iter().map(|it| it.value.as_ref().map_or(Value::Null, value));
    keys.into_iter().map(Cow::into_owned).zip(values).collect()
}

fn value(any: &AnyValue) -> Value {
    serde_json::to_value(JsonValue(any)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::{
        common::v1::{ArrayValue, any_value},
        logs::v1::{ResourceLogs, ScopeLogs},
        resource::v1::Resource,
    };
    use serde_json::json;

    use super::*;

    fn any(value: &str) -> Option<AnyValue> {
        Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) })
    }

    fn attributes(of: &[(&str, &str)]) -> Vec<KeyValue> {
        let attribute = |(key, value): &(&str, &str)| KeyValue {
            key: (*key).to_owned(),
            value: any(value),
            ..KeyValue::default()
        };
        of.iter().map(attribute).collect()
    }

    fn line(resource: &[(&str, &str)], scope: &str, record: LogRecord) -> Value {
        let scope = InstrumentationScope { name: scope.to_owned(), ..Default::default() };
        let log_records = vec![record];
        let scope_logs = vec![ScopeLogs { scope: Some(scope), log_records, ..Default::default() }];
        let resource = Some(Resource { attributes: attributes(resource), ..Default::default() });
        let resource_logs = vec![ResourceLogs { resource, scope_logs, ..Default::default() }];
        let request = ExportLogsServiceRequest { resource_logs }.encode_to_vec();
        let lines = lines(&request, &Scrubber::new(&[]), &mut AccessLines::default()).unwrap();
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].0, 1_000);
        serde_json::from_str(&lines[0].1).unwrap()
    }

    fn record(body: &str, of: &[(&str, &str)]) -> LogRecord {
        let (time_unix_nano, body) = (1_000_000_000, any(body));
        LogRecord { time_unix_nano, body, attributes: attributes(of), ..LogRecord::default() }
    }

    #[test]
    fn every_field_of_a_record_is_in_its_line() {
        let resource = [
            ("service.name", "s"),
            ("faas.invocation_id", "r"),
            ("host", "h"),
            ("telemetry.x", ""),
        ];
        let record = LogRecord {
            trace_id: vec![0xab; 2],
            event_name: "e".to_owned(),
            ..record("\u{1b}[31mred\u{1b}[0m", &[("a", "1"), ("xray_trace_id", "x")])
        };

        let expected = json!({
            "timestamp": "1970-01-01T00:00:01.000Z", "level": "INFO", "message": "red",
            "service": "s", "requestId": "r", "trace_id": "abab", "event_name": "e",
            "scope": {"name": "n"}, "resource": {"host": "h"}, "a": "1", "xray_trace_id": "x",
        });
        assert_eq!(line(&resource, "n", record), expected);
    }

    #[test]
    fn ids_of_zeros_are_left_out_and_a_key_that_is_there_twice_keeps_both_values() {
        let record = LogRecord {
            trace_id: vec![0; 16],
            span_id: vec![0; 8],
            ..record("body", &[("a", "1"), ("a", "2"), ("a#2", "3")])
        };

        let line = line(&[], "", record);

        assert_eq!((&line["trace_id"], &line["span_id"]), (&Value::Null, &Value::Null));
        assert_eq!(
            (&line["a"], &line["a#2"], &line["a#3"]),
            (&json!("1"), &json!("3"), &json!("2"))
        );
    }

    #[test]
    fn numbers_that_json_lacks_are_texts() {
        for (number, expected) in
            [(f64::NAN, "NaN"), (f64::INFINITY, "Infinity"), (f64::NEG_INFINITY, "-Infinity")]
        {
            let number = || Some(any_value::Value::DoubleValue(number));
            let list = ArrayValue { values: vec![AnyValue { value: number() }] };
            let list = Some(AnyValue { value: Some(any_value::Value::ArrayValue(list)) });
            let mut record = record("", &[("n", ""), ("list", "")]);
            record.body = Some(AnyValue { value: number() });
            record.attributes[0].value = Some(AnyValue { value: number() });
            record.attributes[1].value = list;

            let line = line(&[], "", record);

            assert_eq!((&line["message"], &line["n"]), (&json!(expected), &json!(expected)));
            assert_eq!(line["list"], json!([expected]));
        }
    }

    #[test]
    fn an_attribute_named_like_a_field_moves_to_claimed() {
        let own = [
            ("requestId", "forged"),
            ("lambda", "forged"),
            ("message", "own"),
            ("level", "own"),
            ("timestamp", "own"),
            ("service", "own"),
        ];

        let line = line(&[("service.name", "s")], "", record("body", &own));

        let expected = json!({
            "timestamp": "1970-01-01T00:00:01.000Z", "level": "INFO", "message": "body",
            "service": "s", "claimed": own.into_iter().collect::<std::collections::BTreeMap<_, _>>(),
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn an_attribute_is_the_message_of_a_record_without_a_body() {
        let record = LogRecord { body: None, ..record("", &[("message", "own"), ("_aws", "own")]) };

        let line = line(&[], "", record);

        assert_eq!((&line["message"], &line["_aws"]), (&json!("own"), &json!("own")));
        assert_eq!(line["claimed"], Value::Null);
    }

    #[test]
    fn a_record_that_is_too_long_is_cut_and_keeps_its_invocation() {
        let long = record(&"x".repeat(2_000_000), &[("faas.invocation_id", "r")]);

        let line = line(&[("service.name", "s")], "", long);

        assert!(line["cut_from_bytes"].as_u64().unwrap() > 2_000_000);
        assert_eq!((&line["requestId"], &line["service"]), (&json!("r"), &json!("s")));
        assert_eq!(line["level"], "INFO");
    }
}
