//! Raw POSTs, which wait for the process itself.

use super::*;
use crate::otlp::{line_codec, post_codec};
use crate::pipeline::core::posts;

const LINES: DestinationId = 0;
const POSTS: DestinationId = 1;

fn bench(spool: Option<(&tempfile::TempDir, Option<Sums>)>) -> Bench {
    let lines = DestinationSpec {
        name: "lines",
        kinds: vec![SignalKind::Lines],
        durable: true,
        max_items: u64::MAX,
        keeps_duplicates: true,
    };
    let mut specs = vec![lines];
    specs.extend(posts::spec(&specs));
    let mut core = Core::new(specs, 1_000, Trigger::Flush, 1);
    if let Some((directory, sums)) = spool {
        let names = core.names();
        let (spool, recovered) = Spool::open(directory.path(), 64 << 20, &names).unwrap();
        core.use_spool(spool, recovered, sums);
    }
    Bench { core, now: Instant::now() }
}

fn post(number: u64) -> Payload {
    post_codec::encode(number, "r", &[r#"{"type":"function","record":"x"}"#; 2])
}

fn lines() -> Vec<Payload> {
    let mut lines = line_codec::LinePayloads::default();
    (0..2).for_each(|_| lines.push(line_codec::LogLine { time_ms: 1, json: "{}" }, false));
    lines.finish()
}

/// The numbers of the posts in the next batch.
fn taken(bench: &mut Bench) -> Option<Vec<u64>> {
    let batch = bench.core.take_posts(bench.now)?;
    let posts = batch.to_plain().unwrap();
    Some(post_codec::read(&posts).map(|post| post.number).collect())
}

#[tokio::test]
async fn posts_are_taken_in_order_without_a_flush_until_they_are_concluded() {
    let mut bench = bench(None);
    bench.core.receive(post(1));
    bench.core.receive(post(2));

    assert_eq!(taken(&mut bench), Some(vec![1, 2]));
    bench.core.receive(post(3));
    assert_eq!(taken(&mut bench), Some(vec![1, 2, 3]), "the reader has failed");
    bench.core.conclude_posts(lines(), 5);

    assert_eq!(taken(&mut bench), None);
    let posts = json!({"received": 6, "delivered": 5, "dropped": {"rejected": 1}});
    assert_eq!(json!(bench.account(POSTS)), posts);
    assert_eq!(json!(bench.account(LINES)), json!({"received": 2, "held": 2}));
}

#[tokio::test]
async fn a_flush_awaits_no_posts_and_they_are_left_out_of_outlook_dead_letters_and_stats() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = bench(Some((&directory, None)));
    bench.core.receive(post(1));

    assert_eq!(bench.core.outlook(bench.now).pending, None);
    bench.core.begin_flush(bench.now, true);
    assert!(bench.core.flush_is_done());
    let mut log = Vec::new();
    let letters = bench.core.dead_letters(&mut log, &|| true).unwrap();
    assert_eq!((letters.items, letters.left_out, log.len()), (0, 0, 0));
    let shown: Vec<_> = bench.core.destinations(bench.now).into_keys().collect();
    assert_eq!(shown, ["lines"]);
}

#[tokio::test]
async fn after_a_kill_the_next_process_takes_the_posts_that_were_not_concluded() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = bench(Some((&directory, None)));
    first.core.receive(post(1));
    taken(&mut first);
    first.core.conclude_posts(lines(), 2);
    first.core.receive(post(2));
    first.core.compact_some(None);
    first.core.receive(post(3));
    let sums = first.write_sums();
    drop(first);

    let mut next = bench(Some((&directory, Some(sums))));

    assert_eq!(taken(&mut next), Some(vec![2]), "compressed records have a separate batch");
    next.core.conclude_posts(lines(), 2);
    assert_eq!(taken(&mut next), Some(vec![3]));
    next.core.conclude_posts(lines(), 2);
    assert_eq!(taken(&mut next), None);
    assert_eq!(json!(next.account(POSTS)), json!({"received": 6, "delivered": 6}));
    assert_eq!(json!(next.account(LINES)), json!({"received": 6, "spooled": 6}));
}

#[tokio::test]
async fn evicted_posts_are_in_the_stats_as_dropped() {
    let mut bench = bench(None);

    (0..20).for_each(|number| bench.core.receive(post(number)));

    let stats = json!(bench.core.destinations(bench.now));
    let posts = &stats["posts"]["posts"];
    assert_eq!(posts["received"], 40);
    let dropped = posts["dropped"]["buffer_full"].as_u64().unwrap();
    assert_eq!(posts["held"].as_u64().unwrap() + dropped, 40);
    assert!(dropped > 0);
}
