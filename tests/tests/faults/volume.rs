//! Rows whose fault is too much of a good thing.

use std::time::Duration;

use cruddur_tests::http_client::post;
use cruddur_tests::{Builder, Burst, otlp};

use super::rig::Rig;

#[tokio::test]
async fn twenty_thousand_spans_in_one_invocation() {
    // A debug build on a busy machine takes longer for them than other rows let Next wait.
    let patient = |builder: Builder| builder.env("CRUDDUR_MAX_HOLD_MS", "9000");
    let mut rig = Rig::start_with("20,000 spans in one invocation", patient).await;
    rig.max_hold = Duration::from_secs(9);

    rig.invoke_with(Burst { requests: 200, spans: 100, clients: 4, ..Burst::SMALL }).await;
    assert_eq!(rig.load.not_taken(), 0);
    let outcome = rig.end().await;

    assert_eq!(outcome.sent(), 20_001);
    outcome.assert_delivered_once();
}

#[tokio::test]
async fn two_hundred_clients_at_once() {
    let rig = Rig::start("200 parallel clients").await;

    rig.invoke_with(Burst { requests: 400, spans: 5, clients: 200, ..Burst::SMALL }).await;
    assert_eq!(rig.load.not_taken(), 0);
    let outcome = rig.end().await;

    assert_eq!(outcome.sent(), 2_001);
    outcome.assert_delivered_once();
}

#[tokio::test]
async fn more_than_the_buffer_holds_while_nobody_takes_anything() {
    let rig = Rig::start_with("more than the buffer holds, nobody takes it", |builder| {
        builder.env("CRUDDUR_BUFFER_BYTES", "300000")
    })
    .await;
    rig.honeycomb.always(cruddur_tests::Answer::status(503));

    rig.invoke_with(Burst { requests: 50, spans: 100, clients: 4, ..Burst::SMALL }).await;
    assert_eq!(rig.load.not_taken(), 0);
    let outcome = rig.end().await;

    outcome.assert_spooled();
}

#[tokio::test]
async fn a_span_that_is_larger_than_any_batch() {
    let rig =
        Rig::start_with("a span of 5 MB among others", |builder| builder.freezing(false)).await;
    let name = "x".repeat(5_200_000);

    let url = format!("{}/v1/traces", rig.sandbox.otlp_url());
    let protobuf = [("content-type", "application/x-protobuf")];
    let names = ["before", &name, "after"];
    let taken = post(&url, &protobuf, otlp::request(&names)).await.expect("an answer");
    assert_eq!(taken.status, 200);
    rig.invoke(1).await;
    for name in names {
        rig.honeycomb.span(name).await;
    }
    let outcome = rig.end().await;

    outcome.assert_delivered_once();
}
