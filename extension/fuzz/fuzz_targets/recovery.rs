//! Whatever an earlier process has left on the disk, the next one goes on: it panics nowhere, its sums add
//! up, and what it reads is sent.
#![no_main]

use std::{fs, time::Duration};

use cruddur_telemetry::{
    delivery::{DestinationSpec, error::ExportOutcome},
    otlp::payload::SignalKind,
    pipeline::{Core, Trigger, ledger::State, spool::Spool, sums::Sums},
};
use libfuzzer_sys::fuzz_target;
use tokio::time::Instant;

// The first byte is the length of the sums in units of 8 bytes; a segment follows them.
fuzz_target!(|input: &[u8]| {
    let Some((length, rest)) = input.split_first() else { return };
    let (sums, segment) = rest.split_at(rest.len().min(usize::from(*length) * 8));
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("00000000000000000001.others.segment");
    fs::write(path, segment).expect("a segment");

    let kinds = SignalKind::ALL.to_vec();
    let spec = DestinationSpec {
        name: "honeycomb",
        kinds,
        durable: true,
        max_items: u64::MAX,
        keeps_duplicates: true,
    };
    let mut core = Core::new(vec![spec], 1 << 20, Trigger::Flush, 1);
    let (spool, recovered) =
        Spool::open(directory.path(), 64 << 20, &core.names()).expect("a spool");
    core.use_spool(spool, recovered, Sums::decode(sums));

    let now = Instant::now() + Duration::from_secs(100);
    core.begin_flush(now, true);
    while core.next_batch(now, 0).is_some() {
        core.complete(now, 0, Ok(ExportOutcome::default()));
    }
    // Rows of other queues stay for a later process that has them.
    let queues = SignalKind::ALL.map(|kind| format!("honeycomb.{}", kind.name()));
    for row in core.sums().rows.iter().filter(|row| queues.contains(&row.queue)) {
        assert_eq!(row.account.at(State::Spooled) + row.account.at(State::Held), 0);
    }
});
