//! The core's decisions, one by one, on a clock that the test moves.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::{exporter::Receipt, ledger::Account};

struct Bench {
    core: Core,
    now: Instant,
}

impl Bench {
    fn new(trigger: Trigger) -> Self {
        let spec = |name, durable| DestinationSpec { name, kinds: vec![Kind::Traces], durable };
        let specs = vec![spec("durable", true), spec("fleeting", false)];
        Self { core: Core::new(specs, 1_000, trigger, 1), now: Instant::now() }
    }

    fn with_spool(directory: &tempfile::TempDir) -> Self {
        let mut bench = Self::new(Trigger::Flush);
        let spool = Spool::open(directory.path(), 64 << 20).unwrap();
        bench.core.use_spool(spool, Ledger::new(2));
        bench
    }

    fn receive(&mut self, items: u64) {
        // A request with one resource, one scope and so many empty spans, of 10 bytes at least.
        let scope = [0x12, 0].repeat(items as usize);
        let resource = [&[0x12, scope.len() as u8][..], &scope, &[0x1a, 2, b'x', b'x']].concat();
        let bytes = [&[0x0a, resource.len() as u8][..], &resource].concat();
        self.core.receive(Signal::read(Kind::Traces, bytes.into()).unwrap().0);
    }

    /// The spans that a destination is sent now.
    fn sent(&mut self, id: DestinationId) -> Option<u64> {
        self.core.next_batch(self.now, id).map(|batch| batch.items)
    }

    fn settle(&mut self, id: DestinationId, result: Result<Receipt, ExportError>) {
        self.core.settle(self.now, id, result);
    }

    fn spool_all(&mut self) {
        while self.core.spool_some() {}
    }

    fn put_off(&mut self) {
        self.core.put_off();
        self.spool_all();
    }

    fn end_flush(&mut self, patience_over: bool) {
        self.core.end_flush(self.now, patience_over);
        self.spool_all();
    }

    fn account(&self, id: DestinationId) -> Account {
        self.core.ledger.account(id)
    }
}

fn refused() -> Result<Receipt, ExportError> {
    Err(ExportError::Unreachable("refused".into()))
}

fn status(status: u16, retry_after: Option<u64>) -> Result<Receipt, ExportError> {
    Err(ExportError::Status {
        status: http::StatusCode::from_u16(status).unwrap(),
        message: String::new(),
        retry_after: retry_after.map(Duration::from_secs),
    })
}

#[tokio::test]
async fn a_flush_is_done_when_every_destination_has_everything() {
    let mut bench = Bench::new(Trigger::Flush);
    bench.receive(1);
    assert_eq!(bench.sent(0), None, "before a flush nothing is sent");

    bench.core.begin_flush(bench.now, false);
    assert_eq!((bench.sent(0), bench.sent(1)), (Some(1), Some(1)));
    bench.settle(0, Ok(Receipt::default()));
    assert!(!bench.core.flush_is_done());
    bench.settle(1, Ok(Receipt::default()));

    assert!(bench.core.flush_is_done());
}

#[tokio::test]
async fn what_comes_during_a_flush_is_not_waited_for_and_goes_with_the_next() {
    let mut bench = Bench::new(Trigger::Flush);
    bench.receive(1);
    bench.core.begin_flush(bench.now, false);
    bench.receive(2);
    for id in [0, 1] {
        assert_eq!(bench.sent(id), Some(1));
        bench.settle(id, Ok(Receipt::default()));
    }

    assert!(bench.core.flush_is_done());
    assert_eq!(bench.sent(0), None);
    bench.core.begin_flush(bench.now, false);
    assert_eq!(bench.sent(0), Some(2));
}

#[tokio::test]
async fn a_destination_that_fails_is_left_alone_and_holds_nobody() {
    let mut bench = Bench::new(Trigger::Flush);
    bench.receive(1);
    bench.core.begin_flush(bench.now, false);
    bench.sent(0);
    bench.settle(0, refused());

    bench.receive(2);
    bench.core.begin_flush(bench.now, false);
    assert_eq!(bench.sent(0), None);

    bench.now += Duration::from_secs(3); // the first pause is 1 s, and up to as much of jitter
    assert_eq!(bench.sent(0), Some(3));
}

