//! The core's decisions, one by one, on a clock that the test moves.

mod descriptors;
mod filters;
mod outlook;
mod refusals;
mod isolation;
mod measure;
mod posts;
mod sampling;
mod spooling;

use std::time::Duration;

use serde_json::json;

use tokio::time::Instant;

use crate::delivery::error::{ExportError, ExportOutcome};
use crate::delivery::{DestinationId, DestinationSpec};
use crate::otlp::payload::{Payload, SignalKind};
use crate::pipeline::core::state::{Core, Trigger};
use crate::pipeline::ledger::{Account, Reason, State};
use crate::pipeline::spool::Spool;
use crate::pipeline::sums::Sums;

fn spec(name: &'static str, durable: bool) -> DestinationSpec {
    DestinationSpec {
        name,
        kinds: vec![SignalKind::Traces],
        durable,
        max_items: u64::MAX,
        keeps_duplicates: true,
    }
}

struct Bench {
    core: Core,
    now: Instant,
}

impl Bench {
    fn new(trigger: Trigger) -> Self {
        let specs = vec![spec("durable", true), spec("fleeting", false)];
        Self { core: Core::new(specs, 1_000, trigger, 1), now: Instant::now() }
    }

    fn with_spool(directory: &tempfile::TempDir) -> Self {
        let mut bench = Self::new(Trigger::Flush);
        let names = bench.core.names();
        let (spool, recovered) = Spool::open(directory.path(), 64 << 20, &names).unwrap();
        bench.core.use_spool(spool, recovered, None);
        bench
    }

    fn receive(&mut self, items: u64) {
        // A request with one resource, one scope and so many empty spans, of 10 bytes at least.
        let scope = [0x12, 0].repeat(items as usize);
        let resource = [&[0x12, scope.len() as u8][..], &scope, &[0x1a, 2, b'x', b'x']].concat();
        let bytes = [&[0x0a, resource.len() as u8][..], &resource].concat();
        self.core.receive(Payload::read(SignalKind::Traces, bytes.into()).unwrap().0);
    }

    /// The spans that a destination is sent now.
    fn sent(&mut self, id: DestinationId) -> Option<u64> {
        self.core.next_batch(self.now, id).map(|batch| batch.items)
    }

    fn complete(&mut self, id: DestinationId, result: Result<ExportOutcome, ExportError>) {
        self.core.complete(self.now, id, result);
    }

    fn end_flush(&mut self, patience_over: bool) {
        self.core.end_flush(self.now, patience_over);
    }

    /// Writes the sums and removes finished segments, as the task does after each step.
    fn write_sums(&mut self) -> Sums {
        let sums = self.core.sums();
        self.core.remove_finished();
        sums
    }

    /// The next process of the sandbox after a kill.
    fn killed(mut self, directory: &tempfile::TempDir) -> Self {
        let sums = self.write_sums();
        let mut next = Self::new(Trigger::Flush);
        let names = next.core.names();
        let (spool, recovered) = Spool::open(directory.path(), 64 << 20, &names).unwrap();
        next.core.use_spool(spool, recovered, Some(sums));
        next
    }

    /// All batches that a destination is sent and accepts.
    fn deliver(&mut self, id: DestinationId) -> Vec<u64> {
        let mut batches = Vec::new();
        while let Some(items) = self.sent(id) {
            batches.push(items);
            self.complete(id, Ok(ExportOutcome::default()));
        }
        batches
    }

    fn account(&self, id: DestinationId) -> Account {
        self.core.ledger.account(id)
    }
}

fn refused() -> Result<ExportOutcome, ExportError> {
    Err(ExportError::Unreachable("refused".into()))
}

fn status(status: u16, retry_after: Option<u64>) -> Result<ExportOutcome, ExportError> {
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
    bench.complete(0, Ok(ExportOutcome::default()));
    assert!(!bench.core.flush_is_done());
    bench.complete(1, Ok(ExportOutcome::default()));

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
        bench.complete(id, Ok(ExportOutcome::default()));
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
    bench.complete(0, refused());

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
    bench.complete(0, status(429, Some(30)));

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
        let under_way = bench.core.destinations[0].under_way.take().unwrap();
        bench.core.buffer.done(0, &under_way.sequences);

        assert_eq!(bench.sent(0), sent);
    }
}

#[tokio::test]
async fn a_batch_from_before_the_flush_that_fails_is_sent_again_at_once() {
    let mut bench = Bench::new(Trigger::Receive);
    bench.receive(1);
    assert_eq!(bench.sent(0), Some(1));

    bench.core.begin_flush(bench.now, false);
    bench.complete(0, refused());

    assert_eq!(bench.sent(0), Some(1));
    bench.complete(0, refused());
    assert_eq!(bench.sent(0), None, "once");
}

#[tokio::test]
async fn a_failure_over_a_freeze_says_nothing_about_the_destination() {
    let mut bench = Bench::new(Trigger::Flush);
    bench.receive(1);
    bench.core.begin_flush(bench.now, false);
    bench.sent(0);

    bench.core.thawed(Duration::ZERO);
    bench.complete(0, refused());

    assert_eq!(bench.sent(0), Some(1));
}

#[tokio::test]
async fn an_answer_after_a_freeze_counts() {
    let mut bench = Bench::new(Trigger::Flush);
    bench.receive(1);
    bench.core.begin_flush(bench.now, false);
    bench.sent(0);

    bench.core.thawed(Duration::ZERO);
    bench.complete(0, status(429, Some(60)));

    bench.core.begin_flush(bench.now, false);
    assert_eq!(bench.sent(0), None, "it asked for a minute");
}

#[tokio::test]
async fn a_drain_tries_a_destination_that_was_left_alone_once() {
    let mut bench = Bench::new(Trigger::Flush);
    bench.receive(1);
    for drain in [false, true] {
        bench.core.begin_flush(bench.now, drain);
        assert_eq!(bench.sent(0), Some(1));
        bench.complete(0, refused());
    }

    assert_eq!(bench.sent(0), None);
}

#[tokio::test]
async fn who_took_something_within_the_hold_is_not_left_alone_for_the_rest() {
    let mut bench = Bench::new(Trigger::Flush);
    bench.receive(1);
    bench.core.begin_flush(bench.now, false);
    bench.sent(0);
    bench.receive(2);
    bench.core.begin_flush(bench.now, false);
    bench.complete(0, Ok(ExportOutcome::default()));
    assert_eq!(bench.sent(0), Some(2));

    bench.end_flush(true);

    assert_eq!(json!(bench.core.destinations(bench.now))["durable"]["breaker"], "closed");
}
