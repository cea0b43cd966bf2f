//! Rows whose fault is what Honeycomb answers.

use std::time::{Duration, SystemTime};

use cruddur_tests::honeycomb::partial_success;
use cruddur_tests::{Answer, Burst};

use super::outcome::Outcome;
use super::rig::{MAX_HOLD, Rig, assert_only_the_first_is_held};

/// A request that Honeycomb refuses among good ones.
const POISONED: Burst = Burst { poisoned: true, ..Burst::SMALL };

#[tokio::test]
async fn healthy() {
    let rig = Rig::start("healthy").await;

    rig.invoke(3).await;
    let outcome = rig.end().await;

    outcome.assert_delivered_once();
}

#[tokio::test]
async fn healthy_in_busy_traffic() {
    let rig = Rig::start("healthy, busy traffic").await;
    rig.honeycomb.always(Answer::late(Duration::from_millis(50)));

    rig.invoke(30).await;
    let outcome = rig.end().await;

    outcome.assert_delivered_once();
}

#[tokio::test]
async fn every_request_is_answered_503() {
    let rig = Rig::start("503").await;
    rig.honeycomb.always(Answer::status(503));

    rig.invoke(3).await;
    assert_answered(&rig, 503);
    let outcome = rig.end().await;

    outcome.assert_spooled();
    assert_only_the_first_is_held(&outcome);
}

#[tokio::test]
async fn a_503_that_passes() {
    let rig = Rig::start("503, then healthy").await;
    rig.honeycomb.next_answer(Answer::status(503));

    rig.invoke(3).await;
    assert_answered(&rig, 503);
    let outcome = rig.end().await;

    outcome.assert_delivered_once();
}

#[tokio::test]
async fn a_rate_limit_that_names_seconds() {
    let rig = Rig::start("429 with Retry-After in seconds").await;
    rig.honeycomb.next_answer(Answer::retry_after(429, "30"));

    rig.invoke(3).await;
    let outcome = end_of_a_rate_limit(rig).await;

    outcome.assert_delivered_once();
    assert_only_the_first_is_held(&outcome);
}

#[tokio::test]
async fn a_rate_limit_that_names_a_date() {
    let rig = Rig::start("429 with Retry-After as a date").await;
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(30));
    rig.honeycomb.next_answer(Answer::retry_after(429, &date));

    rig.invoke(3).await;
    let outcome = end_of_a_rate_limit(rig).await;

    outcome.assert_delivered_once();
    assert_only_the_first_is_held(&outcome);
}

/// It was left alone until SHUTDOWN, whose only attempt succeeds.
async fn end_of_a_rate_limit(rig: Rig) -> Outcome {
    assert_answered(&rig, 429);
    assert_eq!(rig.honeycomb.requests().len(), 1);
    rig.end().await
}

#[tokio::test]
async fn no_request_is_ever_answered() {
    let rig = Rig::start("accepted and never answered").await;
    rig.honeycomb.always(Answer::Hang);

    rig.invoke(3).await;
    rig.honeycomb.requests_reach(1).await;
    let outcome = rig.end().await;

    outcome.assert_spooled();
    assert_only_the_first_is_held(&outcome);
}

#[tokio::test]
async fn no_request_is_ever_read() {
    let rig = Rig::start("connected and never read").await;
    rig.honeycomb.always(Answer::Unread);

    rig.invoke(3).await;
    rig.honeycomb.connections_reach(1).await;
    let outcome = rig.end().await;

    outcome.assert_spooled();
    assert_only_the_first_is_held(&outcome);
}

#[tokio::test]
async fn a_400_for_one_request_among_good_ones() {
    let rig = Rig::start("400 for one request of many").await;

    rig.invoke(1).await;
    rig.invoke_with(POISONED).await;
    rig.invoke(1).await;
    assert_answered(&rig, 400);
    let outcome = rig.end().await;

    assert_eq!((outcome.lost(), outcome.duplicated()), (POISONED.spans, 0), "{}", outcome.story);
    assert_eq!(outcome.sums().rejected, POISONED.spans);
}

