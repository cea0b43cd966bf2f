//! A Honeycomb that fails changes nothing for the function, and is one line in the extension's log.

use std::time::Duration;

use cruddur_tests::{Answer, Builder, EXTENSION, Honeycomb, Party, Reply, Sandbox, What, event};
use serde_json::Value;

/// Longest time that the extension is told to keep Next to itself.
const MAX_HOLD: Duration = Duration::from_millis(300);

/// What a busy machine may add to it.
const SLACK: Duration = Duration::from_millis(400);

fn sandbox(honeycomb: &Honeycomb) -> Builder {
    Sandbox::builder("home-activities")
        .honeycomb(honeycomb)
        .env("CRUDDUR_MAX_HOLD_MS", &MAX_HOLD.as_millis().to_string())
        .demo_store()
}

/// Invokes three times, and checks all that a failing destination must not change.
async fn assert_changes_nothing_but_one_line(sandbox: &Sandbox) {
    let mut replies: Vec<Reply> = Vec::new();
    for _ in 0..3 {
        let reply = sandbox.invoke(event("home-activities")).await;
        sandbox.ended(&reply.request_id).await;
        replies.push(reply);
    }

    let expected = feed_without_telemetry(sandbox).await;
    assert!(replies.iter().all(|reply| reply.status == 200 && reply.json == expected));
    let journal = sandbox.journal();
    for reply in &replies {
        let hold = journal.hold_of_next(&reply.request_id).expect("a Next");
        assert!(hold <= MAX_HOLD + SLACK, "{hold:?}");
    }
    assert!(sandbox.extension_is_alive().await);
    let lines = lines_before_shutdown(sandbox).await;
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("oneycomb"), "{lines:#?}");
}

/// What the same function replies from the same store when there is no extension at all.
async fn feed_without_telemetry(sandbox: &Sandbox) -> Value {
    let store = sandbox.directory().join("cruddur.sqlite");
    let alone = Sandbox::builder("home-activities")
        .without_extension()
        .env("CRUDDUR_SQLITE", store.to_str().expect("a path of letters"))
        .start()
        .await;
    alone.invoke(event("home-activities")).await.json
}

/// All that the extension has written so far. Ends it: only then is its output complete.
async fn lines_before_shutdown(sandbox: &Sandbox) -> Vec<String> {
    sandbox.kill_extension();
    let extension = Party::Extension(EXTENSION.to_owned());
    let exited = |what: &What| matches!(what, What::Exited(party, _) if *party == extension);
    sandbox.happens("the extension's end", exited).await;
    sandbox.extension_log_lines()
}

#[tokio::test]
async fn nobody_at_honeycombs_address() {
    let honeycomb = Honeycomb::start().await;
    let sandbox =
        sandbox(&honeycomb).env("HONEYCOMB_API_ENDPOINT", &Honeycomb::refused()).start().await;

    assert_changes_nothing_but_one_line(&sandbox).await;

    // The line is the only trace that a refused connection can leave.
    let line = sandbox.extension_log_lines().concat().to_lowercase();
    assert!(line.contains("refused"), "{line}");
}

#[tokio::test]
async fn a_wrong_key() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = sandbox(&honeycomb).env("HONEYCOMB_API_KEY", "wrong").start().await;

    assert_changes_nothing_but_one_line(&sandbox).await;

    assert_all_answered(&honeycomb, 401);
    assert!(sandbox.extension_log_lines().concat().contains("401"));
}

#[tokio::test]
async fn a_rate_limit() {
    let honeycomb = Honeycomb::start().await;
    honeycomb.always(Answer::retry_after(429, "30"));
    let sandbox = sandbox(&honeycomb).start().await;

    assert_changes_nothing_but_one_line(&sandbox).await;

    assert_all_answered(&honeycomb, 429);
    // It said half a minute.
    assert_eq!(honeycomb.requests().len(), 1);
}

