//! The decisions on parts, as the pipeline asks for them.

mod choice;

use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{AnyValue, KeyValue, any_value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span::SpanKind},
};
use prost::Message;
use serde_json::json;

use super::*;
use crate::lambda::telemetry_event::{PlatformEvent, RawEvent};
use crate::otlp::payload::Payload;

const RATE: u64 = 20;
const MS: u64 = 1_000_000;

fn settings() -> SamplingSettings {
    let (slow, salt) = (Duration::from_secs(2), "salt".to_owned());
    SamplingSettings { rate: RATE, slow, salt, samples_logs: false }
}

/// Milliseconds after a fixed time.
fn at(ms: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000) + Duration::from_millis(ms)
}

/// A trace that the choice keeps, or one that it leaves out.
fn trace(is_chosen: bool, seed: u64) -> TraceId {
    let ids = (1..).map(|n: u64| u128::from(seed) << 64 | u128::from(n));
    let mut ids = ids.filter_map(|id| TraceId::from_bytes(id.to_be_bytes()));
    ids.find(|id| settings().chooses(*id) == is_chosen).unwrap()
}

struct Sandbox {
    registry: Registry,
}

impl Sandbox {
    /// The first invocation, which is cold, has ended.
    fn warm() -> Self {
        let sandbox = Self { registry: Registry::with_sampling(Some(settings())) };
        sandbox.invoke("cold", 0);
        sandbox
    }

    fn invoke(&self, request_id: &str, ms: u64) -> AttemptId {
        let invoke = serde_json::from_value(json!({ "requestId": request_id })).unwrap();
        self.registry.on_invoke(&invoke, at(ms))
    }

    fn event(&self, kind: &str, ms: u64, record: serde_json::Value) {
        let time = crate::time::timestamp(at(ms));
        let event = json!({ "type": kind, "time": time, "record": record }).to_string();
        let raw = RawEvent::read(&event, at(ms)).unwrap();
        self.registry.on_platform_event(&PlatformEvent::read(&raw));
    }

    /// Spans arrive, and are observed when a flush begins.
    fn receive(&self, spans: Vec<Span>) -> PayloadParts {
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        let bytes = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        let (payload, servers) = Payload::read(SignalKind::Traces, bytes.into()).unwrap();
        for server in servers {
            self.registry.on_server_span(&server, SystemTime::now());
        }
        self.registry.observe(SignalKind::Traces, &payload.bytes, false)
    }

    fn conclude(&self, attempt: AttemptId, ms: u64) {
        self.registry.conclude(attempt);
        self.registry.decide(at(ms), false);
    }

    fn decide(&self, ms: u64) {
        self.registry.decide(at(ms), false);
    }
}

fn span(trace_id: TraceId, end_ms: u64) -> Span {
    let end = at(end_ms).duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
    Span {
        trace_id: trace_id.to_bytes().to_vec(),
        span_id: vec![1; 8],
        start_time_unix_nano: end - MS,
        end_time_unix_nano: end,
        ..Span::default()
    }
}

fn failed(span: Span) -> Span {
    Span { status: Some(Status { code: 2, ..Status::default() }), ..span }
}

fn server(span: Span, request_id: &str) -> Span {
    let value = Some(AnyValue { value: Some(any_value::Value::StringValue(request_id.into())) });
    let key = "faas.invocation_id".to_owned();
    let attributes = vec![KeyValue { key, value, ..KeyValue::default() }];
    Span { kind: SpanKind::Server as i32, attributes, ..span }
}

use SamplingDecision::{Chosen, Kept, LeftOut};