#[tokio::test]
async fn a_400_for_one_spooled_request_among_good_ones() {
    let rig = Rig::start("400 for one spooled request of many").await;
    rig.honeycomb.next_answer(Answer::retry_after(503, "30"));

    rig.invoke(1).await;
    rig.invoke_with(POISONED).await;
    rig.invoke(1).await;
    assert_eq!(rig.honeycomb.requests().len(), 1, "all the rest is spooled");
    let outcome = rig.end().await;

    assert_eq!((outcome.lost(), outcome.duplicated()), (POISONED.spans, 0), "{}", outcome.story);
    assert_eq!(outcome.sums().rejected, POISONED.spans);
}

#[tokio::test]
async fn an_answer_that_points_elsewhere() {
    let elsewhere = ("location", "http://127.0.0.1:1/v1/traces".to_owned());
    one_answer_of_another_server("redirect", 307, vec![elsewhere], 100).await;
}

#[tokio::test]
async fn an_answer_of_100_megabytes() {
    one_answer_of_another_server("503 of 100 MB", 503, Vec::new(), 100_000_000).await;
}

#[tokio::test]
async fn an_answer_with_headers_without_end() {
    let many = vec![("x-many", "x".repeat(1_000)); 2_000];
    one_answer_of_another_server("503 with 2 MB of headers", 503, many, 0).await;
}

#[tokio::test]
async fn a_rate_limit_until_the_end_of_time() {
    let never = ("retry-after", u64::MAX.to_string());
    one_answer_of_another_server("429 with an endless Retry-After", 429, vec![never], 0).await;
}

/// It delays what it answered, and nothing else.
async fn one_answer_of_another_server(
    title: &'static str,
    status: u16,
    headers: Vec<(&'static str, String)>,
    bytes: usize,
) {
    let rig = Rig::start(title).await;
    let body = vec![b'x'; bytes].into();
    rig.honeycomb.next_answer(Answer::Canned { status, headers, body });

    rig.invoke(2).await;
    assert_answered(&rig, status);
    let outcome = rig.end().await;

    outcome.assert_delivered_once();
}

#[tokio::test]
async fn a_partial_success() {
    let rig = Rig::start("partial success").await;
    rig.honeycomb.next_answer(partial_success(5, "five of them are too old"));

    rig.invoke(2).await;
    let outcome = rig.end().await;

    assert_eq!((outcome.lost(), outcome.duplicated()), (5, 0), "{}", outcome.story);
    assert_eq!(outcome.sums().rejected, 5, "{}", outcome.story);
    assert!(outcome.story.contains("five of them are too old"), "{}", outcome.story);
}

#[tokio::test]
async fn answers_that_come_after_the_functions_timeout() {
    let timeout = Duration::from_secs(1);
    let mut rig = Rig::start_with("slower than the function's timeout", |builder| {
        // Held for longer than the function may run, if the deadline did not count.
        builder.function_timeout(timeout).env("CRUDDUR_MAX_HOLD_MS", "5000")
    })
    .await;
    rig.max_hold = timeout;
    rig.honeycomb.always(Answer::late(3 * timeout));

    rig.invoke(3).await;
    rig.honeycomb.requests_reach(1).await;
    let outcome = rig.end().await;

    assert_eq!(outcome.lost(), 0, "{}", outcome.story);
}

#[tokio::test]
async fn answers_that_come_after_the_hold() {
    let rig = Rig::start("slower than the hold").await;
    rig.honeycomb.always(Answer::late(MAX_HOLD + Duration::from_millis(200)));

    rig.invoke(3).await;
    rig.honeycomb.requests_reach(1).await;
    let outcome = rig.end().await;

    assert_eq!(outcome.lost(), 0, "{}", outcome.story);
    assert_only_the_first_is_held(&outcome);
}

fn assert_answered(rig: &Rig, status: u16) {
    let requests = rig.honeycomb.requests();
    assert!(requests.iter().any(|request| request.status == Some(status)), "{requests:#?}");
}
