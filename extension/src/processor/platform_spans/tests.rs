use std::time::{Duration, UNIX_EPOCH};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::any_value::Value,
    trace::v1::{Span, span::SpanKind},
};
use prost::Message;
use trace_context::{SpanId, TraceId, XrayHeader};

use super::*;
use crate::invocation::end::EndEvidence;
use crate::lambda::extensions_api::Invoke;
use crate::otlp::payload::ServerSpan;

const ROOT: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";

struct Rig {
    registry: Registry,
    platform: PlatformSpans,
}

impl Rig {
    fn invoked(&mut self, invoke: &Invoke, now: SystemTime) {
        self.registry.on_invoke(invoke, now);
    }

    fn server_span(&mut self, server: &ServerSpan) -> Option<Payload> {
        let attempt = self.registry.on_server_span(server, now())?;
        self.platform.on_server_span(attempt)
    }

    fn event(&mut self, event: PlatformEvent) -> Option<Payload> {
        let attempt = self.registry.on_platform_event(&event);
        self.platform.event(event, attempt)
    }

    fn shut_down(&mut self, reason: &str) -> Option<Payload> {
        let shutdown = Shutdown { shutdown_reason: reason.into(), deadline_ms: 0 };
        let unexplained = self.registry.unexplained(&shutdown)?;
        self.platform.shut_down(&unexplained, &shutdown, now())
    }
}

fn platform() -> Rig {
    let registry = Registry::default();
    let resource = vec![("service.name".into(), "cruddur".into())];
    Rig { platform: PlatformSpans::new("home".into(), resource, registry.clone()), registry }
}

fn invoke(request_id: &str) -> Invoke {
    let json = format!(
        r#"{{"requestId":"{request_id}","deadlineMs":1,"tracing":{{"type":"X-Amzn-Trace-Id","value":"{ROOT}"}}}}"#
    );
    serde_json::from_str(&json).unwrap()
}

fn server(request_id: &str) -> ServerSpan {
    ServerSpan {
        is_last_word: true,
        request_id: request_id.into(),
        trace_id: TraceId::from_hex("0af7651916cd43dd8448eb211c80319c"),
        span_id: SpanId::from_hex("b7ad6b7169203331"),
        is_sampled: true,
        failed: false,
        ended: None,
    }
}

fn events(json: &str) -> Vec<PlatformEvent> {
    RawEvent::read_all(json, now()).unwrap().iter().map(PlatformEvent::read).collect()
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

fn spans(signal: Option<Payload>) -> Vec<Span> {
    let Some(signal) = signal else { return Vec::new() };
    let request = ExportTraceServiceRequest::decode(signal.bytes).unwrap();
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    let spans: Vec<_> = scopes.flat_map(|scope| scope.spans).collect();
    assert_eq!(spans.len() as u64, signal.items);
    spans
}

fn text<'a>(span: &'a Span, key: &str) -> Option<&'a str> {
    let attribute = span.attributes.iter().find(|attribute| attribute.key == key)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

const INIT: &str = r#"[{"time":"2023-11-14T22:13:19.500Z","type":"platform.initReport",
    "record":{"initializationType":"on-demand","phase":"init","status":"success","metrics":{"durationMs":250.5},"new":{}}}]"#;
const DONE: &str = r#"[{"time":"2023-11-14T22:13:21.000Z","type":"platform.runtimeDone","record":{"requestId":"a","status":"success",
    "spans":[{"name":"responseLatency","start":"2023-11-14T22:13:20.000Z","durationMs":3.0},
             {"name":"runtimeOverhead","start":"2023-11-14T22:13:20:900Z","durationMs":1.25}]}}]"#;
const START: &str =
    r#"[{"time":"2023-11-14T22:13:20.000Z","type":"platform.start","record":{"requestId":"a"}}]"#;
const TIMEOUT: &str = r#"[{"time":"2023-11-14T22:13:23.000Z","type":"platform.runtimeDone",
    "record":{"requestId":"a","status":"timeout","metrics":{"durationMs":3000}}}]"#;

#[test]
fn an_init_that_is_told_late_is_still_the_first_invocations() {
    let mut platform = platform();
    platform.invoked(&invoke("a"), now());
    assert!(platform.server_span(&server("a")).is_none());
    platform.invoked(&invoke("b"), now() + Duration::from_secs(1));

    let late = events(INIT).into_iter().flat_map(|event| spans(platform.event(event)));

    assert_eq!(late.map(|span| span.name).collect::<Vec<_>>(), ["init"]);
    assert!(platform.server_span(&server("b")).is_none());
}

