//! The recording Honeycomb itself: it decodes what comes, and its faults happen.

use std::io::Write;
use std::time::Duration;

use cruddur_tests::honeycomb::partial_success;
use cruddur_tests::http_client::{HttpReply, post};
use cruddur_tests::{Answer, Honeycomb, otlp};
use tokio::time::timeout;

async fn export(
    honeycomb: &Honeycomb,
    encoding: &str,
    body: Vec<u8>,
) -> std::io::Result<HttpReply> {
    let headers = [
        ("content-type", "application/x-protobuf"),
        ("content-encoding", encoding),
        ("x-honeycomb-team", honeycomb.key()),
    ];
    post(&format!("{}/v1/traces", honeycomb.url()), &headers, body).await
}

#[tokio::test]
async fn spans_are_decoded_whatever_the_compression() {
    let honeycomb = Honeycomb::start().await;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&otlp::request(&["gzip"])).expect("memory");
    let zstd = zstd::encode_all(&*otlp::request(&["zstd"]), 3).expect("memory");

    let plain = export(&honeycomb, "identity", otlp::request(&["plain"])).await.expect("an answer");
    let gzip = export(&honeycomb, "gzip", gzip.finish().expect("memory")).await.expect("an answer");
    let zstd = export(&honeycomb, "zstd", zstd).await.expect("an answer");

    assert!([plain.status, gzip.status, zstd.status].iter().all(|status| *status == 200));
    let names: Vec<String> = honeycomb.spans().into_iter().map(|span| span.name).collect();
    assert_eq!(names, ["plain", "gzip", "zstd"]);
    assert_eq!(honeycomb.span("zstd").await.resource("service.name"), "a-test");
}

#[tokio::test]
async fn what_the_real_one_refuses_is_refused_and_no_span_of_it_counts() {
    let honeycomb = Honeycomb::start().await;
    let url = format!("{}/v1/traces", honeycomb.url());
    let body = otlp::request(&["span"]);
    let protobuf = ("content-type", "application/x-protobuf");
    let key = ("x-honeycomb-team", honeycomb.key());

    let keyless = post(&url, &[protobuf], body.clone()).await.expect("an answer");
    let wrong_key =
        post(&url, &[protobuf, ("x-honeycomb-team", "k")], body.clone()).await.expect("an answer");
    let wrong_type =
        post(&url, &[key, ("content-type", "text/plain")], body).await.expect("an answer");
    let garbage = post(&url, &[key, protobuf], "garbage").await.expect("an answer");

    let statuses = [keyless, wrong_key, wrong_type, garbage].map(|reply| reply.status.as_u16());
    assert_eq!(statuses, [401, 401, 415, 400]);
    assert!(honeycomb.spans().is_empty());
    assert_eq!(honeycomb.requests().len(), 4);
}

#[tokio::test]
async fn scripted_answers_come_in_order_and_then_the_standing_one() {
    let honeycomb = Honeycomb::start().await;
    honeycomb.next_answer(Answer::retry_after(429, "7"));
    honeycomb.next_answer(partial_success(1, "one was bad"));
    honeycomb.always(Answer::status(503));

    let limited = export(&honeycomb, "identity", otlp::request(&["a"])).await.expect("an answer");
    let partial = export(&honeycomb, "identity", otlp::request(&["b"])).await.expect("an answer");
    let down = export(&honeycomb, "identity", otlp::request(&["c"])).await.expect("an answer");

    assert_eq!((limited.status.as_u16(), limited.header("retry-after")), (429, Some("7")));
    assert_eq!(partial.status, 200);
    assert!(!partial.body.is_empty());
    assert_eq!(down.status, 503);
}

#[tokio::test]
async fn a_reset_breaks_the_connection_and_is_recorded() {
    let honeycomb = Honeycomb::start().await;
    honeycomb.always(Answer::Reset);

    let outcome = export(&honeycomb, "identity", otlp::request(&["a"])).await;

    assert!(outcome.is_err(), "{outcome:?}");
    assert_eq!(honeycomb.requests_reach(1).await[0].answer, Answer::Reset);
}

#[tokio::test]
async fn a_hanging_one_records_the_request_and_an_unread_one_only_the_connection() {
    let (hanging, unread) = (Honeycomb::start().await, Honeycomb::start().await);
    hanging.always(Answer::Hang);
    unread.always(Answer::Unread);
    let moment = Duration::from_millis(100); // no answer comes, however long one waits

    let no_answer = timeout(moment, export(&hanging, "identity", otlp::request(&["a"]))).await;
    let not_even_read = timeout(moment, export(&unread, "identity", otlp::request(&["a"]))).await;

    assert!(no_answer.is_err() && not_even_read.is_err());
    assert_eq!(hanging.requests().len(), 1);
    assert_eq!((unread.connections(), unread.requests().len()), (1, 0));
}

#[tokio::test]
async fn nobody_listens_at_a_refused_address() {
    let outcome = post(&Honeycomb::refused(), &[], "").await;

    assert_eq!(outcome.expect_err("refused").kind(), std::io::ErrorKind::ConnectionRefused);
}