#[tokio::test]
async fn a_destination_that_asks_for_time_gets_it() {
    let mut bench = Bench::new(Trigger::Flush);
    bench.receive(1);
    bench.core.begin_flush(bench.now, false);
    bench.sent(0);
    bench.settle(0, status(429, Some(30)));

    bench.now += Duration::from_secs(29);
    assert_eq!(bench.sent(0), None);
    bench.now += Duration::from_secs(1);
    assert_eq!(bench.sent(0), Some(1));
}

#[tokio::test]
async fn who_does_not_answer_within_the_hold_is_left_alone_unless_nobody_waited() {
    for (patience_over, sent) in [(true, None), (false, Some(2))] {
        let mut bench = Bench::new(Trigger::Flush);
        bench.receive(1);
        bench.core.begin_flush(bench.now, false);
        bench.sent(0);
        bench.end_flush(patience_over);
        bench.receive(2);
        bench.core.begin_flush(bench.now, false);
        assert_eq!(bench.sent(0), None, "one batch at a time");

        bench.core.destinations[0].awaited = None;
        bench.core.destinations[0].under_way = None;
        bench.core.buffer.done(0);

        assert_eq!(bench.sent(0), sent);
    }
}

#[tokio::test]
async fn a_batch_from_before_the_flush_that_fails_is_sent_again_at_once() {
    let mut bench = Bench::new(Trigger::Receive);
    bench.receive(1);
    assert_eq!(bench.sent(0), Some(1));

    bench.core.begin_flush(bench.now, false);
    bench.settle(0, refused());

    assert_eq!(bench.sent(0), Some(1));
    bench.settle(0, refused());
    assert_eq!(bench.sent(0), None, "once");
}

#[tokio::test]
async fn a_failure_over_a_freeze_says_nothing_about_the_destination() {
    let mut bench = Bench::new(Trigger::Flush);
    bench.receive(1);
    bench.core.begin_flush(bench.now, false);
    bench.sent(0);

    bench.core.thawed(Duration::ZERO);
    bench.settle(0, refused());

    assert_eq!(bench.sent(0), Some(1));
}

#[tokio::test]
async fn a_drain_tries_a_destination_that_was_left_alone_once() {
    let mut bench = Bench::new(Trigger::Flush);
    bench.receive(1);
    for drain in [false, true] {
        bench.core.begin_flush(bench.now, drain);
        assert_eq!(bench.sent(0), Some(1));
        bench.settle(0, refused());
    }

    assert_eq!(bench.sent(0), None);
}

#[tokio::test]
async fn of_a_refused_batch_only_the_bad_signal_is_dropped() {
    let mut bench = Bench::new(Trigger::Flush);
    [1, 2, 4].into_iter().for_each(|items| bench.receive(items));
    bench.core.begin_flush(bench.now, false);
    assert_eq!(bench.sent(0), Some(7));
    bench.settle(0, status(400, None));

    for (items, result) in
        [(1, Ok(Receipt::default())), (2, status(400, None)), (4, Ok(Receipt::default()))]
    {
        assert_eq!(bench.sent(0), Some(items));
        bench.settle(0, result);
    }

    let account = bench.account(0);
    assert_eq!(json!(account), json!({"received": 7, "delivered": 5, "dropped": {"rejected": 2}}));
}

#[tokio::test]
async fn of_a_refused_batch_from_the_spool_only_the_bad_signal_is_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::with_spool(&directory);
    [1, 2].into_iter().for_each(|items| bench.receive(items));
    bench.end_flush(true);
    bench.core.begin_flush(bench.now, false);
    assert_eq!(bench.sent(0), Some(3));
    bench.settle(0, status(400, None));

    for (items, result) in [(1, status(400, None)), (2, Ok(Receipt::default()))] {
        assert_eq!(bench.sent(0), Some(items));
        bench.settle(0, result);
    }

    assert_eq!(
        json!(bench.account(0)),
        json!({"received": 3, "delivered": 2, "dropped": {"rejected": 1}})
    );
}

