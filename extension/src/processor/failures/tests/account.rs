//! How many items there are, and how much is yet to be one.

use super::*;
use crate::processor::failures::evidence::{EXIT, Evidence};

#[test]
fn a_failure_that_was_told_before_its_request_hides_no_other_in_the_trace() {
    let mut world = World::new(&[]);
    world.spans(vec![child()]);
    for request_id in ["first", "second", "second"] {
        world.spans(vec![server(request_id)]);
    }

    let ids: Vec<_> =
        world.finish().iter().map(|item| item["custom"]["request_id"].clone()).collect();

    assert_eq!(ids, [Value::Null, json!("second")], "the first was already reported");
}

#[test]
fn what_is_gathered_or_folded_is_counted_until_it_is_made() {
    let mut world = World::new(&[]);
    world.on_invoke("first");
    let message = span::Event { name: "rollbar.message".to_owned(), ..span::Event::default() };
    world.spans(vec![Span { events: vec![exception("A"), message.clone()], ..plain(2) }]);
    assert_eq!(world.failures.pending_count(), 2);
    world.spans(vec![Span { events: vec![message; 60], ..plain(3) }]);
    assert_eq!(world.failures.pending_count(), 1 + 61);
    world.step(&Step::Done, "first");
    assert_eq!(world.items.len(), 1 + 5, "the failure, and single ones of a kind of message");
    assert_eq!(world.failures.pending_count(), 61 - 5);

    world.now += rate_limit::INTERVAL;
    world.on_invoke("second");

    assert_eq!((world.items.len(), world.failures.pending_count()), (7, 0), "nobody else came by");
    let items = world.finish();
    assert_eq!((&items[6]["custom"]["occurrences"], items.len()), (&json!(61 - 5), 7));
}

#[test]
fn of_thousands_of_errors_few_are_kept_and_all_are_counted() {
    let mut world = World::new(&[]);
    world.on_invoke("first");
    let twice = Span { events: vec![exception("A"), exception("B")], ..plain(3) };
    world.spans(vec![twice; 10_000]);
    let kept: usize = world.failures.evidence.strays.iter().map(|stray| stray.failures.len()).sum();
    assert_eq!((kept, world.failures.evidence.strays.len()), (10, 1));
    world.spans(vec![server("first")]);

    let items = world.finish();

    assert_eq!((items.len(), &items[0]["custom"]["failures"]), (1, &json!(20_001)));
    let classes = items[0]["body"]["trace_chain"].as_array().unwrap().iter();
    let classes: Vec<_> = classes.map(|trace| &trace["exception"]["class"]).collect();
    assert_eq!(classes[0], "StoreError", "that of the server span");
}

#[test]
fn a_report_may_know_why_a_process_ended() {
    for is_reported in [true, false] {
        let mut world = World::new(&[]);
        world.on_invoke("first");
        let exit = json!({ "requestId": "first", "status": "error", "errorType": EXIT });
        world.event("platform.runtimeDone", exit);
        let attempt = world.attempt("first");
        world.failures.conclude(attempt, world.now);
        world.take();
        assert_eq!((world.items.len(), world.failures.pending_count()), (0, 1), "it may yet come");
        world.step(if is_reported { &Step::Report } else { &Step::Next }, "first");
        assert_eq!(world.items.len(), 1);

        let items = world.finish();

        let class = if is_reported { "OutOfMemory" } else { EXIT };
        assert_eq!(items[0]["body"]["trace"]["exception"]["class"], class);
        assert_eq!((items.len(), &items[0]["custom"]["cold_start"]), (1, &json!(true)));
    }
}

#[test]
fn without_platform_events_ended_invocations_are_forgotten() {
    let mut world = World::new(&[]);
    for number in 0..2_000 {
        let invoke = json!({ "requestId": format!("r{number}") });
        let invoke = serde_json::from_value(invoke).unwrap();
        let attempt = world.registry.on_invoke(&invoke, world.now);
        world.failures.on_invoke(attempt, world.now);
    }

    assert!(
        world.failures.evidence.attempts.len() < 20,
        "{}",
        world.failures.evidence.attempts.len()
    );
}

/// An error of an invocation that no attribute names.
fn unnamed() -> LogRecord {
    LogRecord { attributes: Vec::new(), ..record("") }
}