#[test]
fn an_invocation_that_is_begun_again_has_a_root_of_its_own() {
    let mut platform = platform();
    platform.invoked(&invoke("a"), now());
    platform.server_span(&server("a"));
    platform.invoked(&invoke("a"), now() + Duration::from_secs(60));
    for start in events(START).into_iter().chain(events(START)) {
        platform.event(start);
    }

    let root = events(TIMEOUT).into_iter().flat_map(|event| spans(platform.event(event)));

    assert_eq!(root.filter(|span| span.name == "home").count(), 1);
}

#[test]
fn the_end_of_an_invocation_is_known_in_whatever_form_the_rest_comes() {
    for rest in [r#""status":null,"spans":null"#, r#""status":5,"spans":{},"errorType":[]"#] {
        let json = format!(
            r#"[{{"time":"","type":"platform.runtimeDone","record":{{"requestId":"a",{rest}}}}}]"#
        );
        let events = events(&json);
        assert!(
            matches!(&events[0].record, PlatformRecord::RuntimeDone(done) if done.request_id == "a")
        );
    }
}

#[test]
fn init_waits_for_the_server_span_and_becomes_its_child() {
    let mut platform = platform();
    for event in events(INIT) {
        assert!(platform.event(event).is_none());
    }
    platform.invoked(&invoke("a"), now());

    let spans = spans(platform.server_span(&server("a")));

    let [init] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!((init.name.as_str(), init.kind), ("init", SpanKind::Internal as i32));
    assert_eq!(text(init, "cruddur.xray_header"), Some(ROOT));
    assert_eq!(init.parent_span_id, server("a").span_id.unwrap().to_bytes());
    assert_eq!(init.trace_id, server("a").trace_id.unwrap().to_bytes());
    assert_eq!(init.end_time_unix_nano - init.start_time_unix_nano, 250_500_000);
}

#[test]
fn the_overhead_is_a_child_in_whichever_order_it_and_the_server_span_come() {
    for server_first in [true, false] {
        let mut platform = platform();
        platform.invoked(&invoke("a"), now());
        let mut all = Vec::new();
        if server_first {
            all.extend(spans(platform.server_span(&server("a"))));
        }
        for event in events(DONE) {
            all.extend(spans(platform.event(event)));
        }
        if !server_first {
            all.extend(spans(platform.server_span(&server("a"))));
        }

        let [overhead] = &all[..] else { panic!("{all:?}") };
        assert_eq!(overhead.name, "runtimeOverhead");
        assert_eq!(overhead.start_time_unix_nano, 1_700_000_000_900_000_000);
        assert_eq!(overhead.end_time_unix_nano - overhead.start_time_unix_nano, 1_250_000);
    }
}

#[test]
fn a_report_that_comes_during_the_next_invocation_is_placed_in_its_own() {
    let mut platform = platform();
    platform.invoked(&invoke("a"), now());
    platform.server_span(&server("a"));
    platform.invoked(&invoke("b"), now());

    let report = events(
        r#"[{"time":"x","type":"platform.report","record":{"requestId":"a","status":"success",
            "metrics":{"durationMs":12.5,"billedDurationMs":13,"memorySizeMB":256,"maxMemoryUsedMB":31}}}]"#,
    );
    let all: Vec<_> = report.into_iter().flat_map(|event| spans(platform.event(event))).collect();

    let [report] = &all[..] else { panic!("{all:?}") };
    assert_eq!(report.name, "platform.report");
    assert_eq!(report.parent_span_id, server("a").span_id.unwrap().to_bytes());
}

#[test]
fn an_invocation_that_times_out_without_a_server_span_gets_a_root() {
    let mut platform = platform();
    platform.invoked(&invoke("a"), now());

    let all: Vec<_> =
        events(TIMEOUT).into_iter().flat_map(|event| spans(platform.event(event))).collect();

    let [root] = &all[..] else { panic!("{all:?}") };
    assert_eq!((root.name.as_str(), root.kind), ("home", SpanKind::Server as i32));
    assert_eq!(root.trace_id, XrayHeader::parse(ROOT).unwrap().root.to_bytes());
    assert!(root.parent_span_id.is_empty());
    assert_eq!(root.status.as_ref().unwrap().code, 2);
    assert_eq!(text(root, "error.type"), Some("timeout"));
    assert_eq!(text(root, "faas.invocation_id"), Some("a"));
    assert_eq!(root.end_time_unix_nano - root.start_time_unix_nano, 3_000_000_000);
}

#[test]
fn a_failure_after_the_server_span_makes_no_second_root() {
    let mut platform = platform();
    platform.invoked(&invoke("a"), now());
    platform.server_span(&server("a"));

    for event in events(TIMEOUT) {
        assert!(platform.event(event).is_none());
    }
}

