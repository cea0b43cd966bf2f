use std::fs;

use super::*;
use crate::otlp::payload::SignalKind;

const NAMES: [&str; 2] = ["honeycomb", "rollbar"];

fn header(sequence: u64, has_error: bool, body: &[u8]) -> RecordHeader {
    RecordHeader {
        sequence,
        kind: SignalKind::Traces,
        items: 1,
        has_error,
        has_unsampled: false,
        is_zstd: false,
        is_undecided: false,
        bytes: body.len() as u32,
        plain_bytes: body.len() as u32,
        destinations: 0b01,
    }
}

/// Appends a record that fills a segment, after room was made. Returns the removed segments' numbers.
fn fill_segment(spool: &mut Spool, sequence: u64, has_error: bool) -> io::Result<Vec<u64>> {
    let body = vec![0; 3_000];
    let header = header(sequence, has_error, &body);
    let removed = spool.make_room(&header, BTreeSet::new)?;
    spool.append(&header, &body)?;
    Ok(removed.into_iter().map(|id| id.number).collect())
}

#[test]
fn the_oldest_segment_makes_room_and_one_with_errors_only_for_errors() {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, _) = Spool::open(directory.path(), 3 * BLOCK, &NAMES).unwrap();
    for (sequence, has_error) in [(0, true), (1, false), (2, false)] {
        assert!(fill_segment(&mut spool, sequence, has_error).unwrap().is_empty());
    }

    assert_eq!(fill_segment(&mut spool, 3, false).unwrap(), [1]);
    assert_eq!(fill_segment(&mut spool, 4, true).unwrap(), [2]);
    assert_eq!(fill_segment(&mut spool, 5, true).unwrap(), [3]);
    assert_eq!(fill_segment(&mut spool, 6, false).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(fill_segment(&mut spool, 7, true).unwrap(), [0]);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count() as u64 * BLOCK, spool.bytes());
}

#[test]
fn a_record_in_flight_is_spared() {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, _) = Spool::open(directory.path(), BLOCK, &NAMES).unwrap();
    fill_segment(&mut spool, 0, false).unwrap();

    let busy: BTreeSet<_> = spool.segments.keys().copied().collect();
    let error = spool.make_room(&header(1, false, &[0; 3_000]), || busy).unwrap_err();

    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(spool.bytes(), BLOCK);
}

#[test]
fn records_are_recovered_for_the_destinations_that_the_next_process_has() {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, _) = Spool::open(directory.path(), 100 * BLOCK, &NAMES).unwrap();
    let bodies: [&[u8]; 3] = [b"one", b"", b"three"];
    for (sequence, body) in bodies.into_iter().enumerate() {
        let destinations = [0b11, 0b10, 0b01][sequence];
        let header = RecordHeader { destinations, ..header(sequence as u64, false, body) };
        spool.append(&header, body).unwrap();
    }
    drop(spool);

    let (spool, recovered) =
        Spool::open(directory.path(), 100 * BLOCK, &["rollbar", "xray"]).unwrap();

    let read = |(header, location): &(RecordHeader, Location)| {
        (header.sequence, header.destinations, spool.read(*location, header).unwrap())
    };
    let records: Vec<_> = recovered.records.iter().map(read).collect();
    assert_eq!(records, [(0, 0b01, Bytes::from("one")), (1, 0b01, Bytes::new())]);
}

#[test]
fn a_file_of_another_version_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("00000000000000000000.others.segment");
    fs::write(&path, b"CRUDSPL\x02\0\0\0\0").unwrap();

    let (_, recovered) = Spool::open(directory.path(), 100 * BLOCK, &NAMES).unwrap();

    assert!(recovered.records.is_empty() && !path.exists());
}

#[test]
fn a_failed_append_leaves_a_complete_file() {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, _) = Spool::open(directory.path(), 100 * BLOCK, &NAMES).unwrap();
    let location = spool.append(&header(0, false, b"one"), b"one").unwrap();
    let path = spool.path(location.segment);
    let before = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();

    let error = spool.append(&header(1, false, b"two"), b"two").unwrap_err();

    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert_eq!(spool.read(location, &header(0, false, b"one")).unwrap(), "one");
    assert!(before.len() > 3);
}

#[test]
fn a_segment_that_cannot_be_opened_costs_itself_and_stays() {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, _) = Spool::open(directory.path(), 100 * BLOCK, &NAMES).unwrap();
    spool.append(&header(0, false, b"one"), b"one").unwrap();
    drop(spool);
    for name in ["00000000000000000007.others.segment", "x.unfinished"] {
        fs::create_dir(directory.path().join(name)).unwrap(); // unreadable for root too
    }

    let (_, recovered) = Spool::open(directory.path(), 100 * BLOCK, &NAMES).unwrap();

    assert_eq!(recovered.records.len(), 1);
    assert!(directory.path().join("00000000000000000007.others.segment").exists());
}

#[test]
fn a_segment_that_names_more_destinations_than_bits_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let names = ["x"; 40];
    let (mut spool, _) = Spool::open(directory.path(), 100 * BLOCK, &names).unwrap();
    spool.append(&header(0, false, b"one"), b"one").unwrap();
    drop(spool);

    let (_, recovered) = Spool::open(directory.path(), 100 * BLOCK, &["x"]).unwrap();

    assert_eq!(recovered.records.len(), 1);
}
