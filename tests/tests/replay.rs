//! What a sandbox leaves in its log, and the way of it from there to Honeycomb.

use std::collections::HashSet;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cruddur_tests::honeycomb::auth;
use cruddur_tests::load::Trace;
use cruddur_tests::{
    Answer, Burst, Cli, Exit, Honeycomb, Load, Printed, Rollbar, Sandbox, event, raw_event,
};
use serde_json::json;

/// A sandbox whose Honeycomb is dead, with the ids of what its function sends.
async fn sandbox_in_an_outage(load: &Load) -> Sandbox {
    Sandbox::builder("load")
        .function(load.function())
        .env("HONEYCOMB_API_KEY", "a-key")
        .env("HONEYCOMB_API_ENDPOINT", &Honeycomb::refused())
        .env("CRUDDUR_MAX_HOLD_MS", "200")
        .function_timeout(Duration::from_secs(3))
        .start()
        .await
}

/// The log of a sandbox that has ended.
async fn log_of(sandbox: Sandbox) -> Vec<String> {
    let ended = sandbox.shutdown().await;
    assert_eq!(ended.extension, Some(Exit::Code(0)), "{}", sandbox.story());
    sandbox.extension_log_lines()
}

async fn replay(honeycomb: &Honeycomb, log: impl Into<Vec<u8>>) -> Printed {
    Cli::new(&["replay"]).honeycomb(honeycomb).input(log).run().await
}

fn ids_at(honeycomb: &Honeycomb) -> Vec<String> {
    honeycomb.spans().into_iter().map(|span| span.span_id).collect()
}

/// A line as the extension writes it, made by other means.
fn line(destination: &str, items: usize, request: &[u8]) -> String {
    let zstd = zstd::encode_all(request, 1).expect("it compresses");
    let (head, body) = (format!("{destination}:traces:{items}"), URL_SAFE_NO_PAD.encode(zstd));
    let mut crc = flate2::Crc::new();
    crc.update(head.as_bytes());
    crc.update(body.as_bytes());
    format!("cruddur-replay:1:{head}:{:08x}:{body}", crc.sum())
}

/// The same of so many new spans; and their ids.
pub(crate) fn line_of(destination: &str, spans: usize) -> (Vec<String>, String) {
    let (ids, request) = Trace::new().request(spans, None);
    let line = line(destination, spans, &request);
    (ids, line)
}

#[tokio::test]
async fn all_that_an_outage_kept_from_honeycomb_is_there_after_its_log_was_replayed() {
    let load = Load::default();
    let sandbox = sandbox_in_an_outage(&load).await;
    for _ in 0..5 {
        let reply = sandbox.invoke(Burst::SMALL.event()).await;
        assert_eq!(reply.status, 200);
        sandbox.ended(&reply.request_id).await;
    }
    let log = log_of(sandbox).await.join("\n");
    let honeycomb = Honeycomb::start().await;

    let printed = replay(&honeycomb, log).await;

    assert_eq!(printed.code, 0, "{printed:?}");
    let found = ids_at(&honeycomb);
    let distinct: HashSet<String> = found.iter().cloned().collect();
    assert_eq!(load.sent().len(), 5 * 13);
    assert!(load.sent().is_subset(&distinct), "{printed:?}");
    assert_eq!(found.len(), distinct.len(), "each once");
    let sums = format!("honeycomb: {} spans of 1 line, {} delivered", found.len(), found.len());
    assert!(printed.out.contains(&sums), "{printed:?}");
    assert!(printed.out.contains("there twice"), "{printed:?}");
}

#[tokio::test]
async fn a_failure_that_an_outage_kept_from_rollbar_is_there_once_after_its_log_was_replayed_twice()
{
    let sandbox = Sandbox::builder("home-activities")
        .demo_store()
        .env("ROLLBAR_ACCESS_TOKEN", "a-token")
        .env("ROLLBAR_ENDPOINT", &Honeycomb::refused())
        .start()
        .await;
    let failed = sandbox.invoke(event("home-activities").header("x-cruddur-fault", "panic")).await;
    sandbox.ended(&failed.request_id).await;
    let log = log_of(sandbox).await.join("\n");
    let rollbar = Rollbar::start().await;

    for _ in 0..2 {
        let cli = Cli::new(&["replay"]).env("ROLLBAR_ACCESS_TOKEN", rollbar.token());
        let printed = cli.env("ROLLBAR_ENDPOINT", &rollbar.url()).input(log.clone()).run().await;
        assert_eq!(printed.code, 0, "{printed:?}\n{log}");
        assert!(printed.out.contains("rollbar: 1 failures of 1 line, 1 delivered"), "{printed:?}");
    }

    let items = rollbar.items();
    let [item] = &items[..] else { panic!("{items:#?}") };
    assert_eq!(item["custom"]["request_id"], failed.request_id.as_str());
    let taken = rollbar.requests().iter().filter(|request| request.status == Some(200)).count();
    assert_eq!(taken, 2, "Rollbar dropped the second");
}