#[test]
fn a_part_waits_for_the_end_of_its_invocation_and_follows_the_choice_of_its_trace() {
    for (is_chosen, expected) in [(true, Chosen), (false, LeftOut)] {
        let sandbox = Sandbox::warm();
        let attempt = sandbox.invoke("r", 1_000);
        let trace = trace(is_chosen, 1);
        let parts = sandbox.receive(vec![span(trace, 1_010)]);
        sandbox.decide(1_020);
        assert!(!parts.is_decided(), "it runs");

        let last = sandbox.receive(vec![server(span(trace, 1_030), "r")]);
        sandbox.conclude(attempt, 1_040);

        assert_eq!((parts.common(), last.common()), (Some(expected), Some(expected)));
        let late = sandbox.receive(vec![failed(span(trace, 1_035))]);
        assert_eq!(late.common(), Some(expected), "a late span follows");
        assert_eq!(sandbox.registry.is_left_out(trace), expected == LeftOut);
    }
}

#[test]
fn an_error_in_the_last_request_keeps_the_earlier_spans() {
    let sandbox = Sandbox::warm();
    let attempt = sandbox.invoke("r", 1_000);
    let trace = trace(false, 1);
    let first = sandbox.receive(vec![span(trace, 1_010)]);
    let second = sandbox.receive(vec![span(trace, 1_020)]);
    assert!(!sandbox.registry.is_left_out(trace), "it may be kept");

    sandbox.receive(vec![failed(server(span(trace, 1_030), "r"))]);
    sandbox.conclude(attempt, 1_040);

    assert_eq!((first.common(), second.common()), (Some(Kept), Some(Kept)));
    assert!(!sandbox.registry.is_left_out(trace));
}

