//! Many invocations at once, without INVOKE, as on Managed Instances.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span::SpanKind},
};
use prost::Message;
use serde_json::json;

use super::*;
use crate::otlp::failure_codec;

const EXIT: &str = "Runtime.ExitError";

/// All payloads that the processor has made.
struct World {
    processor: Processor,
    payloads: Vec<Payload>,
}

impl World {
    fn new() -> Self {
        Self { processor: with_reporter(), payloads: Vec::new() }
    }

    fn telemetry(&mut self, events: &[serde_json::Value]) {
        let derived = self.processor.telemetry(&json!(events));
        self.take(derived);
    }

    fn server_span(&mut self, number: u64, fails: bool) {
        let value = Some(AnyValue { value: Some(Value::StringValue(request_id(number))) });
        let key = "faas.invocation_id".to_owned();
        let code = if fails { 2 } else { 0 };
        let span = Span {
            trace_id: trace_id(number),
            span_id: vec![1; 8],
            kind: SpanKind::Server as i32,
            attributes: vec![KeyValue { key, value, ..KeyValue::default() }],
            status: Some(Status { code, message: format!("{number} failed") }),
            ..Span::default()
        };
        let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        let request = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        let (payload, servers) = Payload::read(SignalKind::Traces, request.into()).unwrap();
        let derived = self.processor.otlp(&payload, &servers);
        self.take(derived);
    }

    fn take(&mut self, mut derived: Derived) {
        self.payloads.append(&mut derived.payloads);
        self.processor.record(derived);
    }

    fn spans(&self) -> Vec<Span> {
        let traces = self.payloads.iter().filter(|payload| payload.kind == SignalKind::Traces);
        let requests = traces.map(|it| ExportTraceServiceRequest::decode(&it.bytes[..]).unwrap());
        let resources = requests.flat_map(|request| request.resource_spans);
        resources.flat_map(|it| it.scope_spans).flat_map(|scope| scope.spans).collect()
    }

    fn named(&self, name: &str) -> Vec<Span> {
        self.spans().into_iter().filter(|span| span.name == name).collect()
    }

    /// The items' `custom`.
    fn items(&self) -> Vec<serde_json::Value> {
        let items = self.payloads.iter().filter(|payload| payload.kind == SignalKind::Failures);
        let items = items.flat_map(|payload| failure_codec::read(&payload.bytes));
        let item = |json| serde_json::from_str::<serde_json::Value>(json).unwrap();
        items.map(|line| item(line.json)["data"]["custom"].clone()).collect()
    }

    /// Number of failures: an item may stand for several.
    fn failures(&self) -> u64 {
        let items = self.payloads.iter().filter(|payload| payload.kind == SignalKind::Failures);
        items.map(|payload| payload.items).sum()
    }
}

fn request_id(number: u64) -> String {
    format!("r{number}")
}

fn trace_id(number: u64) -> Vec<u8> {
    (u128::from(number) + (1 << 100)).to_be_bytes().to_vec()
}

fn event(kind: &str, number: u64, mut record: serde_json::Value) -> serde_json::Value {
    record["requestId"] = json!(request_id(number));
    json!({ "time": "2026-01-01T00:00:00.000Z", "type": kind, "record": record })
}

fn start(number: u64) -> serde_json::Value {
    event("platform.start", number, json!({}))
}

fn done(number: u64, error: Option<&str>) -> serde_json::Value {
    let overhead =
        json!({ "name": "runtimeOverhead", "start": "2026-01-01T00:00:00.000Z", "durationMs": 1 });
    let status = if error.is_some() { "error" } else { "success" };
    let record = json!({ "status": status, "errorType": error, "spans": [overhead] });
    event("platform.runtimeDone", number, record)
}

fn report(number: u64) -> serde_json::Value {
    let metrics = json!({ "durationMs": number });
    event("platform.report", number, json!({ "status": "success", "metrics": metrics }))
}

fn duration_ms(span: &Span) -> u64 {
    (span.end_time_unix_nano - span.start_time_unix_nano) / 1_000_000
}

#[test]
fn spans_and_reports_of_200_open_invocations_find_their_own_in_whatever_order() {
    for seed in 0..3 {
        let mut world = World::new();
        world.telemetry(&(0..200).map(start).collect::<Vec<_>>());
        let mut steps: Vec<_> = (0..200).flat_map(|n| [(n, false), (n, true)]).collect();
        fastrand::Rng::with_seed(seed).shuffle(&mut steps);
        for (number, is_span) in steps {
            match is_span {
                true => world.server_span(number, number % 40 == 0),
                false => world.telemetry(&[done(number, None), report(number)]),
            }
        }

        let reports = world.named("platform.report");
        let placed: BTreeMap<_, _> =
            reports.iter().map(|span| (duration_ms(span), span.trace_id.clone())).collect();
        assert_eq!(placed, (0..200).map(|n| (n, trace_id(n))).collect());
        assert_eq!((reports.len(), world.named("runtimeOverhead").len()), (200, 200));
        world.payloads.extend(world.processor.last_failures());
        assert_eq!(world.failures(), 5);
        for custom in world.items() {
            let request_id = custom["request_id"].as_str().unwrap();
            let number = request_id[1..].parse().unwrap();
            assert_eq!(custom["trace_id"], crate::text::hex(&trace_id(number)));
        }
    }
}

#[test]
fn of_1200_open_invocations_the_oldest_are_concluded_with_their_spans_and_failures() {
    let mut world = World::new();
    let error = |number: u64| Some(EXIT).filter(|_| number % 2 == 1);
    for number in 0..1_200 {
        world.telemetry(&[start(number), done(number, error(number))]);
    }
    // A failed one gets its root at once, and 100 successful ones are evicted.
    assert_eq!(world.named("function").len(), 600 + 100);
    assert_eq!(world.named("runtimeOverhead").len(), 600 + 100);
    let pending = world.processor.failure_counts().waiting.load(Ordering::Relaxed);
    assert_eq!((world.failures() + pending, world.items().is_empty()), (600, false));

    for number in 0..1_200 {
        world.server_span(number, false);
        world.telemetry(&[report(number)]);
    }
    world.payloads.extend(world.processor.last_failures());

    assert_eq!(world.failures(), 600);
}

#[test]
fn a_failure_is_reported_although_its_record_is_evicted_in_the_same_post() {
    let mut world = World::new();
    world.telemetry(&(0..1_000).map(start).collect::<Vec<_>>());
    world.telemetry(&[done(0, Some(EXIT)), report(0), start(1_000)]);

    let items = world.items();
    assert_eq!(items.len(), 1);
    assert_eq!(items[0]["request_id"], request_id(0));
}

#[test]
fn made_up_request_ids_take_nothing_of_a_running_invocation() {
    for count in [16, 2_000] {
        let mut world = World::new();
        world.telemetry(&[start(0), start(1), done(1, None)]);
        for number in 0..count {
            world.server_span(10_000 + number, false);
        }
        world.server_span(0, false);
        world.telemetry(&[done(0, None), report(0)]);
        world.server_span(1, false);
        world.telemetry(&[report(1)]);

        let traces: Vec<_> =
            world.named("platform.report").into_iter().map(|span| span.trace_id).collect();
        assert_eq!(traces, [trace_id(0), trace_id(1)]);
        assert!(world.named("function").is_empty(), "no root");
    }
}
