//! Batches that are moved to the spool, and sent from there.

use super::*;

#[tokio::test]
async fn what_is_left_when_a_flush_ends_is_spooled_and_sent_from_there() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::with_spool(&directory);
    bench.receive(1);
    bench.core.begin_flush(bench.now, false);
    bench.sent(0);
    bench.receive(2);
    for _ in 0..2 {
        bench.defer(); // spools no payload twice
        assert_eq!(json!(bench.account(0)), json!({"received": 3, "spooled": 3}));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    bench.complete(0, Ok(ExportOutcome::default())); // the answer to the first batch comes after all
    bench.core.begin_flush(bench.now, false);
    assert_eq!(bench.sent(0), Some(2));
    bench.complete(0, Ok(ExportOutcome::default()));

    assert_eq!(json!(bench.account(0)), json!({"received": 3, "delivered": 3}));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_backlog_of_many_small_files_is_sent_in_bounded_pieces() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::with_spool(&directory);
    for _ in 0..150 {
        bench.receive(1);
        bench.defer();
    }
    bench.core.begin_flush(bench.now, false);

    let sent = std::iter::from_fn(|| {
        let items = bench.sent(0)?;
        bench.complete(0, Ok(ExportOutcome::default()));
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
    bench.defer();

    let mut next = Bench::with_spool(&directory);
    next.core.begin_flush(next.now, false);

    assert_eq!(next.sent(0), Some(5));
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::with_spool(&directory);
    bench.receive(5);
    bench.defer();
    let file = std::fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1; // a byte of the checksum
    std::fs::write(&file, bytes).unwrap();

    bench.core.begin_flush(bench.now, false);

    assert_eq!(bench.sent(0), None);
    assert_eq!(json!(bench.account(0)), json!({"received": 5, "dropped": {"spool_damaged": 5}}));
    assert!(file.with_extension("damaged").exists());
}

/// The files of a spool, oldest first.
fn files_of(directory: &tempfile::TempDir) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> =
        std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Makes a file unreadable, for root too, by a directory of its name; returns its content.
fn make_unreadable(file: &std::path::Path) -> Vec<u8> {
    let content = std::fs::read(file).unwrap();
    std::fs::remove_file(file).unwrap();
    std::fs::create_dir(file).unwrap();
    content
}

fn make_readable(file: &std::path::Path, content: &[u8]) {
    std::fs::remove_dir(file).unwrap();
    std::fs::write(file, content).unwrap();
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_kept_and_delivered_by_a_later_flush() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::with_spool(&directory);
    for items in [1, 2, 4] {
        bench.receive(items);
        bench.defer();
    }
    let file = files_of(&directory).remove(1);
    let content = make_unreadable(&file);

    bench.core.begin_flush(bench.now, false);
    assert_eq!(bench.sent(0), Some(5), "the files beside it are sent");
    bench.complete(0, Ok(ExportOutcome::default()));
    assert_eq!((bench.sent(0), bench.core.wake_at()), (None, None), "it is not read in a loop");
    assert_eq!(bench.sent(1), Some(7));
    bench.complete(1, Ok(ExportOutcome::default()));
    assert!(bench.core.flush_is_done(), "Next does not wait for it");
    bench.end_flush(false);
    let expected = json!({"received": 7, "delivered": 5, "spooled": 2});
    assert_eq!(json!(bench.account(0)), expected);

    make_readable(&file, &content);
    bench.core.begin_flush(bench.now, false);
    assert_eq!(bench.sent(0), Some(2));
    bench.complete(0, Ok(ExportOutcome::default()));
    assert_eq!(json!(bench.account(0)), json!({"received": 7, "delivered": 7}));
    assert!(files_of(&directory).is_empty());
}

#[tokio::test]
async fn a_spool_of_which_nothing_can_be_read_is_kept_and_fresh_telemetry_is_sent() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::with_spool(&directory);
    for _ in 0..20 {
        bench.receive(1);
        bench.defer();
    }
    let files = files_of(&directory);
    let contents: Vec<_> = files.iter().map(|file| make_unreadable(file)).collect();

    for _ in 0..3 {
        bench.receive(1);
        bench.core.begin_flush(bench.now, false);
        assert_eq!(bench.sent(0), Some(1));
        bench.complete(0, Ok(ExportOutcome::default()));
        assert_eq!((bench.sent(0), bench.core.wake_at()), (None, None));
        bench.end_flush(false);
    }
    let expected = json!({"received": 23, "delivered": 3, "spooled": 20});
    assert_eq!(json!(bench.account(0)), expected);

    files.iter().zip(&contents).for_each(|(file, content)| make_readable(file, content));
    bench.core.begin_flush(bench.now, false);
    assert_eq!(bench.sent(0), Some(20));
    bench.complete(0, Ok(ExportOutcome::default()));
    assert_eq!(json!(bench.account(0)), json!({"received": 23, "delivered": 23}));
}

#[tokio::test]
async fn without_flushes_an_unreadable_file_is_read_again_with_the_next_signal() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::with_spool(&directory);
    bench.receive(2);
    bench.defer();
    bench.core.trigger = Trigger::Receive;
    let file = files_of(&directory).remove(0);
    let content = make_unreadable(&file);
    assert_eq!((bench.sent(0), bench.core.wake_at()), (None, None));

    make_readable(&file, &content);
    bench.receive(1);
    let sent: Vec<_> = std::iter::from_fn(|| {
        let items = bench.sent(0)?;
        bench.complete(0, Ok(ExportOutcome::default()));
        Some(items)
    })
    .collect();

    assert_eq!(sent, [1, 2]);
}

