//! Batches that a destination rejects in part or entirely.

use super::*;

#[tokio::test]
async fn of_a_refused_batch_only_the_bad_signal_is_dropped() {
    let mut bench = Bench::new(Trigger::Flush);
    [1, 2, 4].into_iter().for_each(|items| bench.receive(items));
    bench.core.begin_flush(bench.now, false);
    assert_eq!(bench.sent(0), Some(7));
    bench.complete(0, status(400, None));

    for (items, result) in [
        (1, Ok(ExportOutcome::default())),
        (2, status(400, None)),
        (4, Ok(ExportOutcome::default())),
    ] {
        assert_eq!(bench.sent(0), Some(items));
        bench.complete(0, result);
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
    bench.complete(0, status(400, None));

    for (items, result) in [(1, status(400, None)), (2, Ok(ExportOutcome::default()))] {
        assert_eq!(bench.sent(0), Some(items));
        bench.complete(0, result);
    }

    assert_eq!(
        json!(bench.account(0)),
        json!({"received": 3, "delivered": 2, "dropped": {"rejected": 1}})
    );
}

#[tokio::test]
async fn a_batch_whose_answer_is_too_long_is_dropped_and_not_sent_in_parts() {
    let mut bench = Bench::new(Trigger::Flush);
    [1, 2].into_iter().for_each(|items| bench.receive(items));
    bench.core.begin_flush(bench.now, false);
    assert_eq!(bench.sent(0), Some(3));

    bench.complete(0, Err(ExportError::ReplyTooLong(1)));

    assert_eq!(bench.sent(0), None);
    assert_eq!(json!(bench.account(0)), json!({"received": 3, "dropped": {"rejected": 3}}));
}

#[tokio::test]
async fn what_a_destination_took_only_in_part_is_counted_so() {
    let mut bench = Bench::new(Trigger::Flush);
    bench.receive(10);
    bench.core.begin_flush(bench.now, false);
    bench.sent(0);

    bench.complete(0, Ok(ExportOutcome { rejected: 3, unsampled: 2 }));

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
    bench.core.count_bytes(0, 100);
    bench.complete(0, Err(ExportError::Timeout(Duration::from_secs(10))));

    let expected = json!({
        "durable": {
            "traces": {"received": 3, "held": 3},
            "requests": 1, "failed_requests": 1, "repeated_items": 3, "sent_bytes": 100,
            "breaker": "open",
        },
        "fleeting": {
            "traces": {"received": 3, "held": 3},
            "requests": 0, "failed_requests": 0, "repeated_items": 0, "sent_bytes": 0,
            "breaker": "closed",
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
    bench.complete(0, refused());
    bench.now += Duration::from_secs(2); // the first pause is over
    bench.core.begin_flush(bench.now, false);
    assert_eq!(bench.sent(0), Some(1));

    bench.complete(0, Ok(ExportOutcome { rejected: 0, unsampled: 1 }));

    let fares = json!(bench.core.destinations(bench.now));
    assert_eq!(fares["durable"]["breaker"], "half_open");
}

#[tokio::test]
async fn a_destination_that_refuses_every_part_of_a_batch_is_left_alone() {
    let mut bench = Bench::new(Trigger::Flush);
    [1, 2].into_iter().for_each(|items| bench.receive(items));
    bench.core.begin_flush(bench.now, false);
    bench.sent(0);
    bench.complete(0, status(400, None));
    for items in [1, 2] {
        assert_eq!(bench.sent(0), Some(items));
        bench.complete(0, status(400, None));
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

        bench.complete(0, status(code, None));

        assert_eq!(json!(bench.account(0)), json!({"received": 1, "held": 1}));
    }
}
