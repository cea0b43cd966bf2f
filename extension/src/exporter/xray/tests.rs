//! Helpers of the modules' tests, and tests of the whole translation against a schema of X-Ray's guide.

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, ArrayValue, KeyValue, any_value},
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use prost::Message;
use serde_json::Value;
use trace_context::{SpanId, TraceId};

mod property;
mod schema;

pub(super) fn attributes(object: Value) -> Vec<KeyValue> {
    let Value::Object(object) = object else { panic!("no object") };
    let attribute = |(key, value)| KeyValue { key, value: Some(any(value)), ..KeyValue::default() };
    object.into_iter().map(attribute).collect()
}

fn any(value: Value) -> AnyValue {
    let value = match value {
        Value::String(text) => any_value::Value::StringValue(text),
        Value::Bool(value) => any_value::Value::BoolValue(value),
        Value::Number(number) => match number.as_i64() {
            Some(number) => any_value::Value::IntValue(number),
            None => any_value::Value::DoubleValue(number.as_f64().unwrap()),
        },
        Value::Array(values) => any_value::Value::ArrayValue(ArrayValue {
            values: values.into_iter().map(any).collect(),
        }),
        other => panic!("{other} has no attribute type"),
    };
    AnyValue { value: Some(value) }
}

/// An encoded request with these spans.
pub(super) fn request(spans: Vec<Span>) -> Vec<u8> {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

pub(super) fn span_id(number: u64) -> SpanId {
    SpanId::from_bytes(number.to_be_bytes()).unwrap()
}

pub(super) fn trace_id(number: u128) -> TraceId {
    TraceId::from_bytes(number.to_be_bytes()).unwrap()
}

mod document;
mod export;
mod measure;
