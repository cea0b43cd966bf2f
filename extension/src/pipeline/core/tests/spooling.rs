//! Payloads that are appended to the spool, and sent from there.

use std::{fs, path::PathBuf};

use super::*;

/// The files of a spool, oldest first.
fn files_of(directory: &tempfile::TempDir) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[tokio::test]
async fn a_received_payload_is_on_disk_before_a_flush_and_for_each_durable_destination() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::with_spool(&directory);
    bench.receive(3);

    assert_eq!(json!(bench.account(0)), json!({"received": 3, "spooled": 3}));
    assert_eq!(json!(bench.account(1)), json!({"received": 3, "held": 3}));
    bench.core.begin_flush(bench.now, false);
    assert_eq!((bench.deliver(0), bench.deliver(1)), (vec![3], vec![3]));
    for id in [0, 1] {
        assert_eq!(json!(bench.account(id)), json!({"received": 3, "delivered": 3}));
    }
}

#[tokio::test]
async fn a_finished_segment_is_removed_after_the_sums_are_written() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::with_spool(&directory);
    bench.receive(1);
    bench.core.begin_flush(bench.now, false);
    bench.deliver(0);
    bench.deliver(1);
    bench.core.compact_some(None); // the next payload gets a new segment
    assert_eq!(files_of(&directory).len(), 1);

    let mut next = bench.killed(&directory);

    next.write_sums();
    assert!(files_of(&directory).is_empty(), "the next process needs no record of it");
}

#[tokio::test]
async fn after_a_kill_the_next_process_sends_the_payloads_that_were_not_delivered() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::with_spool(&directory);
    for items in [1, 2, 4] {
        bench.receive(items);
        if items == 1 {
            bench.core.begin_flush(bench.now, false);
            bench.deliver(0);
        }
    }

    let mut next = bench.killed(&directory);
    next.core.begin_flush(next.now, false);

    assert_eq!(next.deliver(0), [6]);
    assert_eq!(json!(next.account(0)), json!({"received": 7, "delivered": 7}));
    let killed = json!({"received": 7, "dropped": {"killed": 7}});
    assert_eq!(json!(next.account(1)), killed, "it is not durable");
}

#[tokio::test]
async fn a_process_that_takes_the_directory_over_sends_older_payloads_too() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = Bench::with_spool(&directory);
    first.receive(1);
    let mut second = Bench::new(Trigger::Flush);
    second.core.number_from(1_000);
    second.receive(2);
    second.core.begin_flush(second.now, false);
    second.deliver(0);

    let sums = first.write_sums();
    let (spool, recovered) = Spool::open(directory.path(), 64 << 20, &second.core.names()).unwrap();
    second.core.use_spool(spool, recovered, Some(sums));
    second.core.begin_flush(second.now, false);

    assert_eq!(second.deliver(0), [1]);
}

#[tokio::test]
async fn a_payload_that_was_appended_after_the_last_sums_is_counted_by_its_record() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::with_spool(&directory);
    bench.receive(1);
    let sums = bench.write_sums();
    bench.receive(2);

    let mut next = Bench::new(Trigger::Flush);
    let names = next.core.names();
    let (spool, recovered) = Spool::open(directory.path(), 64 << 20, &names).unwrap();
    next.core.use_spool(spool, recovered, Some(sums));

    assert_eq!(json!(next.account(0)), json!({"received": 3, "spooled": 3}));
}

#[tokio::test]
async fn a_damaged_record_costs_itself() {
    let directory = tempfile::tempdir().unwrap();
    for place in [60, 75] {
        let mut bench = Bench::with_spool(&directory);
        for items in [1, 2, 4] {
            bench.receive(items);
        }
        let file = files_of(&directory).remove(0);
        let mut bytes = fs::read(&file).unwrap();
        bytes[place] ^= 1; // of the first record: in its header, in its body
        fs::write(&file, bytes).unwrap();

        let mut next = bench.killed(&directory);
        next.core.begin_flush(next.now, false);

        assert_eq!(next.deliver(0), [6], "{place}");
        let expected = json!({"received": 7, "delivered": 6, "dropped": {"spool_damaged": 1}});
        assert_eq!(json!(next.account(0)), expected);
        files_of(&directory).iter().for_each(|file| fs::remove_file(file).unwrap());
    }
}

#[tokio::test]
async fn the_torn_end_of_a_segment_is_no_record() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::with_spool(&directory);
    bench.receive(1);
    let sums = bench.write_sums();
    bench.receive(2);
    let file = files_of(&directory).remove(0);
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();

    let mut next = Bench::new(Trigger::Flush);
    let names = next.core.names();
    let (spool, recovered) = Spool::open(directory.path(), 64 << 20, &names).unwrap();
    next.core.use_spool(spool, recovered, Some(sums));

    assert_eq!(json!(next.account(0)), json!({"received": 1, "spooled": 1}));
}

#[tokio::test]
async fn a_full_buffer_forgets_bytes_that_are_on_disk_and_drops_what_is_only_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::with_spool(&directory);

    (0..150).for_each(|_| bench.receive(1)); // of 10 bytes each, where 1,000 fit

    assert!(bench.core.buffer.bytes() <= 1_000);
    bench.core.begin_flush(bench.now, false);
    for id in [0, 1] {
        assert_eq!(bench.deliver(id).iter().sum::<u64>(), 150, "{id}");
    }
}