#[tokio::test]
async fn a_file_that_the_function_deleted_and_an_emptied_one_are_counted_as_lost() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::with_spool(&directory);
    for items in [1, 2, 4] {
        bench.receive(items);
        bench.defer();
    }
    let files = files_of(&directory);
    std::fs::remove_file(&files[0]).unwrap();
    std::fs::write(&files[1], b"").unwrap();

    bench.core.begin_flush(bench.now, false);
    assert_eq!(bench.sent(0), Some(4));
    bench.complete(0, Ok(ExportOutcome::default()));

    let expected = json!({"received": 7, "delivered": 4, "dropped": {"spool_damaged": 3}});
    assert_eq!(json!(bench.account(0)), expected);
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
    bench.complete(0, Ok(ExportOutcome::default()));
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
        bench.core.buffer.push(Payload {
            kind: SignalKind::Traces,
            bytes,
            items: 1,
            has_error: false,
            has_unsampled: false,
        });
        bench.core.ledger.received(0, 1);
        bench.core.ledger.received(1, 1);
    }
    bench.core.defer();

    let spooled =
        std::iter::from_fn(|| bench.core.spool_some().then(|| bench.account(0).at(State::Spooled)));

    assert_eq!(spooled.collect::<Vec<_>>(), [2, 4, 5]);
}

#[tokio::test]
async fn nobody_waits_for_a_spool_whose_only_file_is_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::with_spool(&directory);
    bench.receive(5);
    bench.defer();
    let file = std::fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
    std::fs::write(file, b"damaged").unwrap();

    bench.core.begin_flush(bench.now, false);
    assert_eq!((bench.sent(0), bench.sent(1)), (None, Some(5)));
    bench.complete(1, Ok(ExportOutcome::default()));

    assert!(bench.core.flush_is_done());
}

#[tokio::test]
async fn last_words_end_when_their_time_is_over_and_are_not_said_twice() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::with_spool(&directory);
    for _ in 0..3 {
        bench.receive(1);
        bench.defer();
    }
    let (mut log, pieces) = (Vec::new(), std::cell::Cell::new(0));
    let has_time = || pieces.replace(pieces.get() + 1) < 1;

    let words = bench.core.dead_letters(&mut log, &has_time).unwrap();
    let again = bench.core.dead_letters(&mut log, &|| true).unwrap();

    assert_eq!((words.items, words.left_out, again.items), (2, 1, 0));
    let log = String::from_utf8(log).unwrap();
    let read: Vec<_> =
        log.lines().map(|line| crate::pipeline::dead_letter::read(line).unwrap()).collect();
    assert_eq!(read.iter().map(|replay| replay.signal.items).sum::<u64>(), 2);
}
