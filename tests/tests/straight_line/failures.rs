//! What is told of a request that fails: a panic, a handler that does not end, a store that refuses.

use std::time::Duration;

use cruddur_tests::otlp::{STATUS_ERROR, Span};
use cruddur_tests::proxy::error;
use cruddur_tests::{Honeycomb, Sandbox, Store, event, raw_event};
use serde_json::{Value, json};

/// The function's test-only faults; a deployed build has none.
const FAULT: &str = "x-cruddur-fault";

#[tokio::test]
async fn a_panicking_request_is_a_500_with_the_exception_in_its_trace_and_the_next_one_is_fine() {
    let honeycomb = Honeycomb::start().await;
    let sandbox =
        Sandbox::builder("home-activities").honeycomb(&honeycomb).demo_store().start().await;

    let failed = sandbox.invoke(event("home-activities").header(FAULT, "panic")).await;
    let next = sandbox.invoke(event("home-activities")).await;
    let server = honeycomb.server_span(&failed.request_id).await;
    let after = honeycomb.server_span(&next.request_id).await;

    assert_eq!((failed.status, &failed.json), (500, &json!(["generic_500"])));
    let message = assert_is_an_error(&server, "Panic", "500");
    assert!(message.contains("a header asked for it"), "{message}");
    assert!(
        message.contains("functions/src/runtime/faults.rs:"),
        "the place of the panic: {message}"
    );
    let first = first_frame(&server);
    assert!(
        first.contains("functions/src/runtime/faults.rs") || first.contains("cruddur::"),
        "{first}"
    );
    let line = line_of(&sandbox, &failed.request_id).await;
    assert_eq!((&line["level"], &line["status"]), (&json!("ERROR"), &json!(500)));
    assert_eq!(line["error"], message);
    assert_eq!(line["trace_id"], server.trace_id.as_str());

    assert_eq!(next.status, 200, "{}", next.body);
    assert_eq!((after.status, after.events.len()), (0, 0));
    assert_all_lines_are_json(&sandbox);
}

#[tokio::test]
async fn a_handler_that_does_not_end_is_cut_off_in_time_for_its_trace() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = Sandbox::builder("home-activities")
        .honeycomb(&honeycomb)
        .demo_store()
        .function_timeout(Duration::from_secs(3))
        .start()
        .await;

    let failed = sandbox.invoke(event("home-activities").header(FAULT, "hang")).await;
    let next = sandbox.invoke(event("home-activities")).await;
    let server = honeycomb.server_span(&failed.request_id).await;

    assert_eq!((failed.status, &failed.json), (503, &json!(["timed_out"])));
    assert_is_an_error(&server, "TimedOut", "503");
    let line = line_of(&sandbox, &failed.request_id).await;
    assert_eq!((&line["level"], &line["status"]), (&json!("ERROR"), &json!(503)));
    assert_eq!(next.status, 200, "{}", next.body);
}

#[tokio::test]
async fn a_store_that_refuses_is_an_exception_of_the_request_and_an_error_of_the_call() {
    let honeycomb = Honeycomb::start().await;
    let (direct, store, proxy) = Store::with_and_without_proxy().await;
    direct.seed();
    let sandbox = Sandbox::builder("user-short").honeycomb(&honeycomb).store(&store).start().await;
    proxy.next_answer("BatchGetItem", error(400, "AccessDeniedException"));

    let failed = sandbox.invoke(event("user-short")).await;
    let server = honeycomb.server_span(&failed.request_id).await;

    assert_eq!((failed.status, &failed.json), (500, &json!(["generic_500"])));
    let message = assert_is_an_error(&server, "StoreError", "500");
    assert!(message.contains("AccessDeniedException"), "{message}");
    let stack = server.event_attribute("exception", "exception.stacktrace");
    assert!(stack.as_str().unwrap().contains("user_short"), "{stack}");
    let trace = honeycomb.trace(&server.trace_id);
    let call = trace.iter().find(|span| span.name == "DynamoDB.BatchGetItem").unwrap();
    assert_eq!(call.status, STATUS_ERROR);
    assert_eq!(call.attribute("error.type"), "engine");
    assert_eq!(call.attribute("db.response.status_code"), "AccessDeniedException");
}

#[tokio::test]
async fn what_a_library_panics_about_is_no_text_beside_the_lines() {
    let sandbox = Sandbox::builder("health-check").without_extension().start().await;

    let mut odd = event("health-check").payload().clone();
    odd["rawQueryString"] = json!("a b");
    let refused = sandbox.invoke(raw_event(odd)).await;
    let line = line_of(&sandbox, &refused.request_id).await;

    assert_eq!((refused.status, &refused.json), (400, &json!(["malformed_event"])));
    assert_eq!(line["level"], "WARN");
    assert_all_lines_are_json(&sandbox);
}

/// Gives the exception's message.
fn assert_is_an_error(server: &Span, exception: &str, error_type: &str) -> String {
    assert_eq!(server.status, STATUS_ERROR, "{server:#?}");
    assert_eq!(server.attribute("error.type"), error_type);
    assert_eq!(server.events, ["exception"]);
    assert_eq!(server.event_attribute("exception", "exception.type"), exception);
    let message = server.event_attribute("exception", "exception.message");
    message.as_str().expect("a message").to_owned()
}

fn first_frame(server: &Span) -> String {
    let stack = server.event_attribute("exception", "exception.stacktrace");
    let stack = stack.as_str().unwrap_or_else(|| panic!("no stack trace: {server:#?}"));
    stack.lines().take(2).collect()
}

async fn line_of(sandbox: &Sandbox, request_id: &str) -> Value {
    let line = sandbox.function_log(request_id).await;
    // The only line of such a request, and the one that says how it ended.
    assert!(line["duration_ms"].is_number(), "{line}");
    line
}

fn assert_all_lines_are_json(sandbox: &Sandbox) {
    for line in sandbox.function_log_lines() {
        assert!(serde_json::from_str::<Value>(&line).is_ok(), "no JSON: {line}");
    }
}
