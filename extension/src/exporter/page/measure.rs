//! Measures CPU time and memory of the exporter for each span:
//! `cargo test --release -p cruddur-telemetry --lib measure_page -- --ignored --nocapture`

use std::time::Instant;

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, span::SpanKind},
};
use prost::Message;

use crate::exporter::page::split::split;
use crate::exporter::page::store::PageStore;
use crate::exporter::page::views::summary::TraceSummary;
use crate::otlp::payload::SignalKind;
use crate::test_clock::cpu_time;

/// As many as fit into the store.
const REQUESTS: u64 = 1_500;

const SPANS_OF_REQUEST: u64 = 20;

fn text(key: &str, bytes: usize) -> KeyValue {
    let value = Some(any_value::Value::StringValue("x".repeat(bytes)));
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value }), ..KeyValue::default() }
}

/// A request's spans of some 560 bytes.
fn request(number: u64) -> Vec<u8> {
    let span = |index: u64| Span {
        trace_id: [7_u64.to_be_bytes(), (number + 1).to_be_bytes()].concat(),
        span_id: (index + 1).to_be_bytes().to_vec(),
        parent_span_id: if index == 0 { Vec::new() } else { 1_u64.to_be_bytes().to_vec() },
        name: "DynamoDB.Query".to_owned(),
        kind: if index == 0 { SpanKind::Server } else { SpanKind::Client } as i32,
        start_time_unix_nano: 1_767_225_600_000_000_000,
        end_time_unix_nano: 1_767_225_600_001_000_000,
        attributes: (0..12).map(|index| text(&format!("attribute.number.{index}"), 14)).collect(),
        ..Span::default()
    };
    let spans = (0..SPANS_OF_REQUEST).map(span).collect();
    let resource = Resource { attributes: vec![text("service.name", 300)], ..Resource::default() };
    let resource_spans = vec![ResourceSpans {
        resource: Some(resource),
        scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

#[test]
#[ignore = "a measurement"]
fn measure_page() {
    let requests: Vec<Vec<u8>> = (0..REQUESTS).map(request).collect();
    let received: usize = requests.iter().map(Vec::len).sum();
    let (store, spans) = (PageStore::default(), REQUESTS * SPANS_OF_REQUEST);
    let per_span = |nanos: u128| nanos as f64 / 1e3 / spans as f64;

    let began = cpu_time();
    let mut longest = std::time::Duration::ZERO;
    for request in &requests {
        let split = split(SignalKind::Traces, request);
        let locked = Instant::now();
        store.append(split);
        longest = longest.max(locked.elapsed());
    }
    let keeping = cpu_time() - began;
    let began = cpu_time();
    let snapshot = store.snapshot();
    let shown: usize = snapshot.traces.iter().map(|trace| TraceSummary::of(trace).spans).sum();
    let listing = cpu_time() - began;

    assert_eq!(shown as u64, spans);
    eprintln!(
        "the page: {:.2} µs of CPU and {} bytes a span of {} bytes; the lock at most {:.1} µs; \
         listing {:.2} µs a span",
        per_span(keeping.as_nanos()),
        store.bytes() as u64 / spans,
        received as u64 / spans,
        longest.as_nanos() as f64 / 1e3,
        per_span(listing.as_nanos()),
    );
}
