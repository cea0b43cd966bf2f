//! The full decoder is the judge: whatever it says of a message, we must say too.

use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
        trace::v1::ExportTraceServiceRequest,
    },
    common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList, any_value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    metrics::v1::{
        ExponentialHistogram, ExponentialHistogramDataPoint, Histogram, HistogramDataPoint, Metric,
        ResourceMetrics, ScopeMetrics, Summary, SummaryDataPoint,
        exponential_histogram_data_point::Buckets, metric::Data, summary_data_point,
    },
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span},
};
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::otlp::schema::{LOGS_REQUEST, METRICS_REQUEST, TRACES_REQUEST};

fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn attributes() -> Vec<KeyValue> {
    let text = any_value::Value::StringValue("GET é".into());
    let list = AnyValue { value: Some(any_value::Value::IntValue(-1)) };
    vec![
        attribute("text", text.clone()),
        attribute("list", any_value::Value::ArrayValue(ArrayValue { values: vec![list] })),
        attribute(
            "map",
            any_value::Value::KvlistValue(KeyValueList {
                values: vec![attribute("double", any_value::Value::DoubleValue(1.5))],
            }),
        ),
        attribute("bytes", any_value::Value::BytesValue(vec![0xff])),
    ]
}

fn traces() -> Vec<u8> {
    let span = Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: "GET /".into(),
        kind: 2,
        flags: 0x301,
        start_time_unix_nano: 1,
        attributes: attributes(),
        events: vec![span::Event { name: "exception".into(), ..span::Event::default() }],
        links: vec![span::Link { attributes: attributes(), ..span::Link::default() }],
        status: Some(Status { message: "no".into(), code: 2 }),
        ..Span::default()
    };
    let resource = Resource { attributes: attributes(), ..Resource::default() };
    let scope_spans = vec![ScopeSpans { spans: vec![span.clone(), span], ..ScopeSpans::default() }];
    let resource_spans =
        vec![ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

fn logs() -> Vec<u8> {
    let record = LogRecord {
        body: Some(AnyValue { value: Some(any_value::Value::BoolValue(true)) }),
        attributes: attributes(),
        trace_id: vec![1; 16],
        severity_number: 9,
        ..LogRecord::default()
    };
    let scope_logs = vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
    ExportLogsServiceRequest { resource_logs }.encode_to_vec()
}

fn metrics() -> Vec<u8> {
    let histogram = HistogramDataPoint {
        bucket_counts: vec![1, 2],
        explicit_bounds: vec![0.5],
        sum: Some(1.0),
        ..HistogramDataPoint::default()
    };
    let exponential = ExponentialHistogramDataPoint {
        positive: Some(Buckets { offset: -3, bucket_counts: vec![1, 300] }),
        attributes: attributes(),
        ..ExponentialHistogramDataPoint::default()
    };
    let quantile = summary_data_point::ValueAtQuantile { quantile: 0.5, value: 1.0 };
    let summary =
        SummaryDataPoint { quantile_values: vec![quantile], ..SummaryDataPoint::default() };
    let data = [
        Data::Histogram(Histogram { data_points: vec![histogram], aggregation_temporality: 1 }),
        Data::ExponentialHistogram(ExponentialHistogram {
            data_points: vec![exponential],
            aggregation_temporality: 2,
        }),
        Data::Summary(Summary { data_points: vec![summary] }),
    ];
    let metrics = data.map(|data| Metric { data: Some(data), ..Metric::default() }).to_vec();
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    let resource_metrics = vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }];
    ExportMetricsServiceRequest { resource_metrics }.encode_to_vec()
}

/// Overwrites, removes or inserts bytes at places given as fractions of the length.
fn mutate(mut message: Vec<u8>, edits: &[(f64, u8, u8)]) -> Vec<u8> {
    for (place, edit, byte) in edits {
        let index = (message.len() as f64 * place) as usize;
        match edit % 3 {
            0 if index < message.len() => message[index] = *byte,
            1 if index < message.len() => drop(message.remove(index)),
            _ => message.insert(index.min(message.len()), *byte),
        }
    }
    message
}

fn agree<M: Message + Default>(schema: &Schema, bytes: &[u8]) -> Result<(), TestCaseError> {
    let (ours, judge) = (check(schema, bytes), M::decode(bytes));
    prop_assert_eq!(ours.is_ok(), judge.is_ok(), "{:?}, {:?}", ours, judge.err());
    Ok(())
}

#[test]
fn real_messages_are_accepted() {
    assert_eq!(check(&TRACES_REQUEST, &traces()), Ok(()));
    assert_eq!(check(&LOGS_REQUEST, &logs()), Ok(()));
    assert_eq!(check(&METRICS_REQUEST, &metrics()), Ok(()));
}

#[test]
fn nesting_without_end_is_refused_as_the_full_decoder_does() {
    for depth in (1..=60).chain([2_000]) {
        let mut value = Vec::new();
        for _ in 0..depth {
            let array = [&[0x0a][..], &length(value.len()), &value].concat();
            value = [&[0x2a][..], &length(array.len()), &array].concat();
        }
        let attribute = [&[0x12][..], &length(value.len()), &value].concat();
        let resource = [&[0x0a][..], &length(attribute.len()), &attribute].concat();
        let spans = [&[0x0a][..], &length(resource.len()), &resource].concat();
        let request = [&[0x0a][..], &length(spans.len()), &spans].concat();

        let judge = ExportTraceServiceRequest::decode(&request[..]);
        assert_eq!(check(&TRACES_REQUEST, &request).is_ok(), judge.is_ok(), "{depth}");
    }
}

fn length(mut length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while length >= 0x80 {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn mutated_messages_are_judged_as_by_the_full_decoder(
        edits in prop::collection::vec((0.0..1.0, any::<u8>(), any::<u8>()), 1..4)
    ) {
        agree::<ExportTraceServiceRequest>(&TRACES_REQUEST, &mutate(traces(), &edits))?;
        agree::<ExportLogsServiceRequest>(&LOGS_REQUEST, &mutate(logs(), &edits))?;
        agree::<ExportMetricsServiceRequest>(&METRICS_REQUEST, &mutate(metrics(), &edits))?;
    }

    #[test]
    fn random_bytes_are_judged_as_by_the_full_decoder(
        bytes in prop::collection::vec(any::<u8>(), 0..64)
    ) {
        agree::<ExportTraceServiceRequest>(&TRACES_REQUEST, &bytes)?;
        agree::<ExportLogsServiceRequest>(&LOGS_REQUEST, &bytes)?;
        agree::<ExportMetricsServiceRequest>(&METRICS_REQUEST, &bytes)?;
    }
}