#[test]
fn a_failed_sandbox_explains_its_last_invocation_once() {
    let mut platform = platform();
    assert!(platform.shut_down("FAILURE").is_none(), "no invocation");
    platform.invoked(&invoke("a"), now());
    assert!(platform.shut_down("SPINDOWN").is_none());

    let all = spans(platform.shut_down("FAILURE"));

    let [root] = &all[..] else { panic!("{all:?}") };
    assert_eq!(text(root, "error.type"), Some("failure"));
    assert!(platform.shut_down("FAILURE").is_none());
}

#[test]
fn events_that_nobody_can_read_are_passed_over() {
    let mut platform = platform();
    platform.invoked(&invoke("a"), now());
    platform.server_span(&server("a"));
    let odd = r#"[{},{"type":7},{"type":"platform.report","record":"text"},
        {"type":"platform.report","record":{"requestId":"a","metrics":{"durationMs":-1e300}}},
        {"type":"platform.report","record":{"requestId":"a","metrics":{"durationMs":1e22}}},
        {"type":"platform.initReport","record":{"phase":"invoke","metrics":{"durationMs":1e22}}},
        {"type":"platform.runtimeDone","record":{"requestId":"a","spans":[
            {"name":"runtimeOverhead","start":"2023-11-14T22:13:20.900Z","durationMs":1e22}]}},
        {"type":"platform.fault","record":"x"},{"type":"platform.new","record":null}]"#;

    let events = events(odd);

    assert_eq!(events.len(), 9, "also the one whose type is a number");
    for event in events {
        platform.event(event);
    }
    assert!(RawEvent::read_all("{}", now()).is_err());
}

#[test]
fn spans_that_wait_are_bounded_although_an_early_report_is_missing() {
    let mut platform = platform();
    let event = |kind: &str, number: u32| {
        let record = format!(r#"{{"requestId":"{number}"}}"#);
        events(&format!(r#"[{{"type":"platform.{kind}","record":{record}}}]"#)).remove(0)
    };
    platform.event(event("start", 0));
    let overhead = DONE.replace(r#""requestId":"a""#, r#""requestId":"0""#);
    platform.event(events(&overhead).remove(0));
    for number in 1..2_000 {
        platform.event(event("start", number));
        platform.event(event("report", number));
        let attempt = platform.registry.of_record(&number.to_string()).unwrap();
        platform.registry.record(attempt, EndEvidence::Report);
    }

    let waiting = &platform.platform.waiting;
    assert_eq!(waiting.len(), MAX_WAITING);
    assert!(waiting.contains_key(&platform.registry.of_record("0").unwrap()), "it is not over");
}

/// `service.instance.id` of the spans of the first invocation after these events.
fn instance_after(begins: &[(&str, &str)]) -> String {
    let mut platform = platform();
    for (kind, record) in begins {
        let json =
            format!(r#"[{{"time":"2023-11-14T22:13:19.000Z","type":"{kind}","record":{record}}}]"#);
        events(&json).into_iter().for_each(|event| drop(platform.event(event)));
    }
    platform.platform.begin_anew();
    platform.invoked(&invoke("a"), now());
    events(TIMEOUT)
        .into_iter()
        .find_map(|event| platform.event(event))
        .map(|payload| {
            let request = ExportTraceServiceRequest::decode(payload.bytes).unwrap();
            let resource = request.resource_spans[0].resource.clone().unwrap();
            let id = resource.attributes.into_iter().find(|it| it.key == INSTANCE_ID).unwrap();
            format!("{:?}", id.value)
        })
        .unwrap()
}

#[test]
fn an_instance_is_named_by_its_sandbox_and_a_copy_not_by_its_snapshot() {
    let init = |kind: &str| {
        format!(r#"{{"initializationType":"{kind}","phase":"init","instanceId":"snapshot"}}"#)
    };
    let (on_demand, snap_start) = (init("on-demand"), init("snap-start"));
    let restored = ("platform.restoreStart", r#"{"instanceId":"copy"}"#);

    let named = instance_after(&[("platform.initStart", &on_demand)]);
    let copy = instance_after(&[("platform.initStart", &snap_start), restored]);

    assert_eq!(named, instance_after(&[("platform.initStart", &on_demand)]));
    assert_eq!(copy, instance_after(&[restored]));
    assert_ne!(named, copy);
    let of_snapshot = || instance_after(&[("platform.initStart", &snap_start)]);
    assert_ne!(of_snapshot(), of_snapshot(), "drawn, since the copies have no name");
}
