//! The functions without the extension: what they reply, and when they post their spans.

use std::time::Duration;

use cruddur_tests::{Answer, Honeycomb, Sandbox, event, raw_event};
use serde_json::{Value, json};

#[tokio::test]
async fn the_health_check_says_success() {
    let sandbox = Sandbox::builder("health-check").without_extension().start().await;

    let reply = sandbox.invoke(event("health-check")).await;

    assert_eq!(reply.status, 200);
    assert_eq!(reply.json, json!({ "success": true, "ver": 1 }));
    assert_eq!(reply.headers.get("content-type").map(String::as_str), Some("application/json"));
}

#[tokio::test]
async fn spans_are_posted_after_the_reply_and_before_the_runtime_asks_for_more() {
    let receiver = Honeycomb::without_key().await;
    let sandbox = Sandbox::builder("home-activities")
        .without_extension()
        .otlp_endpoint(&receiver.url())
        .demo_store()
        .start()
        .await;

    let reply = sandbox.invoke(event("home-activities")).await;
    sandbox.ended(&reply.request_id).await;

    let requests = receiver.requests();
    assert_eq!(requests.len(), 1);
    let journal = sandbox.journal();
    let replied = journal.response(&reply.request_id).expect("a response");
    let next = journal.runtime_next(&reply.request_id).expect("a Next");
    assert!(replied < requests[0].arrived, "{journal:?}");
    assert!(requests[0].arrived < next, "{journal:?}");
}

#[tokio::test]
async fn a_receiver_that_hangs_delays_no_reply_and_the_next_invocation_by_little() {
    let receiver = Honeycomb::without_key().await;
    receiver.always(Answer::Hang);
    let sandbox = Sandbox::builder("home-activities")
        .without_extension()
        .otlp_endpoint(&receiver.url())
        .demo_store()
        .start()
        .await;

    let mut overheads = Vec::new();
    for _ in 0..3 {
        let reply = sandbox.invoke(event("home-activities")).await;
        sandbox.ended(&reply.request_id).await;
        assert_eq!(reply.status, 200);
        overheads.push(sandbox.journal().runtime_overhead(&reply.request_id).expect("a Next"));
    }

    // The first waits for an answer, within its limit; the others do not even ask.
    assert_eq!(receiver.requests().len(), 1);
    assert!(overheads[0] < Duration::from_secs(1), "{overheads:?}");
    assert!(overheads[1..].iter().all(|it| *it < Duration::from_millis(100)), "{overheads:?}");
}

#[tokio::test]
async fn with_nobody_to_take_spans_there_is_one_warning_and_no_delay() {
    let sandbox =
        Sandbox::builder("home-activities").without_extension().demo_store().start().await;

    let mut overheads = Vec::new();
    for _ in 0..4 {
        let reply = sandbox.invoke(event("home-activities")).await;
        assert_eq!(reply.status, 200);
        sandbox.ended(&reply.request_id).await;
        overheads.push(sandbox.journal().runtime_overhead(&reply.request_id).expect("a Next"));
    }
    sandbox.shutdown().await;

    let lines = sandbox.function_log_lines();
    let levels = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let warnings = levels.filter(|line| line["level"] == "WARN" || line["level"] == "ERROR");
    assert_eq!(warnings.count(), 1, "{lines:#?}");
    // A refused connection costs microseconds; the bound allows for a busy machine.
    assert!(overheads.iter().all(|time| *time < Duration::from_millis(100)), "{overheads:?}");
}

#[tokio::test]
async fn an_event_that_is_no_request_is_answered_400_and_the_next_one_is_fine() {
    let sandbox = Sandbox::builder("health-check").without_extension().start().await;
    let mut no_http = event("health-check").payload().clone();
    no_http["requestContext"].as_object_mut().expect("an object").remove("http");
    let rest_api = json!({
        "resource": "/api/health-check", "path": "/api/health-check", "httpMethod": "GET",
        "headers": { "Accept": "*/*" }, "multiValueHeaders": { "Accept": ["*/*"] },
        "requestContext": { "httpMethod": "GET", "path": "/api/health-check", "stage": "prod" },
        "body": null, "isBase64Encoded": false,
    });
    let strange = [
        json!({ "foo": 1 }),
        json!([]),
        json!("text"),
        json!(null),
        json!(7),
        json!({ "version": "2.0", "requestContext": "x" }),
        no_http,
        rest_api,
    ];

    for payload in strange {
        let refused = sandbox.invoke(raw_event(payload.clone())).await;
        let next = sandbox.invoke(event("health-check")).await;

        assert_eq!(refused.status, 400, "{payload}: {}", refused.body);
        let codes = refused.json.as_array().expect("an array");
        assert!(codes.len() == 1 && codes[0].is_string(), "{payload}: {}", refused.body);
        assert_eq!(next.status, 200);
    }
}

#[test]
fn a_program_that_a_person_starts_names_its_route_and_the_way_to_invoke_it_in_two_lines() {
    let started = std::process::Command::new(cruddur_tests::binaries().path("home-activities"))
        .env_remove("AWS_LAMBDA_RUNTIME_API")
        .output()
        .expect("the program starts");

    let said = String::from_utf8(started.stderr).expect("text");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(
        (started.status.code(), lines.len(), started.stdout.len()),
        (Some(2), 2, 0),
        "{said}"
    );
    assert!(lines[0].starts_with("home-activities answers GET /api/activities/home"), "{said}");
    let command =
        "cargo lambda invoke -A 127.0.0.1 home-activities --data-file events/home-activities.json";
    assert!(lines[1].ends_with(command), "{said}");
}
