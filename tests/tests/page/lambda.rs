//! The page beside a function on Lambda, where it has to be named, and platform events come.

use cruddur_tests::{Event, Sandbox, eventually, http_client};
use serde_json::{Value, json};

use crate::puppet::echo;

#[tokio::test]
async fn on_lambda_there_is_no_page_unless_it_is_named() {
    let sandbox = Sandbox::builder("echo").function(echo()).freezing(false).start().await;

    let reply = http_client::get(&sandbox.otlp_url(), &[]).await.expect("an answer");

    assert_eq!(reply.status, 404);
}

#[tokio::test]
async fn platform_events_are_spans_of_the_trace_and_lines_of_the_function_belong_to_it() {
    let sandbox = Sandbox::builder("home-activities")
        .env("CRUDDUR_EXPORTERS", "page")
        .demo_store()
        .freezing(false)
        .start()
        .await;
    let home: Event = cruddur_tests::event("home-activities");

    let reply = sandbox.invoke(home).await;
    sandbox.ended(&reply.request_id).await;
    // INVOKE of the next one reads what is left of the first.
    sandbox.invoke(cruddur_tests::event("home-activities")).await;

    let id = reply.root_trace_id().expect("a trace");
    let url = format!("{}/api/traces/{id}", sandbox.otlp_url());
    let ask = || async { http_client::get(&url, &[]).await.expect("an answer").json() };
    let platform = |trace: &Value| -> Vec<String> {
        let spans = trace["spans"].as_array().into_iter().flatten();
        spans.filter_map(|span| span["platform"].as_str().map(str::to_owned)).collect()
    };
    let is_complete = |trace: &Value| {
        ["init", "overhead", "report"]
            .iter()
            .all(|part| platform(trace).iter().any(|it| it == part))
            && trace["lines"].as_array().is_some_and(|lines| !lines.is_empty())
    };
    let trace = eventually(ask, is_complete).await;
    assert!(is_complete(&trace), "{trace:#}\n{}", sandbox.story());
    assert_eq!(trace["summary"]["cold"], json!(true));
    assert_eq!(trace["summary"]["request_id"], json!(reply.request_id));
    let own = trace["lines"].as_array().expect("lines").iter();
    assert!(own.clone().all(|line| line["request_id"] == json!(reply.request_id)), "{trace:#}");
}