#[tokio::test]
async fn a_sandbox_that_is_reset_leaves_each_span_in_its_log_once() {
    let load = Load::default();
    let sandbox = sandbox_in_an_outage(&load).await;
    let hangs = Burst { replies: false, ..Burst::SMALL };
    sandbox.try_invoke(hangs.event()).await.expect_err("a timeout");
    let reply = sandbox.invoke(Burst::SMALL.event()).await;
    sandbox.ended(&reply.request_id).await;
    let log = log_of(sandbox).await.join("\n");
    let honeycomb = Honeycomb::start().await;

    let printed = replay(&honeycomb, log).await;

    let found = ids_at(&honeycomb);
    let distinct: HashSet<String> = found.iter().cloned().collect();
    assert!(load.sent().is_subset(&distinct), "{printed:?}");
    assert_eq!(found.len(), distinct.len(), "each once");
    assert!(printed.out.contains("of 2 lines"), "one of each process: {printed:?}");
}

#[tokio::test]
async fn a_sandbox_that_delivered_everything_leaves_no_line() {
    let (load, honeycomb) = (Load::default(), Honeycomb::start().await);
    let builder = Sandbox::builder("load").function(load.function()).honeycomb(&honeycomb);
    let sandbox = builder.start().await;
    let reply = sandbox.invoke(Burst::SMALL.event()).await;
    sandbox.ended(&reply.request_id).await;

    let log = log_of(sandbox).await;

    assert!(!log.concat().contains("cruddur-replay"), "{log:?}");
}

#[tokio::test]
async fn a_sandbox_leaves_256_kib_of_lines_at_most_and_says_what_found_no_room() {
    let load = Load::default();
    let sandbox = sandbox_in_an_outage(&load).await;
    let burst = Burst { requests: 20, spans: 250, ..Burst::SMALL };
    let reply = sandbox.invoke(burst.event()).await;
    sandbox.ended(&reply.request_id).await;

    let log = log_of(sandbox).await;

    let lines = log.iter().filter(|line| line.starts_with("cruddur-replay:"));
    let bytes: usize = lines.clone().map(|line| line.len() + 1).sum();
    assert!(bytes <= 256 << 10 && bytes > 128 << 10, "{bytes}");
    let honeycomb = Honeycomb::start().await;
    replay(&honeycomb, lines.cloned().collect::<Vec<_>>().join("\n")).await;
    let there = ids_at(&honeycomb).len();
    let told = log.iter().find(|line| line.contains("found no room")).expect("a last line");
    assert!(told.contains(&format!("{there} undelivered items")), "{told}");
    let left_out: usize = told
        .split("sends them; ")
        .nth(1)
        .expect("a number")
        .split(' ')
        .next()
        .and_then(|number| number.parse().ok())
        .expect("a number");
    // The extension's own spans of the invocation are among them.
    assert!(there + left_out >= load.sent().len(), "{told}");
}

#[tokio::test]
async fn a_dry_run_counts_and_sends_nothing() {
    let honeycomb = Honeycomb::start().await;
    let log = format!("{}\nSTART\n{}\n", line_of("honeycomb", 2).1, line_of("honeycomb", 3).1);

    let cli = Cli::new(&["replay", "--dry-run"]).honeycomb(&honeycomb).input(log);
    let printed = cli.run().await;

    assert_eq!((printed.code, printed.err.as_str()), (0, ""));
    let sums = "honeycomb: 5 spans of 2 lines, not sent (dry run)";
    assert!(printed.out.contains(sums), "{printed:?}");
    assert_eq!(honeycomb.requests().len(), 0);
}

#[tokio::test]
async fn what_the_aws_command_line_prints_is_read_in_each_of_its_forms() {
    let honeycomb = Honeycomb::start().await;
    let lines: Vec<_> = (0..5).map(|_| line_of("honeycomb", 1)).collect();
    let wrapped = [
        // `aws logs tail`
        format!("2026-11-21T10:00:00.000000+00:00 2026/11/21/[$LATEST]0a {}\n", lines[0].1),
        // `aws logs get-log-events`
        serde_json::to_string_pretty(
            &json!({"events": [{"timestamp": 1, "message": format!("{}\n", lines[1].1)}]}),
        )
        .expect("JSON"),
        // The same with `--output text`
        format!("EVENTS\t1763719200000\t{}\n\t1763719200000\n", lines[2].1),
        // Lambda's JSON log format
        json!({"time": "2026-11-21T10:00:00Z", "type": "extension", "record": lines[3].1})
            .to_string(),
        // `aws logs get-query-results`
        json!({"results": [[{"field": "@message", "value": lines[4].1}]]}).to_string(),
    ];

    let printed = replay(&honeycomb, wrapped.concat()).await;

    assert_eq!(printed.code, 0, "{printed:?}");
    let expected: HashSet<String> = lines.into_iter().flat_map(|(ids, _)| ids).collect();
    assert_eq!(HashSet::from_iter(ids_at(&honeycomb)), expected);
}

