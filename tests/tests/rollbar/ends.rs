//! Ends that only the platform sees, or only the next process.

use std::sync::Arc;
use std::time::Duration;

use cruddur_tests::http_client::post;
use cruddur_tests::{
    Answer, EXTENSION, Exit, FailureKind, Honeycomb, Party, Phase, Program, Rollbar, Sandbox, What,
    event, otlp, raw_event,
};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::other_language::{other_language, span, traces};
use super::{only_item, panicking, sandbox};
use crate::hostile::target::telemetry_listener;

#[tokio::test]
async fn a_timeout_is_one_item_in_the_trace_of_the_root_that_the_extension_made() {
    let (honeycomb, rollbar) = (Honeycomb::start().await, Rollbar::start().await);
    let builder = sandbox("home-activities", &honeycomb, &rollbar).freezing(false);
    let sandbox = builder.function_timeout(Duration::from_secs(2)).start().await;

    sandbox.stall_function();
    let error = sandbox.try_invoke(event("home-activities")).await.expect_err("a timeout");
    let next = sandbox.invoke(event("home-activities")).await;
    let item = only_item(&sandbox, &rollbar).await;

    assert_eq!((error.kind, next.status), (FailureKind::Timeout, 200));
    assert_is_of_the_platform(&item, "Timeout", &honeycomb).await;
}

/// The only item when the function is killed in an invocation, and the next one works again.
async fn item_of_a_kill(kill: impl Fn(&Sandbox), kind: FailureKind, class: &str) {
    let (honeycomb, rollbar) = (Honeycomb::start().await, Rollbar::start().await);
    let builder = sandbox("home-activities", &honeycomb, &rollbar).freezing(false);
    let sandbox = builder.start().await;

    sandbox.stall_function();
    let failing = sandbox.try_invoke(event("home-activities"));
    let killing = async {
        let begun = |what: &What| matches!(what, What::InvokeStarted { .. });
        sandbox.happens("an invocation", begun).await;
        kill(&sandbox);
    };
    let (outcome, ()) = tokio::join!(failing, killing);
    let next = sandbox.invoke(event("home-activities")).await;
    let item = only_item(&sandbox, &rollbar).await;

    assert_eq!(outcome.expect_err("a crash").kind, kind);
    assert_eq!(next.status, 200);
    assert_is_of_the_platform(&item, class, &honeycomb).await;
}

#[tokio::test]
async fn a_killed_function_is_one_item_in_the_trace_of_the_root_that_the_extension_made() {
    item_of_a_kill(Sandbox::kill_function, FailureKind::RuntimeExit, "Runtime.ExitError").await;
}

#[tokio::test]
async fn memory_that_ran_out_is_one_item_in_the_trace_of_the_root_that_the_extension_made() {
    item_of_a_kill(Sandbox::exhaust_memory, FailureKind::OutOfMemory, "OutOfMemory").await;
}

async fn assert_is_of_the_platform(item: &Value, class: &str, honeycomb: &Honeycomb) {
    assert_eq!(item["level"], "critical");
    assert_eq!(item["body"]["trace"]["exception"]["class"], class);
    let id = item["custom"]["request_id"].as_str().expect("a request id");
    let root = honeycomb.server_span(id).await;
    assert_eq!(item["custom"]["trace_id"], root.trace_id.as_str());
    assert_eq!(root.status, otlp::STATUS_ERROR);
}

#[tokio::test]
async fn an_init_that_fails_is_one_item() {
    let (honeycomb, rollbar) = (Honeycomb::start().await, Rollbar::start().await);
    let is_subscribed = Arc::new(Notify::new());
    let may_fail = Arc::clone(&is_subscribed);
    let function = Program::task(move |variables| {
        let may_fail = Arc::clone(&may_fail);
        async move {
            let base = format!("http://{}/2018-06-01/runtime", variables["AWS_LAMBDA_RUNTIME_API"]);
            let error = json!({ "errorType": "Function.NoTable", "errorMessage": "no table" });
            may_fail.notified().await;
            post(&format!("{base}/init/error"), &[], error.to_string()).await.expect("an answer");
        }
    });
    let builder = Sandbox::builder("shop").honeycomb(&honeycomb).rollbar(&rollbar);
    let sandbox = builder.function(function).launch().await;

    let subscribed = |what: &What| matches!(what, What::Subscribe { .. });
    sandbox.happens("the subscription", subscribed).await;
    is_subscribed.notify_one();
    sandbox.reaches(Phase::Off).await;
    let item = only_item(&sandbox, &rollbar).await;

    let said = item["body"]["trace"]["exception"]["message"].to_string();
    assert!(said.contains("The function's init failed: Runtime.InitError"), "{item:#}");
    assert_eq!((&item["level"], &item["custom"]["request_id"]), (&json!("critical"), &Value::Null));
}