#[test]
fn every_rule_about_the_invocation_keeps_its_part() {
    type Case = (&'static str, fn(&Sandbox, AttemptId), SamplingDecision);
    let done = |status: &str| json!({ "requestId": "r", "status": status });
    let cases: [Case; 6] = [
        ("no rule", |_, _| {}, LeftOut),
        ("an error line", |sandbox, id| sandbox.registry.set_error_line(id), Kept),
        ("the sandbox's end", |sandbox, id| sandbox.registry.set_failed(id), Kept),
        (
            "a failed status",
            |sandbox, _| {
                let record = json!({ "requestId": "r", "status": "timeout" });
                sandbox.event("platform.runtimeDone", 1_050, record);
            },
            Kept,
        ),
        (
            "a failed report",
            |sandbox, _| {
                let record = json!({ "requestId": "r", "status": "error", "metrics": {} });
                sandbox.event("platform.report", 1_050, record);
            },
            Kept,
        ),
        (
            "slowness",
            |sandbox, _| {
                let record = json!({ "requestId": "r", "status": "success" });
                sandbox.event("platform.runtimeDone", 3_001, record);
            },
            Kept,
        ),
    ];
    for (name, happens, expected) in cases {
        let sandbox = Sandbox::warm();
        let attempt = sandbox.invoke("r", 1_000);
        let parts = sandbox.receive(vec![server(span(trace(false, 1), 1_010), "r")]);

        happens(&sandbox, attempt);
        sandbox.conclude(attempt, 5_000);

        assert_eq!(parts.common(), Some(expected), "{name}");
    }
    // As long as is allowed is not slow.
    let sandbox = Sandbox::warm();
    let attempt = sandbox.invoke("r", 1_000);
    let parts = sandbox.receive(vec![server(span(trace(false, 1), 1_010), "r")]);
    sandbox.event("platform.runtimeDone", 3_000, done("success"));
    sandbox.conclude(attempt, 5_000);
    assert_eq!(parts.common(), Some(LeftOut));
}

#[test]
fn the_spans_of_a_cold_start_and_of_init_are_kept() {
    let sandbox = Sandbox { registry: Registry::with_sampling(Some(settings())) };
    let attempt = sandbox.invoke("first", 1_000);
    let trace = trace(false, 1);

    let parts = sandbox.receive(vec![span(trace, 500), span(trace, 1_010)]);
    sandbox.conclude(attempt, 1_020);

    assert_eq!(parts.common(), Some(Kept));
}

#[test]
fn a_part_leaves_while_it_runs_as_soon_as_it_is_slow_or_has_failed() {
    let sandbox = Sandbox::warm();
    sandbox.invoke("r", 1_000);
    let [slow, other] = [1, 2].map(|seed| trace(false, seed));
    let parts = sandbox.receive(vec![span(slow, 1_500)]);

    sandbox.decide(3_000);
    assert!(!parts.is_decided());
    sandbox.decide(3_001);

    assert_eq!(parts.common(), Some(Kept));
    let later = sandbox.receive(vec![span(other, 3_100)]);
    sandbox.decide(3_200);
    assert_eq!(later.common(), Some(Kept), "the next trace of the same invocation");

    let sandbox = Sandbox::warm();
    sandbox.invoke("r", 1_000);
    let parts = sandbox.receive(vec![failed(span(slow, 1_010))]);
    sandbox.decide(1_020);
    assert_eq!(parts.common(), Some(Kept));
}

#[test]
fn a_payload_of_several_traces_has_a_decision_for_each() {
    let sandbox = Sandbox::warm();
    let attempt = sandbox.invoke("r", 1_000);
    let [out, bad, chosen] = [trace(false, 1), trace(false, 2), trace(true, 3)];

    let spans = [span(out, 1_010), failed(span(bad, 1_011)), span(chosen, 1_012), span(bad, 1_013)];
    let parts = sandbox.receive(spans.to_vec());
    sandbox.conclude(attempt, 1_020);

    assert_eq!(parts.common(), None);
    let decisions: Vec<_> = (0..4).map(|place| parts.of_item(place)).collect();
    assert_eq!(decisions, [LeftOut, Kept, Chosen, Kept]);
}

#[test]
fn one_trace_in_two_invocations_is_two_parts() {
    let sandbox = Sandbox::warm();
    let trace = trace(false, 1);
    let first = sandbox.invoke("a", 1_000);
    let good = sandbox.receive(vec![server(span(trace, 1_010), "a")]);
    sandbox.conclude(first, 1_020);
    let second = sandbox.invoke("b", 2_000);

    let bad = vec![span(trace, 2_010), failed(server(span(trace, 2_020), "b"))];
    let bad = sandbox.receive(bad);
    sandbox.conclude(second, 2_030);

    assert_eq!((good.common(), bad.common()), (Some(LeftOut), Some(Kept)));
    let late = sandbox.receive(vec![span(trace, 1_015)]);
    assert_eq!(late.common(), Some(LeftOut), "of the first one");
}

#[test]
fn a_span_that_ends_in_the_next_invocation_follows_the_server_span_of_its_trace() {
    let sandbox = Sandbox::warm();
    let [first, second] = [1, 2].map(|seed| trace(false, seed));
    let attempt = sandbox.invoke("a", 1_000);
    let parts = sandbox.receive(vec![failed(server(span(first, 1_010), "a"))]);
    sandbox.conclude(attempt, 1_020);
    assert_eq!(parts.common(), Some(Kept));
    let attempt = sandbox.invoke("b", 1_030);
    sandbox.receive(vec![server(span(second, 1_040), "b")]);

    // Such as `platform.report`, whose duration is rounded.
    let late = sandbox.receive(vec![span(first, 1_031)]);
    sandbox.conclude(attempt, 1_050);

    assert_eq!(late.common(), Some(Kept));
}

#[test]
fn spans_of_an_invocation_whose_invoke_comes_late_join_its_server_span() {
    let sandbox = Sandbox::warm();
    let trace = trace(false, 1);
    // Both ended before INVOKE arrived.
    let child = sandbox.receive(vec![span(trace, 1_010)]);
    let attempt = sandbox.invoke("r", 1_020);
    sandbox.receive(vec![failed(server(span(trace, 1_015), "r"))]);

    sandbox.conclude(attempt, 1_030);

    assert_eq!(child.common(), Some(Kept));
}

#[test]
fn where_several_invocations_run_at_once_a_part_belongs_to_the_server_span_of_its_trace() {
    let registry = Registry::with_sampling(Some(settings()));
    let sandbox = Sandbox { registry };
    for (request_id, ms) in [("cold", 0), ("a", 1_000), ("b", 1_001)] {
        sandbox.event("platform.start", ms, json!({ "requestId": request_id }));
    }
    let [a, b] = [1, 2].map(|seed| trace(false, seed));
    let child = sandbox.receive(vec![span(a, 1_005), span(b, 1_006)]);
    sandbox.receive(vec![failed(server(span(a, 1_010), "a"))]);
    sandbox.receive(vec![server(span(b, 1_011), "b")]);

    for request_id in ["a", "b"] {
        let record = json!({ "requestId": request_id, "status": "success", "metrics": {} });
        sandbox.event("platform.report", 1_020, record);
        let id = sandbox.registry.of_record(request_id).unwrap();
        sandbox.registry.conclude(id);
    }
    sandbox.decide(1_030);

    assert_eq!([child.of_item(0), child.of_item(1)], [Kept, LeftOut]);
}

#[test]
fn a_part_without_an_invocation_is_decided_when_it_is_old_and_at_the_end_all_are() {
    let sandbox = Sandbox { registry: Registry::with_sampling(Some(settings())) };
    let parts = sandbox.receive(vec![span(trace(false, 1), 10)]);
    let now = SystemTime::now();
    sandbox.registry.decide(now, false);
    assert!(!parts.is_decided());
    sandbox.registry.decide(now + Duration::from_secs(3), false);
    assert_eq!(parts.common(), Some(LeftOut));

    let sandbox = Sandbox::warm();
    sandbox.invoke("r", 1_000);
    let parts = sandbox.receive(vec![span(trace(true, 1), 1_010)]);
    sandbox.registry.decide(at(1_020), true);
    assert_eq!(parts.common(), Some(Chosen), "SHUTDOWN");
}

#[test]
fn an_evicted_record_decides_its_part_and_many_traces_take_no_more_than_their_room() {
    let sandbox = Sandbox::warm();
    sandbox.invoke("r", 1_000);
    let ids = (1..=200_000_u128).map(|id| TraceId::from_bytes((id << 60).to_be_bytes()).unwrap());
    let spans: Vec<_> = ids.map(|id| span(id, 1_010)).collect();

    let parts = sandbox.receive(spans);

    let decided = (0..200_000).filter(|place| parts.of_item(*place) != Kept).count();
    assert!(decided > 1_000, "{decided} were evicted");
    let first = trace(false, 1);
    let sandbox = Sandbox::warm();
    sandbox.invoke("0", 1_000);
    let parts = sandbox.receive(vec![server(span(first, 1_010), "0")]);
    for number in 1..2_000_u64 {
        sandbox.invoke(&number.to_string(), 1_000 + number);
    }
    sandbox.decide(4_000);
    assert_eq!(parts.common(), Some(LeftOut));
}

#[test]
fn an_error_record_keeps_the_spans_of_its_trace() {
    let sandbox = Sandbox::warm();
    let attempt = sandbox.invoke("r", 1_000);
    let trace = trace(false, 1);
    let time = at(1_005).duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let record = LogRecord {
        trace_id: trace.to_bytes().to_vec(),
        time_unix_nano: time,
        severity_number: 17,
        ..LogRecord::default()
    };
    let scope_logs = vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
    let logs = ExportLogsServiceRequest { resource_logs }.encode_to_vec();

    let spans = sandbox.receive(vec![server(span(trace, 1_010), "r")]);
    let logs = sandbox.registry.observe(SignalKind::Logs, &logs, false);
    sandbox.conclude(attempt, 1_020);

    assert_eq!((spans.common(), logs.common()), (Some(Kept), Some(Kept)));
}

#[test]
fn an_item_without_a_trace_is_kept() {
    let sandbox = Sandbox::warm();
    sandbox.invoke("r", 1_000);

    let nameless = Span { trace_id: vec![0; 16], ..span(trace(false, 1), 1_010) };

    assert_eq!(sandbox.receive(vec![nameless]).common(), Some(Kept));
}