#[tokio::test]
async fn a_spool_that_refused_is_tried_again_with_the_next_flush() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("spool");
    let mut bench = Bench::new(Trigger::Flush);
    let (spool, recovered) = Spool::open(&path, 64 << 20, &bench.core.names()).unwrap();
    bench.core.use_spool(spool, recovered, None);
    fs::remove_dir(&path).unwrap();
    fs::write(&path, b"in the way").unwrap();
    (0..101).for_each(|_| bench.receive(1)); // of 10 bytes each, where 1,000 fit
    assert_eq!(bench.account(0).at(State::Dropped(Reason::BufferFull)), 1);

    fs::remove_file(&path).unwrap();
    bench.receive(1);
    assert_eq!(bench.account(0).at(State::Spooled), 0);
    bench.core.begin_flush(bench.now, false);
    bench.end_flush(false);

    assert_eq!(bench.account(0).at(State::Spooled), 100);
}

#[tokio::test]
async fn a_removed_directory_is_made_again_with_all_that_waits() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::with_spool(&directory);
    (0..150).for_each(|_| bench.receive(1)); // more than fits into memory
    fs::remove_dir_all(directory.path()).unwrap();
    bench.receive(2);

    let mut next = bench.killed(&directory);
    next.core.begin_flush(next.now, false);

    next.deliver(0);
    assert_eq!(json!(next.account(0)), json!({"received": 152, "delivered": 152}));
}

#[tokio::test]
async fn a_segment_that_waits_for_a_minute_keeps_only_the_bytes_of_those_who_wait() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::with_spool(&directory);
    for _ in 0..100 {
        bench.receive(1);
    }
    bench.core.begin_flush(bench.now, false);
    bench.deliver(1);
    let before = fs::metadata(&files_of(&directory)[0]).unwrap().len();
    assert!(!bench.core.compact_some(Some(bench.now)), "before a minute");

    assert!(bench.core.compact_some(Some(bench.now + Duration::from_secs(61))));

    let after = fs::metadata(&files_of(&directory)[0]).unwrap().len();
    assert!(after * 10 < before, "{before} {after}");
    assert_eq!(json!(bench.account(0)), json!({"received": 100, "spooled": 100}));
    let mut next = bench.killed(&directory);
    next.core.begin_flush(next.now, false);
    assert_eq!(next.deliver(0), [100]);
    assert_eq!(json!(next.account(0)), json!({"received": 100, "delivered": 100}));
}

#[tokio::test]
async fn a_file_of_version_0_1_is_sent_or_counted() {
    let directory = tempfile::tempdir().unwrap();
    let span = [0x0a, 4, 0x12, 2, 0x12, 0];
    for (sequence, content) in
        [zstd::encode_all(&span[..], 1).unwrap(), b"damaged".to_vec()].into_iter().enumerate()
    {
        let name = format!("{sequence:020}.durable.traces.1.-.zst");
        fs::write(directory.path().join(name), content).unwrap();
    }

    let mut bench = Bench::with_spool(&directory);
    bench.core.begin_flush(bench.now, false);

    assert_eq!(bench.deliver(0), [1]);
    let expected = json!({"received": 2, "delivered": 1, "dropped": {"spool_damaged": 1}});
    assert_eq!(json!(bench.account(0)), expected);
}

#[tokio::test]
async fn dead_letters_end_when_their_time_is_over_and_are_not_written_twice() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::with_spool(&directory);
    (0..3).for_each(|_| bench.receive(1));
    let (mut log, pieces) = (Vec::new(), std::cell::Cell::new(0));
    let has_time = || pieces.replace(pieces.get() + 1) < 1;

    let letters = bench.core.dead_letters(&mut log, &has_time).unwrap();
    let mut next = bench.killed(&directory);
    let again = next.core.dead_letters(&mut log, &|| true).unwrap();

    assert_eq!((letters.items, letters.left_out, again.items), (2, 1, 0));
    let log = String::from_utf8(log).unwrap();
    let read: Vec<_> =
        log.lines().map(|line| crate::pipeline::dead_letter::read(line).unwrap()).collect();
    assert_eq!(read.iter().map(|replay| replay.signal.items).sum::<u64>(), 2);
}

/// Ten hours without an answer, then one that takes all: an invocation with 10 KB every ten seconds, each
/// twentieth with an error, and a spool of 4 MiB.
#[tokio::test]
async fn an_outage_of_ten_hours_costs_the_oldest_payloads_without_errors() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::new(Trigger::Flush);
    let (spool, recovered) = Spool::open(directory.path(), 4 << 20, &bench.core.names()).unwrap();
    bench.core.use_spool(spool, recovered, None);
    let mut random = fastrand::Rng::with_seed(1);
    for invocation in 0..3_600 {
        let bytes: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(10_000).collect();
        bench.core.receive(Payload {
            items: 1,
            has_error: invocation % 20 == 0,
            ..Payload::empty(SignalKind::Traces, bytes.into())
        });
        bench.core.defer();
        bench.core.compact_some(Some(bench.now));
        bench.write_sums();
        bench.now += Duration::from_secs(10);
    }
    let spool = bench.core.spool.as_ref().unwrap();
    assert!(spool.bytes() <= 4 << 20);
    let waiting: Vec<_> = bench.core.buffer.lacking(0, SignalKind::Traces).collect();
    let errors = waiting.iter().filter(|entry| entry.header.has_error).count();
    assert_eq!(errors, 180, "no error is lost");
    let others = waiting.iter().filter(|entry| !entry.header.has_error);
    let others: Vec<u64> = others.map(|entry| entry.header.sequence).collect();
    let newest = (0..3_600).rev().filter(|it| it % 20 != 0).take(others.len());
    assert_eq!(others, newest.collect::<Vec<u64>>().into_iter().rev().collect::<Vec<_>>());

    bench.core.begin_flush(bench.now, false);
    bench.deliver(0);

    let account = bench.account(0);
    let delivered = account.at(State::Delivered);
    assert_eq!(delivered, (errors + others.len()) as u64);
    assert_eq!(account.at(State::Dropped(Reason::SpoolFull)), 3_600 - delivered);
}
