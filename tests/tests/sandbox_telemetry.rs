//! The sandbox's Telemetry API, with a subscriber played by the test.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cruddur_tests::{Answer, EXTENSION, Honeycomb, Program, Sandbox, What, raw_event};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::puppet::{Puppet, echo, script, subscription};

/// An extension that subscribes at this listener, and then only takes events.
fn subscriber(listener: &Arc<Honeycomb>, types: &'static [&'static str]) -> Program {
    let listener = listener.clone();
    Program::task(move |variables| {
        let listener = listener.clone();
        async move {
            let puppet = subscribed(&variables, &listener, types).await;
            while puppet.next().await["eventType"] != "SHUTDOWN" {}
        }
    })
}

/// The same, but it gives Next back only when the platform has told it of the invocation's end.
///
/// Without that the environment freezes before its telemetry's buffer is sent, as in Lambda.
fn patient_subscriber(listener: &Arc<Honeycomb>) -> Program {
    let listener = listener.clone();
    Program::task(move |variables| {
        let listener = listener.clone();
        async move {
            let puppet = subscribed(&variables, &listener, &["platform"]).await;
            for invocations in 1.. {
                let event = puppet.next().await;
                if event["eventType"] == "SHUTDOWN" {
                    return arrived(&listener, "platform.report", invocations - 1).await;
                }
                arrived(&listener, "platform.runtimeDone", invocations).await;
            }
        }
    })
}

async fn subscribed(
    variables: &BTreeMap<String, String>,
    listener: &Honeycomb,
    types: &[&str],
) -> Puppet {
    let puppet = Puppet::register(variables, EXTENSION, &["INVOKE", "SHUTDOWN"]).await;
    let answer = puppet.subscribe(&listener.url(), types).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (200, json!("OK")));
    puppet
}

/// A server that takes everything, and what it got.
async fn listener() -> Arc<Honeycomb> {
    let listener = Honeycomb::without_key().await;
    listener.always(Answer::status(200));
    Arc::new(listener)
}

/// Waits for so many events of a type.
async fn arrived(listener: &Honeycomb, wanted: &str, count: usize) {
    let mut requests = 0;
    while types(&events(listener)).iter().filter(|kind| **kind == wanted).count() < count {
        requests += 1;
        listener.requests_reach(requests).await;
    }
}

fn events(listener: &Honeycomb) -> Vec<Value> {
    let batches = listener.requests().into_iter().filter(|batch| batch.status == Some(200));
    let parse = |body: &[u8]| serde_json::from_slice::<Vec<Value>>(body).expect("a JSON array");
    batches.flat_map(|batch| parse(&batch.body)).collect()
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["type"].as_str()).collect()
}

#[tokio::test]
async fn an_invocation_is_told_in_order_and_its_report_comes_with_the_next_one() {
    let listener = listener().await;
    let extension = patient_subscriber(&listener);
    let sandbox =
        Sandbox::builder("echo").function(echo()).extension(EXTENSION, extension).start().await;

    let first = sandbox.invoke(raw_event(json!({}))).await;
    sandbox.ended(&first.request_id).await;
    let before = events(&listener);
    let second = sandbox.invoke(raw_event(json!({}))).await;
    sandbox.ended(&second.request_id).await;
    sandbox.shutdown().await;

    let is_report = |event: &&Value| event["type"] == "platform.report";
    assert_eq!(before.iter().filter(is_report).count(), 0);
    let mut all = events(&listener);
    // The runtime starts while the extension subscribes: either may be first.
    let subscription = |event: &Value| event["type"] == "platform.telemetrySubscription";
    assert_eq!(all.extract_if(.., |event| subscription(event)).count(), 1);
    let expected = [
        "platform.initStart",
        "platform.initRuntimeDone",
        "platform.extension",
        "platform.initReport",
        "platform.start",
        "platform.runtimeDone",
        "platform.report",
        "platform.start",
        "platform.runtimeDone",
        "platform.report",
    ];
    assert_eq!(types(&all), expected);
    let done = &all[5]["record"];
    assert_eq!(done["requestId"], first.request_id.as_str());
    let spans = done["spans"].as_array().expect("spans").iter().map(|span| &span["name"]);
    assert!(spans.eq(["responseLatency", "responseDuration", "runtimeOverhead"]));
    assert!(all[6]["record"]["metrics"]["initDurationMs"].is_number());
    assert!(all[9]["record"]["metrics"]["initDurationMs"].is_null());
}