#[tokio::test]
async fn what_is_left_when_a_flush_ends_is_spooled_and_sent_from_there() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::with_spool(&directory);
    bench.receive(1);
    bench.core.begin_flush(bench.now, false);
    bench.sent(0);
    bench.receive(2);
    for _ in 0..2 {
        bench.put_off(); // nothing is there twice
        assert_eq!(json!(bench.account(0)), json!({"received": 3, "spooled": 3}));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    bench.settle(0, Ok(Receipt::default())); // the answer to the first batch comes after all
    bench.core.begin_flush(bench.now, false);
    assert_eq!(bench.sent(0), Some(2));
    bench.settle(0, Ok(Receipt::default()));

    assert_eq!(json!(bench.account(0)), json!({"received": 3, "delivered": 3}));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_backlog_of_many_small_files_is_sent_in_bounded_pieces() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::with_spool(&directory);
    for _ in 0..150 {
        bench.receive(1);
        bench.put_off();
    }
    bench.core.begin_flush(bench.now, false);

    let sent = std::iter::from_fn(|| {
        let items = bench.sent(0)?;
        bench.settle(0, Ok(Receipt::default()));
        Some(items)
    });

    assert_eq!(sent.collect::<Vec<_>>(), [64, 64, 22]);
    assert_eq!(json!(bench.account(0)), json!({"received": 150, "delivered": 150}));
}

#[tokio::test]
async fn the_next_process_sends_what_the_last_one_spooled() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::with_spool(&directory);
    bench.receive(5);
    bench.put_off();

    let mut next = Bench::with_spool(&directory);
    next.core.begin_flush(next.now, false);

    assert_eq!(next.sent(0), Some(5));
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::with_spool(&directory);
    bench.receive(5);
    bench.put_off();
    let file = std::fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1; // a byte of the checksum
    std::fs::write(&file, bytes).unwrap();

    bench.core.begin_flush(bench.now, false);

    assert_eq!(bench.sent(0), None);
    assert_eq!(json!(bench.account(0)), json!({"received": 5, "dropped": {"spool_damaged": 5}}));
    assert!(file.with_extension("damaged").exists());
}

#[tokio::test]
async fn a_full_buffer_goes_to_the_spool_and_only_what_cannot_is_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::with_spool(&directory);

    (0..150).for_each(|_| bench.receive(1)); // of 10 bytes each, where 1,000 fit

    assert_eq!(bench.account(0).lost(), 0);
    assert_eq!(bench.account(1).at(State::Dropped(Reason::BufferFull)), 50);
}

#[tokio::test]
async fn what_is_under_way_when_the_buffer_is_full_makes_room_too() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::with_spool(&directory);
    bench.receive(1);
    bench.core.begin_flush(bench.now, false);
    bench.sent(0);

    (0..150).for_each(|_| bench.receive(1));

    assert_eq!(bench.account(0).lost(), 0);
    bench.settle(0, Ok(Receipt::default()));
    assert_eq!(bench.account(0).at(State::Delivered), 1);
}

#[tokio::test]
async fn a_spool_that_refused_is_asked_again_with_the_next_flush() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("spool");
    let mut bench = Bench::new(Trigger::Flush);
    bench.core.use_spool(Spool::open(&path, 64 << 20).unwrap(), Ledger::new(2));
    std::fs::remove_dir(&path).unwrap();
    (0..101).for_each(|_| bench.receive(1)); // of 10 bytes each, where 1,000 fit
    assert_eq!(bench.account(0).at(State::Spooled), 0);

    std::fs::create_dir(&path).unwrap();
    bench.receive(1);
    assert_eq!(bench.account(0).at(State::Spooled), 0);
    bench.core.begin_flush(bench.now, false);
    bench.end_flush(false);

    assert_eq!(bench.account(0).at(State::Spooled), 100);
}

#[tokio::test]
async fn much_is_spooled_in_pieces() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::with_spool(&directory);
    for _ in 0..5 {
        let bytes = vec![0; 400_000].into();
        bench.core.buffer.push(Signal {
            kind: Kind::Traces,
            bytes,
            items: 1,
            has_error: false,
            has_unsampled: false,
        });
        bench.core.ledger.received(0, 1);
        bench.core.ledger.received(1, 1);
    }
    bench.core.put_off();

    let spooled =
        std::iter::from_fn(|| bench.core.spool_some().then(|| bench.account(0).at(State::Spooled)));

    assert_eq!(spooled.collect::<Vec<_>>(), [2, 4, 5]);
}

#[tokio::test]
async fn what_a_destination_took_only_in_part_is_counted_so() {
    let mut bench = Bench::new(Trigger::Flush);
    bench.receive(10);
    bench.core.begin_flush(bench.now, false);
    bench.sent(0);

    bench.settle(0, Ok(Receipt { rejected: 3, unsampled: 2 }));

    let dropped = json!({"rejected": 3, "unsampled": 2});
    let expected = json!({"received": 10, "delivered": 5, "dropped": dropped});
    assert_eq!(json!(bench.account(0)), expected);
}