#[tokio::test]
async fn what_the_platform_says_one_invocation_later_is_one_item_of_the_earlier_one() {
    let (honeycomb, rollbar) = (Honeycomb::start().await, Rollbar::start().await);
    let builder = sandbox("home-activities", &honeycomb, &rollbar).freezing(false);
    let sandbox = builder.start().await;
    let pid = sandbox.pid(Party::Extension(EXTENSION.to_owned())).await.expect("a process");
    let listener = format!("http://{}/", telemetry_listener(pid));

    let first = sandbox.invoke(event("home-activities")).await;
    sandbox.ended(&first.request_id).await;
    sandbox.invoke(event("home-activities")).await;
    for kind in ["platform.report", "platform.runtimeDone", "platform.report"] {
        let record = json!({
            "requestId": first.request_id, "status": "error", "errorType": "Runtime.OutOfMemory",
        });
        let event = json!({ "time": "2026-01-01T00:00:00.000Z", "type": kind, "record": record });
        post(&listener, &[], json!([event]).to_string()).await.expect("an answer");
    }
    let item = only_item(&sandbox, &rollbar).await;

    assert_eq!(item["custom"]["request_id"], first.request_id.as_str());
    assert_eq!(item["body"]["trace"]["exception"]["class"], "OutOfMemory");
    let server = honeycomb.server_span(&first.request_id).await;
    assert_eq!(item["custom"]["trace_id"], server.trace_id.as_str());
    assert_eq!(item["language"], "rust");
}

#[tokio::test]
async fn an_item_that_the_next_process_sends_from_the_spool_is_the_same() {
    let (honeycomb, rollbar) = (Honeycomb::start().await, Rollbar::start().await);
    let sandbox = sandbox("home-activities", &honeycomb, &rollbar).start().await;
    rollbar.always(Answer::Reset);
    let failed = sandbox.invoke(panicking()).await;
    sandbox.ended(&failed.request_id).await;
    rollbar.requests_reach(1).await;

    sandbox.kill_extension();
    let extension = Party::Extension(EXTENSION.to_owned());
    let exited = |what: &What| matches!(what, What::Exited(party, _) if *party == extension);
    sandbox.happens("the kill", exited).await;
    rollbar.always(Answer::Proper);
    sandbox.try_invoke(event("home-activities")).await.expect_err("a crash is found out");
    let next = sandbox.invoke(event("home-activities")).await;
    sandbox.ended(&next.request_id).await;
    sandbox.shutdown().await;

    let of_it = |item: &&Value| item["custom"]["request_id"] == failed.request_id.as_str();
    let items = rollbar.items();
    let found: Vec<_> = items.iter().filter(of_it).collect();
    let [item] = &found[..] else { panic!("{items:#?}\n{}", sandbox.story()) };
    let tried: Value = serde_json::from_slice(&rollbar.requests()[0].body).expect("an item");
    assert_eq!(item["uuid"], tried["data"]["uuid"]);
    assert_eq!(item["body"], tried["data"]["body"]);
}

#[tokio::test]
async fn a_failure_that_a_kill_takes_before_it_is_told_is_counted() {
    let (honeycomb, rollbar) = (Honeycomb::start().await, Rollbar::start().await);
    let builder = Sandbox::builder("shop").honeycomb(&honeycomb).rollbar(&rollbar);
    let builder = builder.function(other_language()).env("CRUDDUR_LOG", "info").freezing(false);
    let sandbox = builder.start().await;
    let nothing = || raw_event(json!({}));
    let reply = sandbox.invoke(nothing()).await;
    sandbox.ended(&reply.request_id).await;

    let exception = json!({ "exception.type": "X", "exception.message": "no" });
    let failed = traces(vec![span(2, 1, &json!({}), &[("exception", exception)])]);
    let url = format!("{}/v1/traces", sandbox.otlp_url());
    let body = failed.payload()["traces"].to_string();
    let taken = post(&url, &[("content-type", "application/json")], body).await;
    sandbox.kill_extension();
    let killed = |what: &What| matches!(what, What::Exited(_, Exit::Signal(9)));
    sandbox.happens("the kill", killed).await;
    sandbox.try_invoke(nothing()).await.expect_err("a crash");
    sandbox.invoke(nothing()).await;
    sandbox.shutdown().await;

    assert_eq!(taken.expect("an answer").status, 200);
    let lines = sandbox.extension_log_lines();
    let summary = lines.iter().filter_map(|line| line.split_once("Summary: ")).next_back();
    let summary: Value = serde_json::from_str(summary.expect("a summary").1).expect("JSON");
    let failures = &summary["destinations"]["rollbar"]["failures"];
    assert_eq!(failures["dropped"], json!({ "killed": 1 }), "{}", sandbox.story());
}
