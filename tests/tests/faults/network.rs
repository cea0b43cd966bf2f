//! Rows whose fault lies between the extension and Honeycomb.

use std::time::Duration;

use cruddur_tests::{Burst, Fault, Honeycomb};

use super::rig::{Rig, assert_only_the_first_is_held, start_with_fault};

/// So many bytes that no destination gets them in one piece.
const LARGE: Burst = Burst { requests: 10, spans: 100, clients: 1, ..Burst::SMALL };

#[tokio::test]
async fn nobody_listens() {
    let rig = Rig::start_with("refused", |builder| {
        builder.env("HONEYCOMB_API_ENDPOINT", &Honeycomb::refused())
    })
    .await;

    rig.invoke(3).await;
    let outcome = rig.end().await;

    outcome.assert_spooled();
    assert_only_the_first_is_held(&outcome);
    assert!(outcome.story.contains("refused"), "{}", outcome.story);
}

#[tokio::test]
async fn the_name_does_not_resolve() {
    let rig = Rig::start_with("DNS failure", |builder| {
        // RFC 6761: guaranteed not to exist.
        builder.env("HONEYCOMB_API_ENDPOINT", "http://honeycomb.invalid")
    })
    .await;

    rig.invoke(3).await;
    let outcome = rig.end().await;

    outcome.assert_spooled();
    assert_only_the_first_is_held(&outcome);
    assert!(outcome.story.contains("dns error"), "{}", outcome.story);
}

#[tokio::test]
async fn https_where_plain_http_is_spoken() {
    let plain = Honeycomb::start().await;
    let rig = Rig::start_with("TLS failure", |builder| {
        builder.env("HONEYCOMB_API_ENDPOINT", &plain.url().replace("http:", "https:"))
    })
    .await;

    rig.invoke(3).await;
    plain.connections_reach(1).await;
    let outcome = rig.end().await;

    outcome.assert_spooled();
    assert_only_the_first_is_held(&outcome);
    assert!(plain.requests().is_empty());
}

#[tokio::test]
async fn every_connection_is_reset_in_mid_body() {
    let rig = start_with_fault("reset in mid-body", Fault::ResetAfter(1_000)).await;

    rig.invoke_with(LARGE).await;
    rig.invoke(2).await;
    rig.network.strikes(1).await;
    let outcome = rig.end().await;

    outcome.assert_spooled();
    assert_only_the_first_is_held(&outcome);
}

#[tokio::test]
async fn a_reset_that_passes() {
    let rig = start_with_fault("reset in mid-body, then healthy", Fault::ResetAfter(1_000)).await;

    rig.invoke_with(LARGE).await;
    rig.network.strikes(1).await;
    rig.network.always(Fault::None);
    rig.invoke(2).await;
    let outcome = rig.end().await;

    outcome.assert_delivered_once();
}

#[tokio::test]
async fn answers_are_lost_after_the_spans_were_stored() {
    let rig = start_with_fault("stored, but the answer is lost", Fault::LoseAnswer).await;

    rig.invoke(1).await;
    rig.network.strikes(1).await;
    rig.network.always(Fault::None);
    rig.invoke(2).await;
    let outcome = rig.end().await;

    outcome.assert_delivered();
    assert_eq!(outcome.duplicated(), 13, "the first invocation's\n{}", outcome.story);
}

#[tokio::test]
async fn answers_come_byte_by_byte() {
    let slow = Fault::Drip(Duration::from_millis(50));
    let rig = start_with_fault("answered in a slow drip", slow).await;

    rig.invoke(3).await;
    rig.network.strikes(1).await;
    let outcome = rig.end().await;

    assert_eq!(outcome.lost(), 0, "{}", outcome.story);
    assert_only_the_first_is_held(&outcome);
}

#[tokio::test]
async fn one_of_two_destinations_is_a_black_hole() {
    let rig = Rig::start_with("one of two destinations is black-holed", |builder| {
        let builder = builder.env("CRUDDUR_EXPORTERS", "honeycomb,console");
        builder.env("CRUDDUR_CONSOLE", "waterfall")
    })
    .await;
    rig.honeycomb.always(cruddur_tests::Answer::Unread);
    let sent = rig.load.clone();

    rig.invoke(3).await;
    rig.honeycomb.connections_reach(1).await;
    let outcome = rig.end().await;

    outcome.assert_spooled();
    assert_only_the_first_is_held(&outcome);
    // Each span is named by its id, and the terminal has them all.
    assert!(sent.sent().iter().all(|name| outcome.story.contains(name)), "{}", outcome.story);
}