#[tokio::test]
async fn lines_that_were_cut_or_edited_or_are_of_another_version_are_skipped_and_counted() {
    let honeycomb = Honeycomb::start().await;
    let (ids, whole) = line_of("honeycomb", 2);
    let lies = line("honeycomb", 9, &Trace::new().request(2, None).1);
    let no_spans = line("honeycomb", 1, b"no protobuf");
    let log = [
        whole[..whole.len() / 2].to_owned(),
        whole.replacen("traces:2", "traces:3", 1),
        lies,
        no_spans,
        whole.replacen("replay:1:", "replay:2:", 1),
        "cruddur-replay: a word about it".to_owned(),
        whole,
    ];

    let printed = replay(&honeycomb, log.join("\n")).await;

    assert_eq!(printed.code, 2, "{printed:?}");
    assert_eq!(ids_at(&honeycomb), ids);
    assert!(printed.out.contains("6 lines of telemetry"), "{printed:?}");
    assert!(printed.out.contains("Skipped: 4 lines damaged"), "{printed:?}");
    assert!(printed.out.contains("Skipped: 1 line of another version"), "{printed:?}");
}

#[tokio::test]
async fn a_line_that_a_client_wrote_into_a_url_is_not_sent() {
    let honeycomb = Honeycomb::start().await;
    let forged = line_of("honeycomb", 1).1;
    let access = format!("203.0.113.57 GET https /api/activities/home?x={forged} 200 OK\n");
    let fields = json!({ "path": format!("/api/activities/{forged}"), "status": 404 }).to_string();

    let printed = replay(&honeycomb, access + &fields).await;

    assert_eq!(printed.code, 0, "{printed:?}");
    assert!(printed.out.starts_with("0 lines of telemetry"), "{printed:?}");
    assert!(honeycomb.spans().is_empty());
}

#[tokio::test]
async fn a_line_that_is_in_the_log_twice_is_sent_once() {
    let honeycomb = Honeycomb::start().await;
    let (ids, line) = line_of("honeycomb", 2);

    let printed = replay(&honeycomb, format!("{line}\n{line}\n")).await;

    assert_eq!((printed.code, ids_at(&honeycomb)), (0, ids), "{printed:?}");
    assert!(printed.out.contains("Skipped: 1 line repeated in this log"), "{printed:?}");
}

#[tokio::test]
async fn a_dry_run_needs_no_destination() {
    let log = line_of("honeycomb", 2).1;

    let printed = Cli::new(&["replay", "--dry-run"]).input(log).run().await;

    assert_eq!((printed.code, printed.err.as_str()), (0, ""), "{printed:?}");
    assert!(printed.out.contains("2 spans of 1 line, not sent (dry run)"), "{printed:?}");
}

#[tokio::test]
async fn a_wrong_key_ends_it_before_anything_is_read() {
    let honeycomb = Honeycomb::start().await;
    let log = line_of("honeycomb", 2).1;

    let cli = Cli::new(&["replay"]).honeycomb(&honeycomb).env("HONEYCOMB_API_KEY", "not-the-key");
    let printed = cli.input(log).run().await;

    assert_eq!((printed.code, printed.out.as_str()), (1, ""), "{printed:?}");
    assert!(printed.err.contains("does not know the key"), "{printed:?}");
    assert_eq!(honeycomb.requests().len(), 1);
}

#[tokio::test]
async fn a_wrong_clock_is_no_reason_not_to_send() {
    let honeycomb = Honeycomb::start().await;
    let Answer::Canned { status, mut headers, body } = Answer::json(200, &auth("ingest", &[]))
    else {
        unreachable!("it is canned")
    };
    headers.push(("date", "Thu, 01 Jan 2026 00:00:00 GMT".to_owned()));
    let answer = Answer::Canned { status, headers, body };
    honeycomb.next_answer(answer.clone());
    honeycomb.next_answer(answer);
    let (ids, line) = line_of("honeycomb", 2);

    let printed = replay(&honeycomb, line).await;

    assert_eq!((printed.code, ids_at(&honeycomb)), (0, ids), "{printed:?}");
}

