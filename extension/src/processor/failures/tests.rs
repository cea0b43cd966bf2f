use std::{
    collections::HashMap,
    sync::LazyLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{AnyValue, KeyValue, any_value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span},
};
use prost::Message as _;
use serde_json::{Value, json};

use super::*;
use crate::config::Config;
use crate::invocation::attempt::AttemptId;
use crate::invocation::registry::Registry;
use crate::lambda::telemetry_event::{PlatformEvent, RawEvent};
use crate::otlp::failure_codec::read;
use crate::otlp::line_codec::LinePayloads;
use crate::otlp::payload::{Payload, SignalKind};
use crate::processor::failures::truncate::MAX_ITEM_BYTES;
use crate::processor::log_lines::LineEnricher;

mod account;
mod content;
mod order;
mod out_of_memory;
mod sampling;

const ROOT: &str = "5759e988bd862e3fe1be46a994272793";
const SCHEMA: &str = include_str!("../../../../tests/schemas/rollbar_item.json");

static VALIDATOR: LazyLock<jsonschema::Validator> =
    LazyLock::new(|| jsonschema::validator_for(&serde_json::from_str(SCHEMA).unwrap()).unwrap());

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn config(more: &[(&str, &str)]) -> Config {
    let given = [("ROLLBAR_ACCESS_TOKEN", "t"), ("AWS_REGION", "us-east-1")];
    let all: HashMap<_, _> = given.iter().chain(more).copied().collect();
    Config::from_vars(|name| all.get(name).map(|value| (*value).to_owned())).0
}

/// FailureReporter, and all items that were made so far.
struct World {
    registry: Registry,
    failures: FailureReporter,
    lines: LineEnricher,
    items: Vec<Value>,
    now: SystemTime,
}

impl World {
    fn new(more: &[(&str, &str)]) -> Self {
        let config = config(more);
        let registry = Registry::with_sampling(config.sampling().cloned());
        let settings = config.failure_settings().unwrap();
        Self {
            failures: FailureReporter::new(settings, registry.clone()),
            lines: LineEnricher::new(config.line_settings(), registry.clone()),
            registry,
            items: Vec::new(),
            now: now(),
        }
    }

    fn attempt(&self, request_id: &str) -> AttemptId {
        self.registry.of_record(request_id).unwrap()
    }

    fn take(&mut self) {
        for signal in self.failures.take_items() {
            assert_eq!((signal.kind, signal.has_error), (SignalKind::Failures, true));
            for line in read(&signal.bytes) {
                assert!(line.json.len() <= MAX_ITEM_BYTES);
                let item: Value = serde_json::from_str(line.json).unwrap();
                assert_eq!(item["data"]["uuid"], line.id);
                self.items.push(item);
            }
        }
    }

    fn on_invoke(&mut self, request_id: &str) {
        let header = format!("Root=1-{}-{};Sampled=1", &ROOT[..8], &ROOT[8..]);
        let invoke = json!({ "requestId": request_id, "tracing": { "value": header } });
        let invoke = serde_json::from_value(invoke).unwrap();
        let attempt = self.registry.on_invoke(&invoke, self.now);
        self.failures.on_invoke(attempt, self.now);
        self.event("platform.start", json!({ "requestId": request_id }));
    }

    fn event(&mut self, kind: &str, record: Value) {
        let event = json!([{ "time": "2027-01-15T08:00:00.000Z", "type": kind, "record": record }]);
        let json = event.to_string();
        let events = RawEvent::read_all(&json, self.now).unwrap();
        let event = PlatformEvent::read(&events[0]);
        let attempt = self.registry.on_platform_event(&event);
        let mut lines = LinePayloads::default();
        self.lines.add_line(&events[0], attempt, self.registry.line_owner(), &mut lines);
        self.failures.lines(&lines.finish(), self.now);
        if let Some(failure) = PlatformFailure::of(&event, attempt) {
            self.failures.platform(failure, self.now);
        }
        self.failures.report_ended(self.now);
        self.take();
    }

    fn spans(&mut self, spans: Vec<Span>) {
        let language = attribute("telemetry.sdk.language", "rust");
        let version = attribute("service.version", "1.2.3");
        self.spans_of(vec![attribute("service.name", "shop"), language, version], spans);
    }

