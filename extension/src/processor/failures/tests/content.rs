//! The content of items.

use proptest::prelude::*;

use super::*;
use crate::otlp::line_codec::LinePayloads;

#[test]
fn what_only_the_platform_tells_of_has_what_the_function_said_of_itself_before() {
    let mut world = World::new(&[]);
    world.on_invoke("first");
    world.spans(vec![Span { events: Vec::new(), ..server("first") }]);
    world.on_invoke("second");
    world.step(&Step::Report, "second");

    let items = world.finish();

    let item = &items[0];
    assert_eq!((&item["language"], &item["code_version"]), (&json!("rust"), &json!("1.2.3")));
    assert_eq!((items.len(), &item["custom"]["cold_start"]), (1, &json!(false)));
}

#[test]
fn the_trace_of_an_item_is_what_the_spans_say_and_no_loggers_word() {
    for trace_id in ["1-5759e988-bd862e3fe1be46a994272793", "", &"a".repeat(32)] {
        let mut world = World::new(&[]);
        world.on_invoke("first");
        let line =
            json!({ "level": "ERROR", "message": "x", "requestId": "first", "trace_id": trace_id });
        world.event("function", line);
        world.spans(vec![server("first")]);

        let items = world.finish();

        assert_eq!(items[0]["custom"]["trace_id"], ROOT, "{trace_id}");
    }
}

#[test]
fn a_clients_address_is_nowhere_in_an_item_unless_it_may_be_sent() {
    for (how, expected) in [("true", true), ("anonymize", false), ("false", false)] {
        let mut world = World::new(&[("ROLLBAR_CAPTURE_IP", how)]);
        world.on_invoke("first");
        let mut span = server("first");
        for (key, value) in [
            ("http.request.method", "GET"),
            ("client.address", "203.0.113.9"),
            ("http.request.header.x-forwarded-for", "203.0.113.9, 70.41.3.18"),
            ("http.request.header.forwarded", "for=203.0.113.9"),
        ] {
            span.attributes.push(attribute(key, value));
        }
        span.events[0].attributes.push(attribute("exception.message", "no 203.0.113.9"));
        world.event("function", json!("203.0.113.9 - - GET / 500"));
        world.event(
            "function",
            json!({ "level": "INFO", "message": "198.51.100.7 GET /", "client_address": "198.51.100.7" }),
        );
        world.spans(vec![span]);

        let items = world.finish();

        let text = items[0].to_string();
        for address in ["203.0.113.9", "198.51.100.7", "70.41.3.18"] {
            assert_eq!(text.contains(address), expected, "{how} {address}: {text}");
        }
        assert_eq!(items[0]["body"]["telemetry"].as_array().map(Vec::len), Some(3));
    }
}

#[test]
fn every_text_of_an_item_is_scrubbed() {
    for secret in [
        "https://x/?token=s3cret",
        "connect failed: password=s3cret",
        r#"refused: {"password":"s3cret"}"#,
        "Authorization: Bearer s3cret",
        "postgres://u:s3cret@h/db",
    ] {
        let mut thrown = exception(secret);
        thrown.attributes.push(attribute("exception.message", secret));
        let stack = format!("X: y\n    at f ({secret}:1:1)");
        thrown.attributes.push(attribute("exception.stacktrace", &stack));
        let texts = [("body", secret), ("more", secret), ("pw", "s3cret")];
        let attributes = texts.map(|(key, text)| attribute(key, text)).into();
        let name = "rollbar.message".to_owned();
        let message = span::Event { name, attributes, ..span::Event::default() };
        let place = Span { name: secret.to_owned(), events: vec![exception("A")], ..plain(2) };
        let body = attribute("", secret).value;
        let mut world = World::new(&[]);
        world.on_invoke("first");
        world.logs(vec![LogRecord { body, severity_number: 9, ..record("first") }]);
        world.event("function", json!(secret));
        world.spans(vec![place, Span { events: vec![thrown, message], ..server("first") }]);

        let items = world.finish();

        assert_eq!(items.len(), 2);
        assert!(!json!(items).to_string().contains("s3cret"), "{items:#?}");
    }
}

