//! What holds of Next take in steady and sparse traffic, as `make bench-extension` prints it.
//!
//! `bench-holds EXTENSION [SECONDS [GAP DISTANCE]]`: a row for each gap between invocations and distance of the
//! destinations (Honeycomb, X-Ray, CloudWatch Logs and Rollbar), each in a separate sandbox. All run side
//! by side, since they mostly wait. The first third of the time settles the credit and is not counted.

#![allow(clippy::print_stdout)] // its table is what it is for

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cruddur_tests::load::Posted;
use cruddur_tests::otlp::spans_of;
use cruddur_tests::{Answer, Burst, EXTENSION, Honeycomb, Load, Program, Proxy, Rollbar, Sandbox};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;

const GAPS_MS: [u64; 5] = [100, 300, 1_000, 3_000, 10_000];
const DISTANCES_MS: [u64; 3] = [0, 50, 200];

/// Enough for the slowest traffic to settle.
const SECONDS: u64 = 90;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args_os().skip(1);
    let extension = PathBuf::from(arguments.next().expect("the path of the extension"));
    let mut number = || arguments.next().and_then(|it| it.to_str()?.parse().ok());
    let time = Duration::from_secs(number().unwrap_or(SECONDS));
    let (only_gap, only_distance) = (number(), number());
    let mut rows = JoinSet::new();
    for gap in GAPS_MS.into_iter().filter(|it| only_gap.is_none_or(|only| only == *it)) {
        for distance in
            DISTANCES_MS.into_iter().filter(|it| only_distance.is_none_or(|only| only == *it))
        {
            rows.spawn(row(extension.clone(), gap, distance, time));
        }
    }
    let mut rows = rows.join_all().await;
    rows.sort_by_key(|row| (row.gap_ms, row.distance_ms));
    println!(
        "{:>8}{:>10}{:>12}{:>14}{:>14}{:>14}{:>8}{:>8}",
        "gap, ms",
        "away, ms",
        "held, %",
        "median, ms",
        "largest, ms",
        "oldest, ms",
        "lost",
        "twice"
    );
    for row in rows {
        println!(
            "{:>8}{:>10}{:>12.2}{:>14.1}{:>14.1}{:>14.0}{:>8}{:>8}",
            row.gap_ms,
            row.distance_ms,
            row.share * 100.0,
            row.median_ms,
            row.largest_ms,
            row.oldest_ms,
            row.lost,
            row.twice
        );
    }
}

struct Row {
    gap_ms: u64,
    distance_ms: u64,
    /// Holds as a share of the wall-clock.
    share: f64,
    median_ms: f64,
    largest_ms: f64,
    /// The age of the oldest span when it arrived, without those that SHUTDOWN sent.
    oldest_ms: f64,
    lost: usize,
    twice: usize,
}

async fn row(extension: PathBuf, gap_ms: u64, distance_ms: u64, time: Duration) -> Row {
    let (gap, distance) = (Duration::from_millis(gap_ms), Duration::from_millis(distance_ms));
    let (honeycomb, rollbar) = (Honeycomb::start().await, Rollbar::start().await);
    honeycomb.always(Answer::late(distance));
    let aws = Proxy::start("http://127.0.0.1:1").await;
    aws.always(Answer::Late(distance, Box::new(Answer::json(200, &json!({})))));
    let load = Load::default();
    let sandbox = Sandbox::builder("load")
        .function(load.function())
        .without_extension()
        .extension(EXTENSION, Program::Binary(extension))
        .four_exporters(&honeycomb, &rollbar, &aws)
        .env("CRUDDUR_HOLD_BANK_MS", "1000")
        .start()
        .await;
    let (began, settle) = (Instant::now(), time / 3);
    let mut settled = None;
    let mut holds = Vec::new();
    while began.elapsed() < time {
        let next = Instant::now() + gap;
        let reply = sandbox.invoke(Burst::SMALL.event()).await;
        sandbox.ended(&reply.request_id).await;
        if began.elapsed() > settle {
            settled.get_or_insert_with(Instant::now);
            let journal = sandbox.journal();
            let hold = journal.hold_of_next(&reply.request_id).unwrap_or_default();
            let runtime = journal.runtime_overhead(&reply.request_id).unwrap_or_default();
            holds.push(hold.saturating_sub(runtime).as_secs_f64() * 1e3);
        }
        sleep(next.saturating_duration_since(Instant::now())).await;
    }
    let wall_ms = settled.map_or(1.0, |since| since.elapsed().as_secs_f64() * 1e3);
    let before_shutdown = honeycomb.requests().len();
    sandbox.shutdown().await;
    let posts = load.all();
    let ids = |post: &Posted| {
        post.span_ids.clone().into_iter().map(|id| (id, post.sent)).collect::<Vec<_>>()
    };
    let sent_at: HashMap<String, Instant> = posts.iter().flat_map(ids).collect();
    let mut stored: HashMap<String, usize> = HashMap::new();
    let mut oldest = Duration::ZERO;
    for (index, request) in honeycomb.requests().iter().enumerate() {
        for span in spans_of(&request.decoded().unwrap_or_default()).unwrap_or_default() {
            if let Some(sent) = sent_at.get(&span.span_id).filter(|_| index < before_shutdown) {
                oldest = oldest.max(request.arrived.saturating_duration_since(*sent));
            }
            *stored.entry(span.span_id).or_default() += 1;
        }
    }
    let sent = load.sent();
    let share = holds.iter().sum::<f64>() / wall_ms;
    let largest_ms = holds.iter().copied().fold(0.0, f64::max);
    holds.sort_by(f64::total_cmp);
    Row {
        gap_ms,
        distance_ms,
        share,
        median_ms: holds.get(holds.len() / 2).copied().unwrap_or_default(),
        largest_ms,
        oldest_ms: oldest.as_secs_f64() * 1e3,
        lost: sent.iter().filter(|id| !stored.contains_key(*id)).count(),
        twice: sent.iter().filter(|id| stored.get(*id).is_some_and(|count| *count > 1)).count(),
    }
}