    fn spans_of(&mut self, attributes: Vec<KeyValue>, spans: Vec<Span>) {
        let resource = Resource { attributes, ..Resource::default() };
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let resource_spans =
            ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() };
        let request = ExportTraceServiceRequest { resource_spans: vec![resource_spans] };
        let (signal, servers) =
            Payload::read(SignalKind::Traces, request.encode_to_vec().into()).unwrap();
        for server in servers {
            self.registry.on_server_span(&server, self.now);
        }
        self.failures.otlp(&signal, self.now);
        self.take();
    }

    fn logs(&mut self, log_records: Vec<LogRecord>) {
        let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
        let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
        let request = ExportLogsServiceRequest { resource_logs };
        let (signal, _) = Payload::read(SignalKind::Logs, request.encode_to_vec().into()).unwrap();
        self.failures.otlp(&signal, self.now);
        self.take();
    }

    fn step(&mut self, step: &Step, request_id: &str) {
        let failed = json!({ "requestId": request_id, "status": "error", "errorType": "Runtime.OutOfMemory",
                             "metrics": { "maxMemoryUsedMB": 128 } });
        match step {
            Step::Server => self.spans(vec![server(request_id)]),
            Step::Child => self.spans(vec![child()]),
            Step::Line => {
                let line =
                    json!({ "level": "ERROR", "message": "no luck", "requestId": request_id });
                self.event("function", line);
            }
            Step::Done => self.event("platform.runtimeDone", failed),
            Step::Report => self.event("platform.report", failed),
            Step::Next => self.on_invoke("next"),
        }
    }

    fn finish(&mut self) -> Vec<Value> {
        self.failures.finish(self.now);
        self.take();
        for item in &self.items {
            let complaints: Vec<_> = VALIDATOR.iter_errors(item).map(|it| it.to_string()).collect();
            assert!(complaints.is_empty(), "{complaints:?}: {item:#}");
        }
        std::mem::take(&mut self.items).into_iter().map(|item| item["data"].clone()).collect()
    }
}

