//! Payloads that a filter leaves out at a destination.

use super::*;
use crate::invocation::choice::SamplingSettings;
use crate::invocation::registry::Registry;
use crate::otlp::filter::destinations::FilteredAt;

/// Sends to `honeycomb` and to another destination, with a spool.
fn bench(directory: &tempfile::TempDir) -> Bench {
    let specs = vec![spec("honeycomb", true), spec("fleeting", false)];
    let mut bench = Bench { core: Core::new(specs, 1_000, Trigger::Flush, 1), now: Instant::now() };
    let names = bench.core.names();
    let (spool, recovered) = Spool::open(directory.path(), 64 << 20, &names).unwrap();
    bench.core.use_spool(spool, recovered, None);
    bench
}

fn payload(filtered_at: FilteredAt) -> Payload {
    let bytes = bytes::Bytes::from_static(&[0x0a, 4, 0x12, 2, 0x12, 0]);
    Payload { filtered_at, ..Payload::read(SignalKind::Traces, bytes).unwrap().0 }
}

#[tokio::test]
async fn a_filtered_payload_is_received_and_counted_where_it_is_left_out_and_sent_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = bench(&directory);
    for filtered_at in [FilteredAt::NOWHERE, FilteredAt::HONEYCOMB, FilteredAt::EVERYWHERE] {
        bench.core.receive(payload(filtered_at));
    }
    bench.core.begin_flush(bench.now, true);

    assert_eq!((bench.deliver(0), bench.deliver(1)), (vec![1], vec![2]));

    let filtered = |count| json!({"filtered": count});
    let expected = json!({"received": 3, "delivered": 1, "dropped": filtered(2)});
    assert_eq!(json!(bench.account(0)), expected);
    let expected = json!({"received": 3, "delivered": 2, "dropped": filtered(1)});
    assert_eq!(json!(bench.account(1)), expected);
    assert_eq!(bench.account(0).lost(), 0);
    let sums = bench.write_sums();
    assert_eq!(Sums::decode(&sums.encode()), Some(sums), "the next process has the same sums");
}

#[tokio::test]
async fn a_filtered_payload_waits_for_no_sampling_decision() {
    let directory = tempfile::tempdir().unwrap();
    let Bench { core, now } = bench(&directory);
    let slow = Duration::from_secs(2);
    let settings = SamplingSettings { rate: 20, slow, salt: String::new(), samples_logs: false };
    let core = core.with_sampling("honeycomb", &Registry::with_sampling(Some(settings)));
    let mut bench = Bench { core, now };

    bench.core.receive(payload(FilteredAt::HONEYCOMB));
    bench.core.begin_flush(bench.now, true);

    assert_eq!((bench.deliver(0), bench.deliver(1)), (vec![], vec![1]));
    assert_eq!(json!(bench.account(0)), json!({"received": 1, "dropped": {"filtered": 1}}));
}
