//! OTLP as tests read and write it: spans with hex ids, and small requests to send.

use std::time::{Duration, SystemTime};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span as ProtoSpan};
use prost::Message;
use serde_json::{Value, json};

/// Values of `kind`. <https://github.com/open-telemetry/opentelemetry-proto>
pub mod kind {
    /// Inside one process.
    pub const INTERNAL: i32 = 1;
    /// Answers a request.
    pub const SERVER: i32 = 2;
    /// Makes a request.
    pub const CLIENT: i32 = 3;
}

/// Value of `status` for an error; 0 is unset, 1 is ok.
pub const STATUS_ERROR: i32 = 2;

/// A span as it arrived, with its resource.
#[derive(Clone, Debug)]
pub struct Span {
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits.
    pub span_id: String,
    /// 16 hex digits; `None` for a root.
    pub parent_id: Option<String>,
    /// Name.
    pub name: String,
    /// See [`kind`].
    pub kind: i32,
    /// The low byte is W3C's, 0x01 = sampled.
    pub flags: u32,
    /// Status code, 0 if there is none.
    pub status: i32,
    /// Start and end, nanoseconds since the epoch.
    pub times: (u64, u64),
    /// Names of its events, in order.
    pub events: Vec<String>,
    event_attributes: Vec<Vec<KeyValue>>,
    attributes: Vec<KeyValue>,
    resource: Vec<KeyValue>,
}

impl Span {
    /// Names of its attributes, in order.
    pub fn attribute_names(&self) -> Vec<&str> {
        self.attributes.iter().map(|attribute| attribute.key.as_str()).collect()
    }

    /// An attribute of the span; `null` if it has none of this name.
    pub fn attribute(&self, key: &str) -> Value {
        lookup(&self.attributes, key)
    }

    /// An attribute of its first event of this name; `null` if there is none.
    pub fn event_attribute(&self, event: &str, key: &str) -> Value {
        let position = self.events.iter().position(|name| name == event);
        position.map_or(Value::Null, |position| lookup(&self.event_attributes[position], key))
    }

    /// An attribute of the span's resource; `null` if it has none of this name.
    pub fn resource(&self, key: &str) -> Value {
        lookup(&self.resource, key)
    }
}

/// All spans of a request's body (protobuf, decompressed); an error if it is something else.
pub fn spans_of(body: &[u8]) -> Result<Vec<Span>, prost::DecodeError> {
    let request = ExportTraceServiceRequest::decode(body)?;
    let mut spans = Vec::new();
    for part in request.resource_spans {
        let resource = part.resource.unwrap_or_default().attributes;
        for span in part.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.push(Span {
                trace_id: hex(&span.trace_id),
                span_id: hex(&span.span_id),
                parent_id: Some(hex(&span.parent_span_id)).filter(|id| !id.is_empty()),
                name: span.name,
                kind: span.kind,
                flags: span.flags,
                status: span.status.map_or(0, |status| status.code),
                times: (span.start_time_unix_nano, span.end_time_unix_nano),
                events: span.events.iter().map(|event| event.name.clone()).collect(),
                event_attributes: span.events.into_iter().map(|event| event.attributes).collect(),
                attributes: span.attributes,
                resource: resource.clone(),
            });
        }
    }
    Ok(spans)
}

/// A request with these spans, as a function in any language would post it: a trace each, no parents.
pub fn request(names: &[&str]) -> Vec<u8> {
    let ended = Duration::from_nanos(1_767_225_600_001_000_000);
    request_of(names.iter().map(|name| root_span(name, SystemTime::UNIX_EPOCH + ended)))
}

/// A span of a new trace that took a millisecond.
pub fn root_span(name: &str, ended: SystemTime) -> ProtoSpan {
    let since_1970 = ended.duration_since(SystemTime::UNIX_EPOCH).expect("a time after 1970");
    let ended = since_1970.as_nanos() as u64;
    ProtoSpan {
        trace_id: uuid::Uuid::new_v4().as_bytes().to_vec(),
        span_id: uuid::Uuid::new_v4().as_bytes()[..8].to_vec(),
        name: name.to_owned(),
        kind: kind::INTERNAL,
        start_time_unix_nano: ended - 1_000_000,
        end_time_unix_nano: ended,
        ..ProtoSpan::default()
    }
}

/// A request with these spans of one service.
pub fn request_of(spans: impl Iterator<Item = ProtoSpan>) -> Vec<u8> {
    let service = KeyValue {
        key: "service.name".to_owned(),
        value: Some(AnyValue { value: Some(any_value::Value::StringValue("a-test".to_owned())) }),
        ..KeyValue::default()
    };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource { attributes: vec![service], ..Resource::default() }),
            scope_spans: vec![ScopeSpans { spans: spans.collect(), ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        }],
    };
    request.encode_to_vec()
}

/// The same as JSON, written as OTLP/JSON demands: hex ids, 64-bit numbers as text.
pub fn json_request(names: &[&str]) -> Vec<u8> {
    let spans: Vec<Value> = names
        .iter()
        .map(|name| {
            json!({
                "traceId": uuid::Uuid::new_v4().simple().to_string(),
                "spanId": &uuid::Uuid::new_v4().simple().to_string()[..16],
                "name": name, "kind": kind::INTERNAL,
                "startTimeUnixNano": "1767225600000000000",
                "endTimeUnixNano": "1767225600001000000",
            })
        })
        .collect();
    let service = json!({ "key": "service.name", "value": { "stringValue": "a-test" } });
    let request = json!({ "resourceSpans": [{
        "resource": { "attributes": [service] },
        "scopeSpans": [{ "scope": { "name": "test" }, "spans": spans }],
    }]});
    request.to_string().into_bytes()
}

fn lookup(attributes: &[KeyValue], key: &str) -> Value {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    found.and_then(|attribute| attribute.value.as_ref()).map_or(Value::Null, plain)
}

/// An attribute's value as JSON has it; bytes as hex.
fn plain(value: &AnyValue) -> Value {
    match &value.value {
        Some(any_value::Value::StringValue(text)) => json!(text),
        Some(any_value::Value::BoolValue(value)) => json!(value),
        Some(any_value::Value::IntValue(number)) => json!(number),
        Some(any_value::Value::DoubleValue(number)) => json!(number),
        Some(any_value::Value::BytesValue(bytes)) => json!(hex(bytes)),
        Some(any_value::Value::ArrayValue(array)) => array.values.iter().map(plain).collect(),
        Some(any_value::Value::KvlistValue(list)) => list
            .values
            .iter()
            .map(|entry| (entry.key.clone(), entry.value.as_ref().map_or(Value::Null, plain)))
            .collect(),
        // An index into a table that trace requests do not have.
        Some(any_value::Value::StringValueStrindex(_)) | None => Value::Null,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
