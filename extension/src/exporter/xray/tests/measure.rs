//! Measures the CPU time of the translation and the size of documents:
//! `cargo test --release -p cruddur-telemetry --lib xray::tests::measure -- --ignored --nocapture`

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    trace::v1::{ResourceSpans, ScopeSpans, Span, span::SpanKind},
};
use prost::Message;
use serde_json::json;

use crate::exporter::xray::SystemTime;
use crate::exporter::xray::annotations::AnnotationFilter;
use crate::exporter::xray::index::index;
use crate::exporter::xray::limits::MAX_ANNOTATIONS;
use crate::exporter::xray::placement::{Placement, Placer};
use crate::exporter::xray::serialize::to_bounded_json;
use crate::exporter::xray::tests::attributes;
use crate::exporter::xray::translate::translate;
use crate::invocation::registry::Registry;
use crate::test_clock::cpu_time;

const SPANS: u64 = 20_000;

/// 12 attributes, about 560 bytes.
fn span(number: u64) -> Span {
    let given = json!({
        "db.system.name": "aws.dynamodb", "db.operation.name": "Query", "db.collection.name": "cruddur",
        "db.response.returned_rows": 40, "aws.dynamodb.index_name": "listing", "app.store.requests": 1,
        "app.store.consumed_capacity": 4.5, "app.store.retries": 0, "rpc.system": "aws-api",
        "rpc.service": "DynamoDB", "rpc.method": "Query",
        "aws.request_id": "R00000000000000000000000000000000000000000000000000",
    });
    Span {
        trace_id: vec![7; 16],
        span_id: (number + 2).to_be_bytes().to_vec(),
        parent_span_id: if number == 0 { Vec::new() } else { 2_u64.to_be_bytes().to_vec() },
        name: "DynamoDB.Query".to_owned(),
        kind: SpanKind::Client as i32,
        start_time_unix_nano: 1_767_225_600_000_000_000,
        end_time_unix_nano: 1_767_225_600_001_000_000,
        attributes: attributes(given),
        ..Span::default()
    }
}

#[test]
#[ignore = "a measurement"]
fn measure() {
    let scope_spans =
        vec![ScopeSpans { spans: (0..SPANS).map(span).collect(), ..Default::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    let request = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
    let mut placer = Placer::new(Some(Registry::default()), 1.0);
    let (filter, now, began) = (AnnotationFilter::default(), SystemTime::now(), cpu_time());

    let (spans, _) = index(&request);
    let placements = placer.place_spans(&spans, now);
    let placed = cpu_time() - began;
    let mut bytes = 0;
    for (span, placement) in spans.iter().zip(placements) {
        let Placement::Sent(place) = placement else { panic!("{placement:?}") };
        let span = Span::decode(span.bytes).unwrap();
        bytes += to_bounded_json(translate(&span, &[], &place, &filter, MAX_ANNOTATIONS, now))
            .0
            .len() as u64;
    }

    let took = cpu_time() - began;
    let each = |nanos: u128| nanos as f64 / 1e3 / SPANS as f64;
    eprintln!(
        "a span of {} bytes is a document of {} bytes, in {:.2} µs, {:.2} of them for its place",
        request.len() as u64 / SPANS,
        bytes / SPANS,
        each(took.as_nanos()),
        each(placed.as_nanos()),
    );
}
