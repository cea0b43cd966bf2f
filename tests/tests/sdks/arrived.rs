//! The values that each program of `tests/sdk` gives its SDK, as the destination decodes them.

use cruddur_tests::{Honeycomb, Recorded};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Metric, metric::Data, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use serde_json::{Map, Value, json};

const START: u64 = 1_767_225_600_123_456_789;
const END: u64 = 1_767_225_601_987_654_321;

/// Everything of one signal that was taken.
fn taken<M: Message + Default>(honeycomb: &Honeycomb, path: &str) -> Vec<M> {
    let is_taken = |request: &Recorded| request.status == Some(200) && request.path == path;
    let requests = honeycomb.requests().into_iter().filter(is_taken);
    let decode = |request: Recorded| {
        M::decode(&request.decoded().expect("a known compression")[..]).expect("OTLP")
    };
    requests.map(decode).collect()
}

fn plain(value: &AnyValue) -> Value {
    match value.value.as_ref().expect("a value") {
        Any::StringValue(text) => json!(text),
        Any::BoolValue(value) => json!(value),
        Any::IntValue(number) => json!(number),
        Any::DoubleValue(number) => json!(number),
        Any::ArrayValue(array) => array.values.iter().map(plain).collect(),
        other => panic!("no SDK was given {other:?}"),
    }
}

fn attributes(all: &[KeyValue]) -> Map<String, Value> {
    let pair = |it: &KeyValue| (it.key.clone(), plain(it.value.as_ref().expect("a value")));
    all.iter().map(pair).collect()
}

/// What a span and a log record have.
fn expected() -> Value {
    json!({"text": "grüße 🚀", "int": 42, "double": 1.5, "bool": true, "list": ["a", "b"]})
}

fn is_of(resource: &Option<Resource>, service: &str) -> bool {
    let resource = resource.as_ref().expect("a resource");
    attributes(&resource.attributes)["service.name"] == service
}

/// The only one of its kind.
fn only<T>(mut all: Vec<T>, what: &str) -> T {
    assert_eq!(all.len(), 1, "{what}");
    all.remove(0)
}

pub(super) fn assert_trace(honeycomb: &Honeycomb, service: &str) {
    let requests: Vec<ExportTraceServiceRequest> = taken(honeycomb, "/v1/traces");
    let resources = requests.into_iter().flat_map(|request| request.resource_spans);
    let scopes = resources.filter(|it| is_of(&it.resource, service)).flat_map(|it| it.scope_spans);
    let spans = scopes.flat_map(|scope| {
        scope.spans.into_iter().map(move |span| (scope.scope.clone().unwrap_or_default(), span))
    });
    let (scope, span) = only(spans.collect(), "spans");

    assert_eq!((scope.name.as_str(), scope.version.as_str()), ("sdk-scope", "1.2.3"));
    assert_eq!((span.name.as_str(), span.kind), ("sdk-span", 3), "CLIENT");
    assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8));
    assert!(span.trace_id.iter().any(|byte| *byte != 0) && span.parent_span_id.is_empty());
    assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (START, END));
    assert_eq!(json!(attributes(&span.attributes)), expected());
    let status = span.status.expect("a status");
    assert_eq!((status.code, status.message.as_str()), (2, "sdk-status"));
    let event = only(span.events, "events");
    assert_eq!((event.name.as_str(), event.time_unix_nano), ("sdk-event", START));
    assert_eq!(json!(attributes(&event.attributes)), json!({"step": 1}));
}

pub(super) fn assert_log(honeycomb: &Honeycomb, service: &str) {
    let requests: Vec<ExportLogsServiceRequest> = taken(honeycomb, "/v1/logs");
    let resources = requests.into_iter().flat_map(|request| request.resource_logs);
    let scopes = resources.filter(|it| is_of(&it.resource, service)).flat_map(|it| it.scope_logs);
    let record = only(scopes.flat_map(|scope| scope.log_records).collect(), "log records");

    assert_eq!(plain(&record.body.expect("a body")), "sdk-log grüße");
    assert_eq!((record.severity_number, record.severity_text.as_str()), (17, "ERROR"));
    assert_eq!(record.time_unix_nano, START);
    assert_eq!(json!(attributes(&record.attributes)), expected());
}

/// A metric may be exported more than once; the last export has everything.
pub(super) fn assert_metrics(honeycomb: &Honeycomb, service: &str) {
    let requests: Vec<ExportMetricsServiceRequest> = taken(honeycomb, "/v1/metrics");
    let resources = requests.into_iter().flat_map(|request| request.resource_metrics);
    let scopes =
        resources.filter(|it| is_of(&it.resource, service)).flat_map(|it| it.scope_metrics);
    let own = scopes.filter(|it| it.scope.as_ref().is_some_and(|scope| scope.name == "sdk-scope"));
    let metrics: Vec<Metric> = own.flat_map(|scope| scope.metrics).collect();
    let last = |name: &str| {
        let found = metrics.iter().rev().find(|metric| metric.name == name);
        let metric = found.unwrap_or_else(|| panic!("no {name} in {metrics:#?}"));
        (metric.unit.clone(), metric.data.clone().expect("data"))
    };
    let cumulative = AggregationTemporality::Cumulative as i32;

    let (unit, Data::Sum(sum)) = last("sdk-counter") else { panic!("{metrics:#?}") };
    let point = only(sum.data_points, "points of the counter");
    assert_eq!((unit.as_str(), sum.is_monotonic), ("1", true));
    assert_eq!(sum.aggregation_temporality, cumulative);
    let value = match point.value.expect("a value") {
        number_data_point::Value::AsInt(number) => number as f64,
        number_data_point::Value::AsDouble(number) => number, // JavaScript has no other
    };
    assert_eq!(value, 7.0);
    assert_eq!(json!(attributes(&point.attributes)), json!({"text": "grüße 🚀"}));

    let (unit, Data::Histogram(histogram)) = last("sdk-histogram") else { panic!("{metrics:#?}") };
    let point = only(histogram.data_points, "points of the histogram");
    assert_eq!(unit, "ms");
    assert_eq!((point.count, point.sum), (2, Some(301.5)));
    assert_eq!((point.min, point.max), (Some(1.5), Some(300.0)));
    assert_eq!(point.bucket_counts.iter().sum::<u64>(), 2);
    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
}
