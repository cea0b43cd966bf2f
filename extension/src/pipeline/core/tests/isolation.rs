//! A payload that a destination answers with server errors, among others that it accepts.

use super::*;

/// The destination answers each batch with an item count in `bad` with 500.
fn flush(bench: &mut Bench, bad: u64) {
    bench.now += Duration::from_secs(600);
    bench.core.begin_flush(bench.now, false);
    for _ in 0..100 {
        let Some(batch) = bench.core.next_batch(bench.now, 0) else { break };
        // The number of items names the payload; a batch holds the bad one if its sum has the bit.
        let result = match batch.items & bad {
            0 => Ok(ExportOutcome::default()),
            _ => status(500, None),
        };
        bench.complete(0, result);
    }
    bench.end_flush(false);
}

#[tokio::test]
async fn a_payload_with_server_errors_is_isolated_and_dropped_while_others_are_accepted() {
    let mut bench = Bench::new(Trigger::Flush);
    for items in [1, 2, 4] {
        bench.receive(items);
    }

    for _ in 0..3 {
        flush(&mut bench, 2);
    }
    assert_eq!(bench.account(0).at(State::Delivered), 0, "a short outage may be the cause");
    flush(&mut bench, 2);
    assert_eq!(bench.account(0).at(State::Delivered), 5, "its neighbours are sent");
    for _ in 0..3 {
        bench.receive(8);
        flush(&mut bench, 2);
    }

    let expected = json!({"received": 31, "delivered": 29, "dropped": {"rejected": 2}});
    assert_eq!(json!(bench.account(0)), expected);
}

#[tokio::test]
async fn an_outage_of_server_errors_drops_nothing() {
    let mut bench = Bench::new(Trigger::Flush);
    for _ in 0..30 {
        bench.receive(1);
        flush(&mut bench, u64::MAX);
    }
    assert_eq!(json!(bench.account(0)), json!({"received": 30, "held": 30}));

    flush(&mut bench, 0);
    flush(&mut bench, 0);

    assert_eq!(json!(bench.account(0)), json!({"received": 30, "delivered": 30}));
}