#[test]
fn the_frames_of_a_backtrace_are_in_the_order_of_the_calls() {
    let stack = "   4: cruddur::inner\n   9: cruddur::outer\n   2: jiff::innermost\n  12: main";
    let mut span = server("first");
    span.events[0].attributes.push(attribute("exception.stacktrace", stack));
    let mut world = World::new(&[]);
    world.on_invoke("first");
    world.spans(vec![span]);

    let items = world.finish();

    let frames = items[0]["body"]["trace"]["frames"].as_array().unwrap();
    let methods: Vec<_> = frames.iter().map(|frame| &frame["method"]).collect();
    assert_eq!(methods, ["main", "cruddur::outer", "cruddur::inner", "jiff::innermost"]);
}

#[test]
fn a_long_line_is_cut() {
    let mut world = World::new(&[]);
    world.on_invoke("first");
    world.event("function", json!(format!("[INFO] {}", "é".repeat(5_000))));
    world.spans(vec![server("first")]);

    let items = world.finish();

    let lines = items[0]["body"]["telemetry"].as_array().unwrap();
    let message = lines[1]["body"]["message"].as_str().unwrap();
    assert_eq!(message.chars().count(), 4_096, "{lines:?}");
}

#[test]
fn an_item_is_trimmed_below_the_limit_whatever_it_holds() {
    let huge = "\u{1}".repeat(5_000); // six bytes each as JSON
    let mut span = Span { name: huge.clone(), events: Vec::new(), ..server("first") };
    span.attributes.push(attribute("http.request.method", &"G".repeat(5_000)));
    for key in [
        "http.route",
        "url.path",
        "url.query",
        "app.user_id",
        "app.user_handle",
        "faas.name",
        "faas.version",
        "faas.instance",
        "service.version",
        "service.name",
        "telemetry.sdk.language",
        "server.address",
        "client.address",
    ] {
        span.attributes.push(attribute(key, &huge));
    }
    for n in 0..10 {
        let mut thrown = exception(&format!("{n}{huge}"));
        let stack = format!("    at {huge} ({huge}:1:1)\n").repeat(3);
        thrown.attributes.push(attribute("exception.message", &huge));
        thrown.attributes.push(attribute("exception.stacktrace", &stack));
        span.events.push(thrown);
    }
    let more = (0..100).map(|n| attribute(&format!("{n}{huge}"), &huge)).collect();
    span.events.push(span::Event {
        name: "rollbar.message".into(),
        attributes: more,
        ..exception("")
    });
    let mut world = World::new(&[]);
    world.on_invoke("first");
    (0..20).for_each(|_| world.event("function", json!(huge)));
    world.spans(vec![span]); // looked at there

    assert_eq!(world.finish().len(), 2);
}

#[test]
fn the_outermost_exception_comes_first_and_none_twice() {
    let mut world = World::new(&[]);
    world.on_invoke("first");
    let outer = Span { events: vec![exception("Timeout")], ..plain(3) };
    world.spans(vec![child(), outer, server("first")]);

    let items = world.finish();

    let chain = items[0]["body"]["trace_chain"].as_array().unwrap();
    let classes: Vec<_> = chain.iter().map(|trace| &trace["exception"]["class"]).collect();
    assert_eq!(classes, ["StoreError", "Timeout"]);
}

#[test]
fn a_traceback_in_a_line_says_more_than_the_platform() {
    let mut world = World::new(&[]);
    world.on_invoke("first");
    let line = "[ERROR] ValueError: bad\rTraceback (most recent call last):\r  File \"/var/task/a.py\", line 3, in f\n";
    world.event("function", json!(line));
    world.step(&Step::Done, "first");

    let items = world.finish();

    assert_eq!(items.len(), 1);
    assert_eq!(items[0]["body"]["trace"]["exception"]["class"], "ValueError");
    assert_eq!(items[0]["level"], "critical");
    assert_eq!(items[0]["custom"]["platform_error"], "Runtime.OutOfMemory");
    let lines = items[0]["body"]["telemetry"].as_array().unwrap();
    assert!(lines[1]["body"]["message"].as_str().unwrap().contains("ValueError"), "{lines:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_logged_makes_items_that_rollbar_takes(
        texts in prop::collection::vec(any::<String>(), 1..5),
        key in "message|error|stack|stackTrace|errorType|trace_id|requestId|level|severity",
        level in "ERROR|FATAL|50|INFO",
    ) {
        let mut world = World::new(&[]);
        world.on_invoke("first");
        for text in texts {
            let line = json!({ "level": level, key.clone(): text }).to_string();
            let mut signals = LinePayloads::default();
            signals.push(crate::otlp::line_codec::LogLine { time_ms: -1, json: &line }, true);
            world.failures.lines(&signals.finish(), now());
            world.failures.report_ended(now());
        }
        world.finish();
    }
}

