//! Raw posts that are read long after they arrived, and by the next process.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::*;
use crate::otlp::{failure_codec, line_codec};
use crate::test_clock::cpu_time;

fn receive(processor: &Processor, events: &[Value]) -> Vec<u8> {
    let events: Vec<_> = events.iter().map(|event| Cow::Owned(event.to_string())).collect();
    let (derived, post) = processor.receive_post(&events, SystemTime::now());
    processor.record(derived);
    post.unwrap().bytes.to_vec()
}

fn at(second: u64, kind: &str, record: Value) -> Value {
    json!({"time": format!("2026-01-01T00:00:{second:02}Z"), "type": kind, "record": record})
}

/// The message and the request id of each line.
fn lines(payloads: &[Payload]) -> Vec<(String, Value)> {
    let lines = payloads.iter().filter(|payload| payload.kind == SignalKind::Lines);
    let lines = lines.flat_map(|payload| line_codec::read(&payload.bytes));
    let line = |line: line_codec::LogLine<'_>| {
        let line: Value = serde_json::from_str(line.json).unwrap();
        (line["message"].as_str().unwrap().to_owned(), line["requestId"].clone())
    };
    lines.map(line).filter(|(message, _)| message.starts_with("ERROR: ")).collect()
}

fn items(payloads: &[Payload]) -> Vec<Value> {
    let items = payloads.iter().filter(|payload| payload.kind == SignalKind::Failures);
    let items = items.flat_map(|payload| failure_codec::read(&payload.bytes));
    items.map(|line| serde_json::from_str(line.json).unwrap()).collect()
}

fn line(second: u64, text: &str) -> Value {
    at(second, "function", format!("ERROR: {text}").into())
}

fn start(second: u64, request_id: &str) -> Value {
    at(second, "platform.start", json!({ "requestId": request_id }))
}

fn end(second: u64, kind: &str, request_id: &str, error_type: &str) -> Value {
    let record = json!({"requestId": request_id, "status": "error", "errorType": error_type});
    at(second, kind, record)
}

#[tokio::test]
async fn lines_belong_to_the_invocation_that_ran_when_they_arrived() {
    let processor = with_reporter();
    let mut posts = receive(&processor, &[line(1, "init")]);
    processor.on_invoke(&invoke("a"));
    posts.extend(receive(&processor, &[start(2, "a"), line(3, "of a")]));
    processor.on_invoke(&invoke("b"));
    posts.extend(receive(&processor, &[line(4, "late of a"), start(5, "b"), line(6, "of b")]));

    let read = processor.read_posts(&posts);

    let expected = [
        ("ERROR: init", json!(null)),
        ("ERROR: of a", json!("a")),
        ("ERROR: late of a", json!("a")),
        ("ERROR: of b", json!("b")),
    ];
    assert_eq!(lines(&read.payloads), expected.map(|(text, id)| (text.to_owned(), id)));
    assert_eq!(read.events, 6);
}

#[tokio::test]
async fn a_failure_has_the_cause_of_a_report_that_is_read_with_it() {
    let processor = with_reporter();
    processor.expect_end_events();
    let (attempt, _) = processor.on_invoke(&invoke("a"));
    let exit = end(3, "platform.runtimeDone", "a", "Runtime.ExitError");
    let mut posts = receive(&processor, &[start(1, "a"), line(2, "dies"), exit]);
    posts.extend(receive(&processor, &[end(4, "platform.report", "a", "Runtime.OutOfMemory")]));
    assert!(!processor.has_evidence(), "the posts are raw");

    let mut payloads = processor.read_posts(&posts).payloads;

    payloads.extend(processor.conclude(attempt));
    let items = items(&payloads);
    assert_eq!(items.len(), 1, "{items:#?}");
    assert_eq!(items[0]["data"]["custom"]["platform_error"], "Runtime.OutOfMemory");
    assert!(items[0]["data"]["body"]["telemetry"].to_string().contains("dies"));
}

#[tokio::test]
async fn posts_of_a_killed_process_belong_to_the_invocations_that_they_name() {
    let killed = with_reporter();
    killed.on_invoke(&invoke("a"));
    receive(&killed, &[start(1, "a")]); // was read before the kill
    let mut posts = receive(&killed, &[line(2, "of a")]);
    let failed = end(4, "platform.runtimeDone", "b", "Runtime.Unknown");
    posts.extend(receive(&killed, &[start(3, "b"), line(4, "of b"), failed]));
    let next = with_reporter();
    next.expect_end_events();
    next.on_invoke(&invoke("c"));
    posts.extend(receive(&next, &[start(5, "c"), line(6, "of c")]));

    let mut payloads = next.read_posts(&posts).payloads;

    let expected = ["a", "b", "c"].map(|id| (format!("ERROR: of {id}"), json!(id)));
    assert_eq!(lines(&payloads), expected);
    payloads.extend(next.last_failures());
    let of_b = items(&payloads)
        .into_iter()
        .filter(|item| item["data"]["custom"]["platform_error"] == "Runtime.Unknown");
    let of_b: Vec<_> = of_b.map(|item| item["data"]["body"]["telemetry"].to_string()).collect();
    assert_eq!(of_b.len(), 1);
    assert!(of_b[0].contains("of b") && !of_b[0].contains("of c"), "{of_b:?}");
}

/// `cargo test --release --package cruddur-telemetry --lib what_a_posted_line_costs -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn what_a_posted_line_costs() {
    const POSTS: u32 = 100;
    let processor = with_reporter();
    processor.on_invoke(&invoke("a"));
    receive(&processor, &[start(1, "a")]);
    let record = json!({"timestamp": "2026-01-01T00:00:02.123Z", "level": "INFO", "requestId": "a",
        "message": "203.0.113.57 GET https /api/activities/home 200 OK", "service": "home",
        "trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331"});
    let line = at(2, "function", record).to_string();
    let events = vec![Cow::Borrowed(line.as_str()); 1_000];

    let began = cpu_time();
    let receive = |_| processor.receive_post(&events, SystemTime::now()).1.unwrap();
    let posts: Vec<_> = (0..POSTS).map(receive).collect();
    let received = cpu_time() - began;
    let lines: u64 = posts.iter().map(|post| processor.read_posts(&post.bytes).events).sum();
    let read = cpu_time() - began - received;

    assert_eq!(lines, u64::from(POSTS) * 1_000);
    eprintln!("a line: {:?} received, {:?} read", received / POSTS / 1_000, read / POSTS / 1_000);
}
