//! Measures the CPU time of documents and of OTLP calls, and their size:
//! `cargo test --release -p cruddur-telemetry --lib xray::tests::measure -- --ignored --nocapture`

use std::io;
use std::time::Duration;

use flate2::{Compression, read::GzEncoder};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
use prost::Message;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::delivery::batch::{Batch, BatchPart, compress};
use crate::exporter::xray::SystemTime;
use crate::exporter::xray::annotations::AnnotationFilter;
use crate::exporter::xray::index::index;
use crate::exporter::xray::limits::MAX_ANNOTATIONS;
use crate::exporter::xray::otlp::OtlpExport;
use crate::exporter::xray::placement::{Placement, Placer};
use crate::exporter::xray::serialize::to_bounded_json;
use crate::exporter::xray::tests::{attributes, request};
use crate::exporter::xray::translate::translate;
use crate::invocation::registry::Registry;
use crate::otlp::payload::SignalKind;
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
fn measure_documents() {
    let request = request((0..SPANS).map(span).collect());
    let mut placer = Placer::new(Some(Registry::default()), 1.0);
    let (filter, now, began) = (AnnotationFilter::default(), SystemTime::now(), cpu_time());

    let (spans, _) = index(&request);
    let (placements, _) = placer.place_spans(&spans, now);
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

/// Calls of 1,000 spans with random values, as a steady sandbox sends them.
#[test]
#[ignore = "a measurement"]
fn measure_calls() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_767_225_600_002_000_000);
    let text = || json!(format!("{:016x}", fastrand::u64(..)));
    let varied = |number| {
        let pairs = (0..12).map(|key| (format!("app.attribute.{key:02}"), text())).collect();
        Span { attributes: attributes(pairs), ..span(number) }
    };
    let requests: Vec<_> = (0..SPANS / 1_000)
        .map(|at| request((at * 1_000..(at + 1) * 1_000).map(varied).collect()))
        .collect();
    let stored: Vec<_> = requests
        .iter()
        .map(|it| BatchPart {
            bytes: compress(std::iter::once(it)).unwrap(),
            plain_bytes: it.len(),
            items: 1_000,
            has_error: false,
            has_unsampled: false,
        })
        .map(|part| Batch::of_parts(SignalKind::Traces, true, vec![part]))
        .collect();
    let mut placer = Placer::new(Some(Registry::default()), 1.0);
    let mut spent = Duration::ZERO;
    let mut step = |name: &str, bytes: usize| {
        let (total, bytes) = (cpu_time() - spent, bytes as u64 / SPANS);
        spent += total;
        let each = total.as_nanos() as f64 / 1e3 / SPANS as f64;
        eprintln!("{name:<40} {each:>6.2} µs and {bytes} bytes a span");
    };
    let total = |all: &[Vec<u8>]| all.iter().map(Vec::len).sum();

    step("(preparation)", total(&requests));
    let plain: Vec<_> = stored.iter().map(|it| it.to_plain().unwrap()).collect();
    step("zstd of the spool, decompressed", total(&requests));
    let placed: Vec<_> = plain.iter().map(|request| placer.place(request, now)).collect();
    step("index and placement", total(&requests));
    let bodies: Vec<_> = placed.iter().flat_map(OtlpExport::bodies).collect();
    step("rewritten calls", total(&bodies));
    bodies.iter().for_each(|body| _ = std::hint::black_box(Sha256::digest(body)));
    step("SHA-256 of plain calls", total(&bodies));
    let gzip = |body: &Vec<u8>| {
        let mut out = Vec::new();
        io::copy(&mut GzEncoder::new(&body[..], Compression::fast()), &mut out).unwrap();
        out
    };
    let compressed: Vec<_> = bodies.iter().map(gzip).collect();
    step("gzip, the fastest level", total(&compressed));
    compressed.iter().for_each(|body| _ = std::hint::black_box(Sha256::digest(body)));
    step("SHA-256 of gzip", total(&compressed));
}