/// The only item of an invocation whose server span has an exception with this stack.
fn item_of_stack(class: &str, message: &str, stack: &str) -> Value {
    let mut thrown = exception(class);
    thrown.attributes.push(attribute("exception.message", message));
    thrown.attributes.push(attribute("exception.stacktrace", stack));
    let mut world = World::new(&[]);
    world.on_invoke("first");
    world.spans(vec![Span { events: vec![thrown], ..server("first") }]);
    let mut items = world.finish();
    assert_eq!(items.len(), 1);
    items.swap_remove(0)
}

#[test]
fn causes_in_a_stack_become_a_chain_with_frames_of_their_own() {
    let stack = "app.Outer: no order\n\tat app.A.b(A.java:12)\nCaused by: java.io.IOException: disk\n\t\
                 at app.E.f(E.java:3)\n\t... 1 more\n";

    let item = item_of_stack("app.Outer", "no order", stack);

    let chain = item["body"]["trace_chain"].as_array().unwrap();
    let found: Vec<_> = chain
        .iter()
        .map(|trace| {
            (
                &trace["exception"]["class"],
                &trace["exception"]["message"],
                &trace["frames"][0]["filename"],
            )
        })
        .collect();
    let expected = [
        (&json!("app.Outer"), &json!("no order"), &json!("A.java")),
        (&json!("java.io.IOException"), &json!("disk"), &json!("E.java")),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_stack_of_an_unknown_form_is_the_description_of_its_exception() {
    let item = item_of_stack("E", "x", "E: x\n ~~> somewhere");

    let trace = &item["body"]["trace"];
    let expected = json!({"class": "E", "message": "x", "description": "E: x\n ~~> somewhere"});
    assert_eq!(trace["exception"], expected);
    assert_eq!(trace["frames"].as_array().map(Vec::len), Some(1));
}

#[test]
fn an_event_without_a_time_has_the_end_of_its_span_and_a_record_has_the_time_of_its_arrival() {
    let end_seconds = 1_700_000_000;
    let events = vec![span::Event { time_unix_nano: 0, ..exception("A") }];
    let end_time_unix_nano = end_seconds * 1_000_000_000;
    let mut world = World::new(&[]);
    world.spans(vec![Span { events, end_time_unix_nano, trace_id: vec![7; 16], ..plain(2) }]);
    world.logs(vec![LogRecord { severity_number: 17, ..LogRecord::default() }]);

    let items = world.finish();

    let times: Vec<_> = items.iter().map(|item| item["timestamp"].as_u64().unwrap()).collect();
    assert_eq!(times, [end_seconds, 1_800_000_000], "{items:#?}");
}

#[test]
fn a_record_without_a_body_is_its_event_and_a_severity_text_counts_without_a_number() {
    let failed = LogRecord {
        event_name: "payment.failed".to_owned(),
        severity_text: "Error".to_owned(),
        ..LogRecord::default()
    };
    let warned = LogRecord { severity_text: "warn".to_owned(), ..failed.clone() };
    let mut world = World::new(&[]);
    world.logs(vec![failed, warned]);

    let items = world.finish();

    assert_eq!((items.len(), &items[0]["level"]), (1, &json!("error")));
    assert_eq!(items[0]["body"]["message"]["body"], "payment.failed");
}

#[test]
fn what_a_page_sends_is_no_failure_of_the_function() {
    let mut world = World::new(&[]);
    world.on_invoke("first");
    let source = attribute("cruddur.source", "page");
    world.spans_of(vec![source], vec![child()]);
    world.step(&Step::Next, "");

    assert!(world.finish().is_empty());
}
