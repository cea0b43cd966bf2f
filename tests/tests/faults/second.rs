//! Rows whose fault is a second backend beside a healthy Honeycomb.

use std::time::Duration;

use cruddur_tests::{Answer, Exit, Honeycomb};

use super::outcome::Outcome;
use super::rig::{Rig, assert_only_the_first_is_held};

#[tokio::test]
async fn a_second_backend_that_answers_after_ten_seconds() {
    let backend = Honeycomb::without_key().await;
    backend.always(Answer::late(Duration::from_secs(10)));
    beside("a second backend, 10 s late", &backend.url()).await;
}

#[tokio::test]
async fn a_second_backend_that_never_answers() {
    let backend = Honeycomb::without_key().await;
    backend.always(Answer::Hang);
    beside("a second backend that never answers", &backend.url()).await;
}

#[tokio::test]
async fn a_second_backend_that_refuses_connections() {
    beside("a second backend, connection refused", &Honeycomb::refused()).await;
}

/// Honeycomb has everything once, and the spool has what the second backend lacks.
async fn beside(title: &str, url: &str) {
    let rig = Rig::start_with(title, |builder| builder.env("CRUDDUR_OTLP_ENDPOINT", url)).await;

    rig.invoke(3).await;
    let ended = rig.sandbox.shutdown().await;

    assert_eq!(ended.extension, Some(Exit::Code(0)), "{}", rig.sandbox.story());
    // A request without an answer counts as not stored: it is sent again.
    let second = Outcome::of(title, &rig.load, ("otlp", Vec::new()), &rig.sandbox);
    let outcome = rig.outcome();
    outcome.assert_delivered_once();
    outcome.assert_the_sums_are_right();
    assert_only_the_first_is_held(&outcome);
    second.assert_spooled();
    second.assert_the_sums_are_right();
}