fn attribute(key: &str, text: &str) -> KeyValue {
    let value = AnyValue { value: Some(any_value::Value::StringValue(text.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}

fn exception(class: &str) -> span::Event {
    let attributes = vec![attribute("exception.type", class)];
    span::Event { name: "exception".to_owned(), attributes, ..span::Event::default() }
}

fn plain(number: u8) -> Span {
    let trace_id = (0..16).map(|n| u8::from_str_radix(&ROOT[2 * n..2 * n + 2], 16).unwrap());
    Span { trace_id: trace_id.collect(), span_id: vec![number; 8], ..Span::default() }
}

fn server(request_id: &str) -> Span {
    Span {
        kind: 2,
        attributes: vec![attribute("faas.invocation_id", request_id)],
        events: vec![exception("StoreError")],
        ..plain(1)
    }
}

fn child() -> Span {
    Span { events: vec![exception("Timeout")], ..plain(2) }
}

/// An access line of a request that failed.
fn record(request_id: &str) -> LogRecord {
    let text = any_value::Value::StringValue("GET / 500".to_owned());
    LogRecord {
        severity_number: 17,
        body: Some(AnyValue { value: Some(text) }),
        attributes: vec![attribute("faas.invocation_id", request_id)],
        trace_id: plain(0).trace_id,
        ..LogRecord::default()
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Server,
    Child,
    Line,
    Done,
    Report,
    Next,
}

#[test]
fn of_one_failure_there_is_one_item_in_whatever_order_it_is_told() {
    use Step::{Child, Done, Line, Next, Report, Server};
    let all = [Server, Child, Line, Done, Report, Next];
    let mut uuids = std::collections::HashSet::new();
    // All orders of all subsets in which something fails.
    fn orders(left: &[Step], so_far: &mut Vec<Step>, each: &mut impl FnMut(&[Step])) {
        each(so_far);
        for (index, step) in left.iter().enumerate() {
            let rest: Vec<_> = [&left[..index], &left[index + 1..]].concat();
            so_far.push(*step);
            orders(&rest, so_far, each);
            so_far.pop();
        }
    }
    orders(&all, &mut Vec::new(), &mut |steps| {
        // Spans of another invocation than the last have lost their context otherwise.
        let late_child = steps.iter().position(|it| *it == Next)
            < steps.iter().position(|it| *it == Child)
            && steps.contains(&Next)
            && !steps.contains(&Server);
        if steps.iter().all(|step| *step == Next) || late_child {
            return;
        }
        let mut world = World::new(&[]);
        world.on_invoke("first");
        for (done, step) in steps.iter().enumerate() {
            world.step(step, "first");
            let so_far = &steps[..=done];
            let items = world.items.len() as u64 + world.failures.pending_count();
            let expected = u64::from(so_far.iter().any(|step| *step != Next));
            // Its server span decides whether a late child belongs to the next one.
            let is_open = so_far.contains(&Next) && *step == Child;
            assert!(items == expected || is_open && items == expected + 1, "after {so_far:?}");
        }
        let items = world.finish();
        assert_eq!(items.len(), 1, "{steps:?}: {items:#?}");
        assert_eq!(items[0]["custom"]["request_id"], "first", "{steps:?}");
        assert_eq!(items[0]["custom"]["trace_id"], ROOT, "{steps:?}");
        uuids.insert(items[0]["uuid"].to_string());
    });
    assert_eq!(uuids.len(), 1);
}

#[test]
fn a_call_that_failed_in_a_request_that_did_not_is_a_warning_and_not_sent_by_default() {
    let failed = Span { status: Some(Status { code: 2, message: "gone".to_owned() }), ..plain(2) };
    let fine = Span { events: Vec::new(), ..server("first") };
    for (level, expected) in [("error", 0), ("warning", 1)] {
        let mut world = World::new(&[("ROLLBAR_LEVEL", level)]);
        world.on_invoke("first");
        world.spans(vec![failed.clone(), fine.clone()]);
        assert_eq!(world.failures.pending_count(), expected);
        let items = world.finish();
        assert_eq!(items.len() as u64, expected, "{items:#?}");
        assert!(items.iter().all(|item| item["level"] == "warning"));
    }
}

#[test]
fn an_init_that_fails_is_an_item_and_one_that_is_repeated_is_its_invocations() {
    let failed = |phase: &str| json!({ "phase": phase, "status": "error", "errorType": "Runtime.ExitError" });
    let mut world = World::new(&[]);
    world.event("function", json!({ "level": "ERROR", "message": "no variable" }));
    world.event("platform.initReport", failed("init"));
    assert_eq!(world.items.len(), 1, "at once");
    world.on_invoke("first");
    world.event("platform.initReport", failed("invoke"));
    world.step(&Step::Done, "first");

    let items = world.finish();

    let said =
        |item: &Value| item["body"]["trace"]["exception"]["message"].as_str().unwrap().to_owned();
    assert_eq!(items.len(), 2, "{items:#?}");
    assert!(said(&items[0]).starts_with("The function's init failed"), "{}", said(&items[0]));
    assert!(said(&items[1]).starts_with("The invocation ran out of memory"), "{}", said(&items[1]));
}

#[test]
fn where_nothing_tells_an_end_each_request_is_told_of_at_once() {
    let mut world = World::new(&[]);

    world.spans(vec![child(), server("first")]);
    assert_eq!(world.items.len(), 1);
    world.spans(vec![server("second")]);
    assert_eq!(world.items.len(), 2, "another request in the same trace");
    world.spans(vec![child()]);

    assert_eq!(world.finish().len(), 2, "late, and reported already");
}

#[test]
fn where_nothing_tells_an_end_log_records_wait_for_the_spans_that_say_more() {
    let mut world = World::new(&[]);

    world.logs(vec![record("first")]);
    assert!(world.items.is_empty());
    world.spans(vec![server("first")]);

    let [item] = &world.items[..] else { panic!("{:#?}", world.items) };
    assert_eq!(item["data"]["body"]["trace"]["exception"]["class"], "StoreError");
    let line = &item["data"]["body"]["telemetry"][0];
    assert_eq!((&line["body"]["message"], &line["level"]), (&json!("GET / 500"), &json!("error")));
    world.logs(vec![record("first")]);
    assert_eq!(world.finish().len(), 1, "late, and reported already");
}

#[test]
fn an_error_that_only_a_log_record_tells_of_does_not_wait_long() {
    let mut world = World::new(&[]);
    world.logs(vec![record("first")]);

    for (millis, expected) in [(999, 0), (1_000, 1), (9_000, 1)] {
        world.failures.overdue(world.now + Duration::from_millis(millis));
        world.take();
        assert_eq!(world.items.len(), expected, "after {millis} ms");
    }
    let items = world.finish();
    assert_eq!(items[0]["body"]["message"]["body"], "GET / 500");
    assert_eq!(items[0]["custom"]["request_id"], "first");
}

#[test]
fn a_log_record_without_an_exception_is_none_of_the_chain() {
    let mut world = World::new(&[]);
    world.on_invoke("first");
    world.logs(vec![record("first")]);
    world.spans(vec![server("first")]);

    let items = world.finish();

    assert_eq!(items.len(), 1);
    assert_eq!(items[0]["body"]["trace"]["exception"]["class"], "StoreError");
    assert_eq!(items[0]["custom"]["failures"], Value::Null, "it is but one");
}

#[test]
fn a_sandbox_that_ends_ends_its_invocation() {
    let mut world = World::new(&[]);
    world.on_invoke("first");
    let attempt = world.attempt("first");
    world.failures.ended_with_sandbox(attempt, "timeout".to_owned(), now());

    let items = world.finish();

    assert_eq!(items[0]["body"]["trace"]["exception"]["class"], "Timeout");
    assert_eq!(items.len(), 1);
}

#[test]
fn an_error_record_without_a_trace_is_its_invocations_whenever_it_comes() {
    let stray = LogRecord { trace_id: Vec::new(), attributes: Vec::new(), ..record("") };
    let unnamed = Span { attributes: Vec::new(), ..server("first") };
    for spans in [server("first"), unnamed] {
        for record_is_first in [true, false] {
            let mut world = World::new(&[]);
            world.on_invoke("first");
            if record_is_first {
                world.logs(vec![stray.clone()]);
            }
            world.spans(vec![spans.clone()]);
            if !record_is_first {
                world.logs(vec![stray.clone()]);
            }
            world.step(&Step::Done, "first");
            let items = world.finish();
            assert_eq!(items.len(), 1, "{record_is_first}: {items:#?}");
            assert_eq!(items[0]["body"]["trace"]["exception"]["class"], "StoreError");
        }
    }
}
