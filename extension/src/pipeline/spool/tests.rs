use super::*;
use crate::otlp::payload::Payload;
use crate::pipeline::spool::file::BLOCK;

fn batch(kind: SignalKind, items: u64, has_error: bool) -> Batch {
    let bytes = vec![0; 10].into();
    let signal = Payload { kind, bytes, items, has_error, has_unsampled: false };
    Batch::of(kind, std::iter::once(&signal)).unwrap()
}

fn write(spool: &mut Spool, batch: &Batch) -> Vec<u64> {
    let removed = spool.make_room(batch.to_zstd().unwrap().len() as u64, &[]).unwrap();
    spool.write("honeycomb", batch).unwrap();
    removed.into_iter().map(|file| file.items).collect()
}

#[test]
fn the_bound_is_one_of_blocks_on_the_disk_and_errors_stay_longest() {
    let directory = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(directory.path(), 3 * BLOCK).unwrap();
    for (items, has_error) in [(1, true), (2, false), (4, false)] {
        assert!(write(&mut spool, &batch(SignalKind::Traces, items, has_error)).is_empty());
    }

    assert_eq!(write(&mut spool, &batch(SignalKind::Traces, 8, true)), [2]);
    assert_eq!(write(&mut spool, &batch(SignalKind::Traces, 16, true)), [4]);
    assert_eq!(write(&mut spool, &batch(SignalKind::Traces, 32, true)), [1]);

    let left: Vec<_> = spool.files().map(|file| file.items).collect();
    assert_eq!(left, [8, 16, 32]);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
}

#[test]
fn a_kind_is_read_in_a_row_though_files_of_others_lie_between() {
    let directory = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(directory.path(), 100 * BLOCK).unwrap();
    for items in 0..6 {
        let kind = [SignalKind::Logs, SignalKind::Traces][items as usize % 2];
        write(&mut spool, &batch(kind, items, false));
    }
    assert_eq!(spool.oldest_kind("honeycomb", &SignalKind::ALL, &[]), Some(SignalKind::Logs));
    assert_eq!(spool.oldest_kind("honeycomb", &[SignalKind::Metrics], &[]), None);
    assert_eq!(spool.oldest_kind("xray", &SignalKind::ALL, &[]), None);

    let mut after = None;
    let items = std::iter::from_fn(|| {
        let (file, batch) = spool.next("honeycomb", SignalKind::Traces, after, &[])?;
        after = Some(file.sequence);
        Some(batch.unwrap().items)
    });
    assert_eq!(items.collect::<Vec<_>>(), [1, 3, 5]);
}

#[test]
fn what_the_log_was_told_of_is_known_to_the_next_process_and_no_new_file_is_taken_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(directory.path(), 100 * BLOCK).unwrap();
    write(&mut spool, &batch(SignalKind::Traces, 1, false));
    spool.note_logged(10).unwrap();
    spool.note_logged(5).unwrap();
    spool.remove(0).unwrap();

    let mut next = Spool::open(directory.path(), 100 * BLOCK).unwrap();
    write(&mut next, &batch(SignalKind::Traces, 2, false));

    assert_eq!(next.logged_bytes(), 15);
    assert_eq!(next.unlogged().map(|file| file.items).collect::<Vec<_>>(), [2]);
}

#[test]
fn what_is_damaged_has_its_place_in_the_bound_and_goes_first() {
    let directory = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(directory.path(), 3 * BLOCK).unwrap();
    for items in [1, 2] {
        write(&mut spool, &batch(SignalKind::Traces, items, false));
        let file = spool.files().next().unwrap();
        fs::write(spool.path(file), b"damaged").unwrap();
        assert!(spool.next("honeycomb", SignalKind::Traces, None, &[]).unwrap().1.is_err());
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);

    let mut next = Spool::open(directory.path(), 3 * BLOCK).unwrap();
    for (items, all) in [(4, 3), (8, 3), (16, 3)] {
        assert!(write(&mut next, &batch(SignalKind::Traces, items, false)).is_empty());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), all, "{items}");
    }

    assert_eq!(write(&mut next, &batch(SignalKind::Traces, 32, false)), [4]);
}
