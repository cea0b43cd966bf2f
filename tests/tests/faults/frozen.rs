//! Rows in which a freeze stops the network as well, as it does on Lambda.

use std::time::Duration;

use cruddur_tests::{Answer, Freeze};
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::time::sleep;

use super::rig::Rig;

/// A freeze that the extension notices is longer than a second.
const LONG_FREEZE: Duration = Duration::from_secs(2);

const FREEZES: [(&str, Freeze); 4] = [
    ("answers wait", Freeze::RequestArrives),
    ("requests wait", Freeze::RequestWaits),
    ("reset", Freeze::Reset),
    ("silent", Freeze::Silent),
];

/// Sparse and steady traffic in each kind of freeze. In the first half of it, the destination answers so.
async fn sparse_and_steady(trouble: &str, answer: Answer) {
    let mut rows = Vec::new();
    for (name, freeze) in FREEZES {
        let row = |traffic| format!("{traffic}, {trouble}, frozen: {name}");
        rows.push(sparse(row("sparse"), freeze, answer.clone()).boxed());
        rows.push(steady(row("steady"), freeze, answer.clone()).boxed());
    }
    join_all(rows).await;
}

/// Few invocations with a freeze after each.
async fn sparse(title: String, freeze: Freeze, answer: Answer) {
    let rig = start(title, freeze, answer).await;
    for invocation in 0..4 {
        if invocation == 2 {
            rig.honeycomb.always(Answer::Proper);
        }
        rig.invoke(1).await;
        sleep(LONG_FREEZE).await;
    }
    rig.end().await.assert_delivered();
}

/// Many invocations in a row, most of which end without a hold, then a freeze.
async fn steady(title: String, freeze: Freeze, answer: Answer) {
    let rig = start(title, freeze, answer).await;
    rig.invoke(20).await;
    rig.honeycomb.always(Answer::Proper);
    rig.invoke(20).await;
    sleep(LONG_FREEZE).await;
    rig.invoke(1).await;
    rig.end().await.assert_delivered();
}

async fn start(title: String, freeze: Freeze, answer: Answer) -> Rig {
    let rig = Rig::start_with(title, |builder| builder.env("CRUDDUR_HOLD_BANK_MS", "100")).await;
    rig.network.on_freeze(freeze);
    rig.honeycomb.always(answer);
    rig
}

#[tokio::test]
async fn a_freeze_stops_the_network_before_a_healthy_destination() {
    sparse_and_steady("healthy", Answer::Proper).await;
}

#[tokio::test]
async fn a_freeze_stops_the_network_before_a_destination_that_refuses() {
    sparse_and_steady("503 at first", Answer::status(503)).await;
}

#[tokio::test]
async fn a_freeze_stops_the_network_before_a_destination_that_does_not_answer() {
    sparse_and_steady("no answer at first", Answer::Hang).await;
}

#[tokio::test]
async fn a_destination_slower_than_the_saved_time_gets_what_steady_traffic_brings() {
    let rig = Rig::start_with("slower than the saved time", |builder| {
        builder.env("CRUDDUR_HOLD_BANK_MS", "50")
    })
    .await;
    rig.honeycomb.always(Answer::late(Duration::from_millis(700)));

    for _ in 0..40 {
        rig.invoke(1).await;
        sleep(Duration::from_millis(150)).await; // too long for busy traffic
    }
    let before_shutdown = rig.honeycomb.spans().len();
    let outcome = rig.end().await;

    assert!(before_shutdown * 2 > outcome.sent(), "{before_shutdown}\n{}", outcome.story);
    assert_eq!(outcome.lost(), 0, "{}", outcome.story);
}