#[tokio::test]
async fn an_error_of_honeycombs_own() {
    let honeycomb = Honeycomb::start().await;
    honeycomb.always(Answer::status(500));
    let sandbox = sandbox(&honeycomb).start().await;

    assert_changes_nothing_but_one_line(&sandbox).await;

    assert_all_answered(&honeycomb, 500);
}

#[tokio::test]
async fn batches_that_honeycomb_does_not_understand() {
    let honeycomb = Honeycomb::start().await;
    honeycomb.always(Answer::status(400));
    let sandbox = sandbox(&honeycomb).start().await;

    assert_changes_nothing_but_one_line(&sandbox).await;

    assert_all_answered(&honeycomb, 400);
    // The fault lies in each batch, not in the destination: each is tried, some of them in parts as
    // well, and only the first is told.
    assert!(honeycomb.requests().len() >= 3, "{:?}", honeycomb.requests());
}

#[tokio::test]
async fn a_honeycomb_that_never_answers() {
    let honeycomb = Honeycomb::start().await;
    honeycomb.always(Answer::Hang);
    let sandbox = sandbox(&honeycomb).start().await;

    assert_changes_nothing_but_one_line(&sandbox).await;

    let requests = honeycomb.requests_reach(1).await;
    assert!(requests.iter().all(|request| request.status.is_none()));
}

#[tokio::test]
async fn a_honeycomb_that_never_reads() {
    let honeycomb = Honeycomb::start().await;
    honeycomb.always(Answer::Unread);
    let sandbox = sandbox(&honeycomb).start().await;

    assert_changes_nothing_but_one_line(&sandbox).await;

    honeycomb.connections_reach(1).await;
    assert!(honeycomb.requests().is_empty());
}

#[tokio::test]
async fn a_connection_that_breaks() {
    let honeycomb = Honeycomb::start().await;
    honeycomb.always(Answer::Reset);
    let sandbox = sandbox(&honeycomb).start().await;

    assert_changes_nothing_but_one_line(&sandbox).await;

    assert_eq!(honeycomb.requests_reach(1).await[0].answer, Answer::Reset);
}

#[tokio::test]
async fn spans_of_a_short_failure_arrive_once_honeycomb_is_back() {
    let honeycomb = Honeycomb::start().await;
    honeycomb.next_answer(Answer::status(503));
    let sandbox = sandbox(&honeycomb).start().await;

    let lost = sandbox.invoke(event("home-activities")).await;
    sandbox.ended(&lost.request_id).await;
    let ended = sandbox.shutdown().await;

    honeycomb.server_span(&lost.request_id).await;
    assert_eq!(honeycomb.requests()[0].status, Some(503));
    assert_eq!(ended.extension, Some(cruddur_tests::Exit::Code(0)));
}

fn assert_all_answered(honeycomb: &Honeycomb, status: u16) {
    let requests = honeycomb.requests();
    assert!(!requests.is_empty());
    assert!(requests.iter().all(|request| request.status == Some(status)), "{requests:#?}");
}

#[tokio::test]
async fn a_trace_that_the_function_does_not_sample_is_not_sent_on() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = |sampler| {
        let sandbox = Sandbox::builder("home-activities").honeycomb(&honeycomb).demo_store();
        sandbox.env("OTEL_TRACES_SAMPLER", sampler)
    };
    let [unsampled, sampled] = ["1", "2"].map(|digit| digit.repeat(32));
    let request = |trace_id: &str, flags: &str| {
        let traceparent = format!("00-{trace_id}-b7ad6b7169203331-{flags}");
        event("home-activities").header("traceparent", &traceparent)
    };

    let off = sandbox("parentbased_always_off").start().await;
    off.invoke(request(&unsampled, "01")).await;
    off.shutdown().await;
    let on = sandbox("parentbased_always_on").start().await;
    let reply = on.invoke(request(&sampled, "00")).await;

    assert_eq!(honeycomb.server_span(&reply.request_id).await.trace_id, sampled);
    assert!(honeycomb.trace(&unsampled).is_empty());
}
