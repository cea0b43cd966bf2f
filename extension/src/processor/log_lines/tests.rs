mod attribution;
mod levels;
mod measure;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;
use serde_json::{Value, json};
use trace_context::{SpanId, TraceId};

use super::*;
use crate::config::Config;
use crate::invocation::attempt::SpanParent;
use crate::invocation::registry::Registry;
use crate::lambda::extensions_api::Invoke;
use crate::lambda::telemetry_event::{PlatformEvent, RawEvent};
use crate::otlp::line_codec::{LinePayloads, MAX_LINE_BYTES};
use crate::otlp::payload::Payload;

const XRAY: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
const XRAY_TRACE: &str = "1-5759e988-bd862e3fe1be46a994272793";

struct Rig {
    registry: Registry,
    enricher: LineEnricher,
}

impl Rig {
    fn invoked(&mut self, invoke: &Invoke, now: SystemTime) {
        self.registry.on_invoke(invoke, now);
    }

    fn unreported(&self) -> Option<String> {
        let last = self.registry.get(self.registry.last_without_metrics()?)?;
        Some(last.request_id.to_string())
    }

    /// Takes one POST.
    fn take(&mut self, events: &[RawEvent<'_>]) -> Vec<Payload> {
        let mut lines = LinePayloads::default();
        for event in events {
            let attempt = self.registry.on_platform_event(&PlatformEvent::read(event));
            self.enricher.add_line(event, attempt, self.registry.line_owner(), &mut lines);
        }
        lines.finish()
    }
}

fn lines() -> Rig {
    let variable = |name: &str| match name {
        "AWS_LAMBDA_FUNCTION_NAME" => Some("home".to_owned()),
        "CRUDDUR_SCRUB" => Some("pin".to_owned()),
        _ => None,
    };
    let (settings, registry) = (Config::from_vars(variable).0.line_settings(), Registry::default());
    Rig { enricher: LineEnricher::new(settings, registry.clone()), registry }
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

/// Takes one POST of `(type, record)`, all of one time.
fn take(lines: &mut Rig, events: &[(&str, Value)]) -> Vec<Value> {
    let event = |(kind, record): &(&str, Value)| json!({ "time": "2023-11-14T22:13:20.123Z", "type": kind, "record": record });
    let json = events.iter().map(event).collect::<Value>().to_string();
    let events = RawEvent::read_all(&json, now()).unwrap();
    let signals = lines.take(&events);
    let read = |signal: &Payload| -> Vec<Value> {
        assert_eq!(crate::otlp::line_codec::read(&signal.bytes).count() as u64, signal.items);
        crate::otlp::line_codec::read(&signal.bytes)
            .map(|line| serde_json::from_str(line.json).unwrap())
            .collect()
    };
    signals.iter().flat_map(read).collect()
}

fn started(lines: &mut Rig, request_id: &str) {
    let start = json!({"requestId": request_id, "version": "7", "tracing": {"type": "X-Amzn-Trace-Id", "value": XRAY}});
    take(lines, &[("platform.start", start)]);
}

fn function(lines: &mut Rig, record: Value) -> Value {
    take(lines, &[("function", record)]).remove(0)
}

#[test]
fn a_line_keeps_its_fields_and_learns_what_the_platform_knows() {
    let mut lines = lines();
    let init = json!({"initializationType": "on-demand", "phase": "init", "functionVersion": "7"});
    take(&mut lines, &[("platform.initStart", init)]);
    started(&mut lines, "a");

    let own = json!({"level": "INFO", "message": "hi", "n": 1.50, "trace_id": "t", "span_id": "s"});
    let line = function(&mut lines, own);

    let lambda = json!({"function": "home", "version": "7", "coldStart": true,
        "initializationType": "on-demand", "phase": "invoke"});
    let expected = json!({"level": "INFO", "message": "hi", "n": 1.5, "trace_id": "t",
        "span_id": "s", "requestId": "a", "xray_trace_id": XRAY_TRACE, "lambda": lambda});
    assert_eq!(line, expected);
}

#[test]
fn text_that_is_an_object_is_one_and_all_other_text_is_a_message() {
    let mut lines = lines();

    assert_eq!(function(&mut lines, json!("{\"message\":\"json\"}\n"))["message"], "json");
    for text in ["plain", "[1]", "{broken", "a\nb", "", "\u{0}\u{7}\u{fffd}", "null"] {
        let line = function(&mut lines, json!(text));

        assert_eq!(line["message"], *text);
        assert_eq!(line["timestamp"], "2023-11-14T22:13:20.123Z");
        assert_eq!(line["level"], Value::Null);
    }
    let coloured = "\u{1b}[31mERROR\u{1b}[0m in red\n";
    let line = function(&mut lines, json!(coloured));
    assert_eq!((&line["message"], &line["level"]), (&json!("ERROR in red"), &json!("ERROR")));
}

#[test]
fn half_a_surrogate_costs_nobody_a_line() {
    let json = r#"[{"type":"function","record":"\ud800"},{"type":"function","record":"next"}]"#;
    let events = RawEvent::read_all(json, now()).unwrap();

    let signals = lines().take(&events);

    assert_eq!(signals.iter().map(|signal| signal.items).sum::<u64>(), 2);
}

fn invoke(request_id: &str) -> Invoke {
    let json = format!(r#"{{"requestId":"{request_id}","tracing":{{"value":"{XRAY}"}}}}"#);
    serde_json::from_str(&json).unwrap()
}

fn report(lines: &mut Rig, request_id: &str) -> Value {
    let report = json!({"requestId": request_id, "status": "success"});
    take(lines, &[("platform.report", report)]).remove(0)
}

/// The lines at the end of the sandbox.
fn shut_down(lines: &mut Rig, reason: &str) -> Vec<Value> {
    let shutdown = serde_json::from_str(&format!(r#"{{"shutdownReason":"{reason}"}}"#)).unwrap();
    let signals = lines.enricher.shut_down(&shutdown, now());
    let read = |signal: &Payload| -> Vec<Value> {
        crate::otlp::line_codec::read(&signal.bytes)
            .map(|line| serde_json::from_str(line.json).unwrap())
            .collect()
    };
    signals.iter().flat_map(read).collect()
}

#[test]
fn a_line_without_trace_ids_gets_the_server_spans_or_those_of_an_earlier_line() {
    let mut lines = lines();
    started(&mut lines, "a");
    let first = "1af7651916cd43dd8448eb211c80319c";
    for own in ["no id", first, "2af7651916cd43dd8448eb211c80319c"] {
        assert_eq!(function(&mut lines, json!({"trace_id": own}))["trace_id"], own);
    }
    assert_eq!(function(&mut lines, json!("plain"))["trace_id"], first);
    let empty = function(&mut lines, json!({"trace_id": null, "span_id": "", "a": null}));
    assert_eq!((&empty["trace_id"], &empty["span_id"]), (&json!(first), &Value::Null));
    assert!(empty.get("span_id").is_none() && empty.get("a").is_some());

    let hex = "0af7651916cd43dd8448eb211c80319c";
    let attempt = lines.registry.line_owner().at(now()).unwrap();
    let (trace_id, span_id) = (TraceId::from_hex(hex), SpanId::from_hex("b7ad6b7169203331"));
    let server = SpanParent {
        trace_id: trace_id.unwrap(),
        span_id: span_id.unwrap(),
        is_sampled: true,
        filtered_at: Default::default(),
    };
    lines.registry.set_root(attempt, server);
    let line = function(&mut lines, json!("plain"));

    assert_eq!((&line["trace_id"], &line["span_id"]), (&json!(hex), &json!("b7ad6b7169203331")));
    let own = json!({"span_id": "own", "trace_id": null});
    let line = function(&mut lines, own);
    assert_eq!((&line["trace_id"], &line["span_id"]), (&json!(hex), &json!("own")));
}

#[test]
fn a_platform_record_is_a_sentence_and_all_that_it_said() {
    let mut lines = lines();
    started(&mut lines, "a");
    let report = json!({"requestId": "a", "status": "timeout", "metrics": {"durationMs": 3000.0,
        "billedDurationMs": 3000, "memorySizeMB": 128, "maxMemoryUsedMB": 64}});

    let line = take(&mut lines, &[("platform.report", report.clone())]).remove(0);

    assert_eq!(line["message"], "Report: timeout, 3000 ms, billed 3000 ms, 64 of 128 MB");
    assert_eq!(line["level"], "ERROR");
    assert_eq!((&line["type"], &line["record"]), (&json!("platform.report"), &report));
    assert_eq!(line["requestId"], "a");
}

/// Checks a line against the published schema, and that all it names is there.
pub(crate) fn assert_is_emf(line: &Value) {
    let schema: Value =
        serde_json::from_str(include_str!("../../../../tests/schemas/emf.json")).unwrap();
    jsonschema::validate(&schema, line).unwrap();
    for directive in line["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
        assert_eq!(directive["Namespace"], "Cruddur");
        for metric in directive["Metrics"].as_array().unwrap() {
            assert!(line[metric["Name"].as_str().unwrap()].is_number(), "{metric} of {line}");
        }
        for name in directive["Dimensions"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|set| set.as_array().unwrap())
        {
            assert!(line[name.as_str().unwrap()].is_string(), "{name} of {line}");
        }
    }
}

#[test]
fn a_report_carries_the_metrics_of_its_invocation_once() {
    let mut lines = lines();
    started(&mut lines, "a");
    let report = json!({"requestId": "a", "status": "timeout", "metrics": {"durationMs": 3000.5,
        "billedDurationMs": 3001, "memorySizeMB": 128, "maxMemoryUsedMB": 64, "initDurationMs": 5}});

    let first = take(&mut lines, &[("platform.report", report.clone())]).remove(0);
    let again = take(&mut lines, &[("platform.report", report)]).remove(0);

    assert_is_emf(&first);
    let figures = [
        "Invocations",
        "ColdStarts",
        "Errors",
        "Timeouts",
        "Duration",
        "BilledDuration",
        "MemorySize",
        "MaxMemoryUsed",
        "InitDuration",
    ]
    .map(|name| first[name].clone());
    assert_eq!(
        figures.to_vec(),
        [
            json!(1),
            json!(1),
            json!(1),
            json!(1),
            json!(3000.5),
            json!(3001),
            json!(128),
            json!(64),
            json!(5)
        ]
    );
    assert_eq!(first["Function"], "home");
    assert_is_emf(&again);
    assert_eq!((&again["Invocations"], &again["Duration"]), (&Value::Null, &json!(3000.5)));
}

#[test]
fn an_access_line_carries_its_routes_metrics_and_routes_are_bounded() {
    let mut lines = lines();
    let access =
        |route: &str| json!({"method": "GET", "route": route, "status": 404, "duration_ms": 1.25});

    let line = function(&mut lines, access("/api/{key}"));

    assert_is_emf(&line);
    let shown = ["Route", "StatusClass", "Requests", "Latency"].map(|name| line[name].clone());
    assert_eq!(shown, [json!("GET /api/{key}"), json!("4xx"), json!(1), json!(1.25)]);
    let mut routes = std::collections::HashSet::new();
    for number in 0..1_000 {
        routes.insert(function(&mut lines, access(&format!("/r{number}")))["Route"].to_string());
    }
    assert!((50..100).contains(&routes.len()) && routes.contains("\"other\""), "{routes:?}");
    for path in ["/a/17", "/a/0af76519-16cd-43dd-8448-eb211c80319c/b", "17"] {
        assert_eq!(
            function(&mut crate::processor::log_lines::tests::lines(), access(path))["Route"],
            "other",
            "{path}"
        );
    }
    let own = json!({"method": "GET", "route": "/", "status": 200, "duration_ms": 1, "Route": "x"});
    let line = function(&mut lines, own);
    assert_eq!((&line["Route"], &line["_aws"]), (&json!("x"), &Value::Null));
}

#[test]
fn unknown_platform_records_and_odd_ones_are_lines_too() {
    for record in [json!(null), json!("text"), json!([1]), json!({"requestId": 7, "metrics": "?"})]
    {
        for kind in
            ["platform.new", "platform.start", "platform.report", "platform.logsDropped", ""]
        {
            let line = take(&mut lines(), &[(kind, record.clone())]).remove(0);

            assert_eq!((&line["type"], &line["record"]), (&json!(kind), &record));
        }
    }
}

#[test]
fn the_extensions_own_lines_do_not_come_back() {
    assert!(take(&mut lines(), &[("extension", json!("ours"))]).is_empty());
}

#[test]
fn secrets_are_masked_in_fields_and_in_texts() {
    let mut lines = lines();

    let line = function(&mut lines, json!({"headers": {"Authorization": "Bearer x"}, "pin": 1}));
    assert_eq!((&line["headers"], &line["pin"]), (&json!({"Authorization": "***"}), &json!("***")));
    for (text, masked) in [
        ("GET /?token=x", "GET /?token=***"),
        (r#"[{"password":"x"}]"#, r#"[{"password":"***"}]"#),
        ("{\"a\":1}\n{\"password\":\"x\"}", "{\"a\":1}\n{\"password\":\"***\"}"),
    ] {
        assert_eq!(function(&mut lines, json!(text))["message"], masked);
    }
}

#[test]
fn a_line_that_is_too_long_is_cut_with_a_mark() {
    let mut lines = lines();
    started(&mut lines, "a");
    let five_megabytes = "\"é".repeat(5_000_000 / 3);
    for (record, length) in [
        (json!(five_megabytes), five_megabytes.len()),
        (json!({"level": "ERROR", "message": five_megabytes}), 0),
    ] {
        let line = function(&mut lines, record);

        let json_length = line.to_string().len();
        assert!((MAX_LINE_BYTES - 128..=MAX_LINE_BYTES).contains(&json_length), "{json_length}");
        assert!(line["cut_from_bytes"].as_u64().unwrap() >= length as u64);
        assert_eq!(line["requestId"], "a");
    }
}

#[test]
fn a_cut_line_keeps_its_place_and_what_is_left_out_is_marked() {
    let mut lines = lines();
    started(&mut lines, "a");
    started(&mut lines, "b");
    let long = "x".repeat(2_000_000);

    let level = "l".repeat(33);
    let line = function(&mut lines, json!({"requestId": "a", "level": level, "m": long}));
    assert_eq!((&line["requestId"], &line["level"]), (&json!("a"), &Value::Null));
    let record = json!({"requestId": "b", "odd": long});
    let length = record.to_string().len();
    let line = take(&mut lines, &[("platform.odd", record)]).remove(0);
    assert_eq!((&line["record"], &line["cut_from_bytes"]), (&Value::Null, &json!(length)));
    assert_eq!(line["requestId"], "b");
}

#[test]
fn errors_get_signals_of_their_own_unless_they_are_few() {
    let mut lines = lines();
    let event = |number: usize| {
        let level = if number / 100 % 2 == 1 { "error" } else { "info" };
        ("function", json!({"level": level, "number": number}))
    };
    let events: Vec<_> = (0..400).map(event).collect();
    let json = events
        .iter()
        .map(|(kind, record)| json!({"type": kind, "record": record}))
        .collect::<Value>()
        .to_string();

    let signals = lines.take(&RawEvent::read_all(&json, now()).unwrap());

    let shown: Vec<_> = signals.iter().map(|signal| (signal.items, signal.has_error)).collect();
    assert_eq!(shown, [(100, false), (100, true), (100, false), (100, true)]);
}

proptest! {
    #[test]
    fn whatever_comes_is_as_many_lines_of_json_as_there_were_events(
        records in prop::collection::vec((0..3_usize, any::<String>(), any::<bool>()), 0..20),
    ) {
        let kinds = ["function", "platform.start", "platform.report"];
        let event = |(kind, text, is_object): &(usize, String, bool)| {
            let record = if *is_object { json!({"requestId": text, text: text}) } else { json!(text) };
            (kinds[*kind], record)
        };
        let events: Vec<_> = records.iter().map(event).collect();

        prop_assert_eq!(take(&mut lines(), &events).len(), events.len());
    }
}