#[tokio::test]
async fn the_summary_tells_how_a_destination_fares() {
    let mut bench = Bench::new(Trigger::Flush);
    bench.receive(3);
    bench.core.begin_flush(bench.now, false);
    bench.sent(0);
    bench.settle(0, Err(ExportError::Timeout(Duration::from_secs(10))));

    let expected = json!({
        "durable": {
            "traces": {"received": 3, "held": 3},
            "requests": 1, "failed_requests": 1, "repeated_items": 3, "breaker": "open",
        },
        "fleeting": {
            "traces": {"received": 3, "held": 3},
            "requests": 0, "failed_requests": 0, "repeated_items": 0, "breaker": "closed",
        },
    });
    assert_eq!(json!(bench.core.destinations(bench.now)), expected);
}

#[tokio::test]
async fn a_batch_that_sent_nothing_says_nothing_of_its_destination() {
    let mut bench = Bench::new(Trigger::Flush);
    bench.receive(1);
    bench.core.begin_flush(bench.now, false);
    bench.sent(0);
    bench.settle(0, refused());
    bench.now += Duration::from_secs(2); // the first pause is over
    bench.core.begin_flush(bench.now, false);
    assert_eq!(bench.sent(0), Some(1));

    bench.settle(0, Ok(Receipt { rejected: 0, unsampled: 1 }));

    let fares = json!(bench.core.destinations(bench.now));
    assert_eq!(fares["durable"]["breaker"], "half_open");
}

#[tokio::test]
async fn a_destination_that_refuses_every_part_of_a_batch_is_left_alone() {
    let mut bench = Bench::new(Trigger::Flush);
    [1, 2].into_iter().for_each(|items| bench.receive(items));
    bench.core.begin_flush(bench.now, false);
    bench.sent(0);
    bench.settle(0, status(400, None));
    for items in [1, 2] {
        assert_eq!(bench.sent(0), Some(items));
        bench.settle(0, status(400, None));
    }

    assert_eq!(json!(bench.core.destinations(bench.now))["durable"]["breaker"], "open");
    assert_eq!(json!(bench.account(0)), json!({"received": 3, "dropped": {"rejected": 3}}));
}

#[tokio::test]
async fn an_address_that_knows_no_such_path_loses_nothing() {
    for code in [404, 405] {
        let mut bench = Bench::new(Trigger::Flush);
        bench.receive(1);
        bench.core.begin_flush(bench.now, false);
        bench.sent(0);

        bench.settle(0, status(code, None));

        assert_eq!(json!(bench.account(0)), json!({"received": 1, "held": 1}));
    }
}

#[tokio::test]
async fn who_took_something_within_the_hold_is_not_left_alone_for_the_rest() {
    let mut bench = Bench::new(Trigger::Flush);
    bench.receive(1);
    bench.core.begin_flush(bench.now, false);
    bench.sent(0);
    bench.receive(2);
    bench.core.begin_flush(bench.now, false);
    bench.settle(0, Ok(Receipt::default()));
    assert_eq!(bench.sent(0), Some(2));

    bench.end_flush(true);

    assert_eq!(json!(bench.core.destinations(bench.now))["durable"]["breaker"], "closed");
}

#[tokio::test]
async fn nobody_waits_for_a_spool_whose_only_file_is_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::with_spool(&directory);
    bench.receive(5);
    bench.put_off();
    let file = std::fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
    std::fs::write(file, b"damaged").unwrap();

    bench.core.begin_flush(bench.now, false);
    assert_eq!((bench.sent(0), bench.sent(1)), (None, Some(5)));
    bench.settle(1, Ok(Receipt::default()));

    assert!(bench.core.flush_is_done());
}

#[tokio::test]
async fn last_words_end_when_their_time_is_over_and_are_not_said_twice() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::with_spool(&directory);
    for _ in 0..3 {
        bench.receive(1);
        bench.put_off();
    }
    let (mut log, pieces) = (Vec::new(), std::cell::Cell::new(0));
    let has_time = || pieces.replace(pieces.get() + 1) < 1;

    let words = bench.core.last_words(&mut log, &has_time).unwrap();
    let again = bench.core.last_words(&mut log, &|| true).unwrap();

    assert_eq!((words.items, words.left_out, again.items), (2, 1, 0));
    let log = String::from_utf8(log).unwrap();
    let read: Vec<_> = log.lines().map(|line| crate::last_resort::read(line).unwrap()).collect();
    assert_eq!(read.iter().map(|replay| replay.signal.items).sum::<u64>(), 2);
}