#[test]
fn where_several_run_at_once_an_end_takes_no_evidence_of_another_trace() {
    let mut world = World::new(&[]);
    world.event("platform.start", json!({ "requestId": "fine" }));
    world.logs(vec![unnamed()]);
    world.event("platform.runtimeDone", json!({ "requestId": "fine", "status": "success" }));

    let items = world.finish();

    assert_eq!(items.len(), 1);
    assert_eq!(items[0]["custom"]["request_id"], Value::Null);
}

#[test]
fn an_evicted_invocation_is_reported_without_evidence_of_another() {
    let mut world = World::new(&[]);
    world.event("platform.start", json!({ "requestId": "evicted" }));
    world.event("platform.start", json!({ "requestId": "running" }));
    world.logs(vec![unnamed()]);
    let evicted = world.registry.get(world.attempt("evicted")).unwrap();
    world.failures.evict(&evicted, world.now);
    world.take();
    assert!(world.items.is_empty(), "the log record waits for its spans");

    world.spans(vec![server("running")]);

    let [item] = &world.items[..] else { panic!("{:#?}", world.items) };
    assert_eq!(item["data"]["custom"]["request_id"], "running");
}

#[test]
fn a_retried_event_that_fails_for_another_reason_is_another_failure() {
    let mut world = World::new(&[]);
    for reason in ["Runtime.OutOfMemory", "Runtime.ExitError"] {
        world.on_invoke("first");
        let record = json!({ "requestId": "first", "status": "error", "errorType": reason });
        world.event("platform.runtimeDone", record.clone());
        world.event("platform.report", record);
        world.now += Duration::from_secs(60);
    }

    let items = world.finish();

    let reasons: Vec<_> = items.iter().map(|item| &item["custom"]["platform_error"]).collect();
    assert_eq!(reasons, ["Runtime.OutOfMemory", "Runtime.ExitError"]);
    assert_ne!(items[0]["uuid"], items[1]["uuid"]);
}

#[test]
fn evidence_of_many_requests_stays_within_the_bytes_and_is_counted() {
    let mut world = World::new(&[("CRUDDUR_BUFFER_BYTES", "2000000")]);
    let long = "x".repeat(4_000);
    let message = span::Event {
        name: "rollbar.message".to_owned(),
        attributes: (0..100).map(|n| attribute(&format!("a{n}"), &long)).collect(),
        ..span::Event::default()
    };
    let mut thrown = exception("A");
    thrown.attributes.push(attribute("exception.stacktrace", &long.repeat(8)));
    for n in 1..=40 {
        let events = vec![message.clone(), message.clone(), thrown.clone()];
        world.spans(vec![Span { events, trace_id: vec![n; 16], ..plain(n) }]);

        let held: usize = world.failures.evidence.all().map(Evidence::bytes).sum();
        assert!(held <= 2_000_000 / 8, "{n}: {held} bytes");
    }

    let items = world.finish();

    let number = |item: &Value, key: &str| item["custom"][key].as_u64().unwrap_or(0);
    let messages = items.iter().filter(|item| item["body"]["message"].is_object());
    let messages = messages
        .map(|item| (1 + number(item, "further_messages")).max(number(item, "occurrences")));
    assert_eq!(messages.sum::<u64>(), 2 * 40);
}

#[test]
fn the_resources_of_evidence_are_within_the_bytes_too() {
    let mut world = World::new(&[("CRUDDUR_BUFFER_BYTES", "2000000")]);
    let long = "x".repeat(4_000);
    for n in 0..20 {
        let mut resource: Vec<_> =
            (0..10).map(|n| attribute(&format!("service.{n}"), &long)).collect();
        resource.push(attribute("service.name", "shop"));
        world.spans_of(resource, vec![server(&format!("r{n}"))]);

        let contexts = world.failures.evidence.all().filter_map(|it| it.context.as_ref());
        let held = contexts.flat_map(|it| it.facts.resource.values()).map(String::len);
        assert!(held.sum::<usize>() <= 2_000_000 / 8, "{n}");
        let services = world.failures.evidence.all().map(Evidence::service);
        assert!(services.into_iter().all(|name| name == "shop"));
    }
}