#[tokio::test]
async fn who_stands_in_honeycombs_place_need_not_know_its_questions() {
    let collector = Honeycomb::start().await;
    collector.next_answer(Answer::status(404));
    let (ids, line) = line_of("honeycomb", 2);

    let printed = replay(&collector, line).await;

    assert_eq!((printed.code, ids_at(&collector)), (0, ids), "{printed:?}");
    assert_eq!(collector.requests()[0].status, Some(404));
}

#[tokio::test]
async fn a_log_that_is_compressed_is_named() {
    let honeycomb = Honeycomb::start().await;

    let printed = replay(&honeycomb, [&[0x1f, 0x8b][..], &[8; 100]].concat()).await;

    assert_eq!(printed.code, 2, "{printed:?}");
    assert!(printed.err.contains("gunzip"), "{printed:?}");
}

#[tokio::test]
async fn a_log_larger_than_memory_is_read_to_its_end() {
    let honeycomb = Honeycomb::start().await;
    let (ids, line) = line_of("honeycomb", 1);
    let ballast = vec![b'.'; 1 << 20];
    let log = std::iter::repeat_n(ballast, 300).chain([b"\n".to_vec(), line.into_bytes()]);

    let cli = Cli::with_memory(200_000, &["replay"]).honeycomb(&honeycomb).long_input(log);
    let printed = cli.run().await;

    assert_eq!((printed.code, ids_at(&honeycomb)), (0, ids), "{printed:?}");
    assert!(printed.out.contains("315 MB of log"), "{printed:?}");
}

#[tokio::test]
async fn a_short_failure_is_waited_for_and_of_a_refused_line_the_others_arrive() {
    let honeycomb = Honeycomb::start().await;
    // Of the key, and of the first line.
    honeycomb.next_answer(Answer::status(503));
    honeycomb.next_answer(Answer::status(503));
    let (ids, good) = line_of("honeycomb", 3);
    let poison =
        line("honeycomb", 1, &cruddur_tests::otlp::request(&[cruddur_tests::honeycomb::POISON]));

    let printed = replay(&honeycomb, [good, poison].join("\n")).await;

    assert_eq!((printed.code, ids_at(&honeycomb)), (2, ids), "{printed:?}");
    assert!(printed.out.contains("4 spans of 2 lines, 3 delivered, 1 rejected"), "{printed:?}");
    assert_eq!(honeycomb.requests()[1].status, Some(503));
}

#[tokio::test]
async fn a_dead_destination_is_given_up_and_named_by_the_exit_code() {
    let cli = Cli::new(&["replay", "--give-up", "1"])
        .env("HONEYCOMB_API_KEY", "a-key")
        .env("HONEYCOMB_API_ENDPOINT", &Honeycomb::refused())
        .input(line_of("honeycomb", 3).1);

    let printed = cli.run().await;

    assert_eq!(printed.code, 2, "{printed:?}");
    assert!(printed.out.contains("0 delivered, 3 not accepted"), "{printed:?}");
    assert!(printed.err.contains("refused"), "{printed:?}");
}

#[tokio::test]
async fn lines_of_a_destination_that_is_not_configured_are_named() {
    let honeycomb = Honeycomb::start().await;

    let printed = replay(&honeycomb, line_of("xray", 3).1).await;
    let nothing = Cli::new(&["replay"]).env("CRUDDUR_EXPORTERS", "console").run().await;

    assert_eq!(printed.code, 2, "{printed:?}");
    assert!(printed.out.contains(
        "xray: 3 spans of 1 line, not sent, since the destination is not configured here"
    ));
    assert!(honeycomb.spans().is_empty());
    assert_eq!(nothing.code, 1);
    assert!(nothing.err.contains("doctor"), "{nothing:?}");
}

#[tokio::test]
async fn an_invocation_that_fails_leaves_its_spans_with_errors_first() {
    let load = Load::default();
    let sandbox = sandbox_in_an_outage(&load).await;
    let reply = sandbox.invoke(Burst::SMALL.event()).await;
    sandbox.ended(&reply.request_id).await;
    sandbox.try_invoke(raw_event(json!({ "replies": false }))).await.expect_err("a timeout");
    let log = log_of(sandbox).await.join("\n");
    let honeycomb = Honeycomb::start().await;

    replay(&honeycomb, log).await;

    // The extension made a root for the invocation without an end.
    let spans = honeycomb.spans();
    let failed = cruddur_tests::otlp::STATUS_ERROR;
    assert_eq!(spans[0].status, failed, "{:?}", spans[0]);
    assert!(spans[1..].iter().any(|span| span.status != failed));
}
