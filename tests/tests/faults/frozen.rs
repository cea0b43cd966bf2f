//! Rows in which a freeze stops the network as well, as it does on Lambda.

use std::time::Duration;

use cruddur_tests::{Answer, Freeze};
use tokio::time::sleep;

use super::rig::Rig;

/// A freeze that the extension notices is longer than a second.
const LONG_FREEZE: Duration = Duration::from_secs(2);

/// Few invocations with a freeze after each, then many in a row.
async fn sparse_and_steady(title: &'static str, freeze: Freeze) {
    let rig = Rig::start_with(title, |builder| {
        // In steady traffic most invocations end without a flush.
        builder.env("CRUDDUR_HOLD_BANK_MS", "100")
    })
    .await;
    rig.network.on_freeze(freeze);

    for _ in 0..4 {
        rig.invoke(1).await;
        sleep(LONG_FREEZE).await;
    }
    rig.invoke(40).await;
    sleep(LONG_FREEZE).await;
    rig.invoke(1).await;
    let outcome = rig.end().await;

    outcome.assert_delivered();
}

#[tokio::test]
async fn a_freeze_holds_answers_back() {
    sparse_and_steady("frozen, answers wait", Freeze::RequestArrives).await;
}

#[tokio::test]
async fn a_freeze_holds_requests_and_answers_back() {
    sparse_and_steady("frozen, requests wait", Freeze::RequestWaits).await;
}

#[tokio::test]
async fn connections_are_reset_at_each_thaw() {
    sparse_and_steady("frozen, then reset", Freeze::Reset).await;
}

#[tokio::test]
async fn connections_are_silent_after_each_thaw() {
    sparse_and_steady("frozen, then silent", Freeze::Silent).await;
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