#[tokio::test]
async fn a_listener_that_never_answers_delays_no_invocation() {
    let listener = listener().await;
    listener.always(Answer::Hang);
    let extension = {
        let listener = listener.clone();
        Program::task(move |variables| {
            let listener = listener.clone();
            async move {
                let puppet = subscribed(&variables, &listener, &["platform"]).await;
                loop {
                    puppet.next().await;
                    listener.requests_reach(1).await;
                }
            }
        })
    };
    let sandbox =
        Sandbox::builder("echo").function(echo()).extension(EXTENSION, extension).start().await;

    let first = sandbox.invoke(raw_event(json!({}))).await;
    let second = sandbox.invoke(raw_event(json!({}))).await;

    let bound = Duration::from_secs(1); // an answer is waited for longer than this
    assert!(first.latency < bound && second.latency < bound);
}

#[tokio::test]
async fn a_refused_batch_is_sent_again() {
    let listener = listener().await;
    listener.next_answer(Answer::status(500));
    let extension = patient_subscriber(&listener);
    let sandbox =
        Sandbox::builder("echo").function(echo()).extension(EXTENSION, extension).start().await;

    sandbox.invoke(raw_event(json!({}))).await;
    let requests = listener.requests_reach(2).await;

    assert_eq!(requests[0].body, requests[1].body);
    assert_eq!(requests[0].status, Some(500));
}

#[tokio::test]
async fn output_becomes_log_events_objects_if_they_are_json() {
    let listener = listener().await;
    let extension = subscriber(&listener, &["function"]);
    let script = script("echo '{\"level\":\"INFO\"}'; echo plain; echo error >&2; sleep 60");
    let sandbox =
        Sandbox::builder("script").function(script.program.clone()).extension(EXTENSION, extension);

    let sandbox = sandbox.launch().await;
    let got = listener.requests_reach(1).await;

    assert!(!got.is_empty());
    sandbox.happens("a delivery", |what| matches!(what, What::Delivered { .. })).await;
    let records: Vec<Value> =
        events(&listener).iter().map(|event| event["record"].clone()).collect();
    assert!(records.contains(&json!({ "level": "INFO" })), "{records:?}");
    assert!(records.contains(&json!("plain")), "{records:?}");
}

#[tokio::test]
async fn a_full_buffer_is_sent_before_its_time() {
    let listener = listener().await;
    let mut long = subscription(&listener.url(), &["function"]);
    long["buffering"]["timeoutMs"] = json!(30_000); // longer than any test waits
    let extension = Program::task(move |variables| {
        let long = long.clone();
        async move {
            let puppet = Puppet::register(&variables, EXTENSION, &[]).await;
            puppet.put_subscription(long).await;
            puppet.next().await;
        }
    });
    let script = script("seq 1 1500; sleep 60");
    let builder = Sandbox::builder("script").function(script.program.clone());

    let _sandbox = builder.extension(EXTENSION, extension).launch().await;
    listener.requests_reach(1).await;

    assert_eq!(events(&listener).len(), 1000);
}

#[tokio::test]
async fn a_subscription_that_lambda_would_refuse_is_refused() {
    let (answers, mut seen) = mpsc::unbounded_channel();
    let extension = Program::task(move |variables| {
        let answers = answers.clone();
        async move {
            let puppet = Puppet::register(&variables, EXTENSION, &["INVOKE"]).await;
            let good = subscription("http://x:4000", &["platform"]);
            let wrong = [
                ("/schemaVersion", json!("2020-08-15")),
                ("/types", json!([])),
                ("/types", json!(["kernel"])),
                ("/buffering/timeoutMs", json!(0)),
                ("/buffering/maxItems", json!(10_001)),
                ("/destination/URI", json!("http://127.0.0.1:4000/")),
                ("/destination/URI", json!("http://sandbox.localdomain/")),
            ];
            for (at, value) in wrong {
                let mut body = good.clone();
                *body.pointer_mut(at).expect("a field") = value;
                let status = puppet.put_subscription(body).await.status.as_u16();
                answers.send(status).expect("a listening test");
            }
            puppet.next().await;
            let late = puppet.put_subscription(good).await.status.as_u16();
            answers.send(late).expect("a listening test");
            puppet.next().await;
        }
    });
    let sandbox =
        Sandbox::builder("echo").function(echo()).extension(EXTENSION, extension).start().await;

    sandbox.invoke(raw_event(json!({}))).await;
    let mut statuses = Vec::new();
    for _ in 0..8 {
        statuses.push(seen.recv().await.expect("a status"));
    }

    assert_eq!(statuses, [400, 400, 400, 400, 400, 400, 400, 403]);
}
