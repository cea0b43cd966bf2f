use super::*;

fn payload(kind: SignalKind, items: u64, has_error: bool) -> Payload {
    Payload { items, has_error, ..Payload::empty(kind, vec![0; 10].into()) }
}

fn buffer(max_bytes: usize) -> Buffer {
    Buffer::new(max_bytes, vec![u64::MAX, 3])
}

const BOTH: u32 = 0b11;

/// The items of a destination's next batch, which is in flight then.
fn take(buffer: &mut Buffer, id: DestinationId, kind: SignalKind) -> Option<u64> {
    let sequences = buffer.select(id, kind, |_| false)?;
    Some(buffer.take(id, &sequences).iter().map(|part| part.items).sum())
}

/// Completes the batch in flight.
fn done(buffer: &mut Buffer, id: DestinationId) -> Vec<Entry> {
    let sequences = buffer.in_flight[id].clone();
    buffer.done(id, &sequences)
}

#[test]
fn a_payload_is_freed_when_the_last_destination_has_it() {
    let mut buffer = buffer(100);
    buffer.push(payload(SignalKind::Traces, 1, false), BOTH);
    buffer.mark();

    for (id, freed) in [(0, 0), (1, 1)] {
        assert_eq!(buffer.bytes(), 10);
        take(&mut buffer, id, SignalKind::Traces).unwrap();
        assert_eq!(done(&mut buffer, id).len(), freed);
    }

    assert_eq!((buffer.bytes(), buffer.count()), (0, 0));
}

#[test]
fn a_batch_holds_one_kind_and_is_taken_again_after_it_was_given_back() {
    let mut buffer = buffer(100);
    for (kind, items) in [(SignalKind::Traces, 1), (SignalKind::Logs, 2), (SignalKind::Traces, 4)] {
        buffer.push(payload(kind, items, false), 1);
    }
    buffer.mark();

    assert_eq!(take(&mut buffer, 0, SignalKind::Traces), Some(5));
    assert_eq!(take(&mut buffer, 0, SignalKind::Traces), None, "one batch at a time");
    buffer.give_back(0);
    assert_eq!(take(&mut buffer, 0, SignalKind::Logs), Some(2));
    assert_eq!(take(&mut buffer, 1, SignalKind::Traces), None, "it lacks none");
}

#[test]
fn a_batch_of_several_payloads_holds_the_most_items_of_its_destination() {
    let mut buffer = buffer(1_000);
    for items in [2, 1, 1, 9] {
        buffer.push(payload(SignalKind::Traces, items, false), BOTH);
    }
    buffer.mark();

    assert_eq!(take(&mut buffer, 0, SignalKind::Traces), Some(13), "without a limit");
    for expected in [Some(3), Some(1), Some(9), None] {
        assert_eq!(take(&mut buffer, 1, SignalKind::Traces), expected);
        done(&mut buffer, 1);
    }
}

#[test]
fn a_payload_after_the_mark_waits_for_the_next() {
    let mut buffer = buffer(100);
    buffer.push(payload(SignalKind::Traces, 1, false), 1);
    buffer.mark();
    buffer.push(payload(SignalKind::Traces, 2, false), 1);

    assert_eq!(take(&mut buffer, 0, SignalKind::Traces), Some(1));
    done(&mut buffer, 0);
    assert!(!buffer.has_waiting(0, SignalKind::Traces, |_| false));
    buffer.mark();
    assert_eq!(take(&mut buffer, 0, SignalKind::Traces), Some(2));
}

#[test]
fn a_payload_with_an_error_is_evicted_last_and_one_in_flight_not_at_all() {
    let mut buffer = buffer(0);
    buffer.push(payload(SignalKind::Traces, 1, false), 1);
    buffer.mark();
    take(&mut buffer, 0, SignalKind::Traces).unwrap();
    for (items, has_error) in [(2, true), (4, false), (8, false)] {
        buffer.push(payload(SignalKind::Traces, items, has_error), 1);
    }

    let evicted = std::iter::from_fn(|| buffer.evict());

    let items: Vec<u64> = evicted.map(|evicted| evicted.header.items).collect();
    assert_eq!(items, [4, 8, 2]);
}

#[test]
fn a_backlog_of_several_batches_waits_behind_fresh_payloads() {
    let mut buffer = buffer(usize::MAX);
    let large = Payload {
        bytes: vec![0; MAX_BATCH_BYTES / 2].into(),
        ..payload(SignalKind::Traces, 1, false)
    };
    for items in [1, 2, 4] {
        buffer.push(Payload { items, ..large.clone() }, 1);
    }
    buffer.mark();
    buffer.push(Payload { items: 8, ..large }, 1);
    buffer.mark();

    let mut batches = Vec::new();
    while let Some(items) = take(&mut buffer, 0, SignalKind::Traces) {
        batches.push(items);
        done(&mut buffer, 0);
    }

    assert_eq!(batches, [8, 3, 4]);
}

#[test]
fn the_watermark_is_the_first_payload_that_a_destination_lacks() {
    let mut buffer = buffer(100);
    let sequences: Vec<u64> =
        (0..3).map(|_| buffer.push(payload(SignalKind::Traces, 1, false), 1)).collect();
    buffer.push(payload(SignalKind::Logs, 1, false), 1);

    buffer.has(0, sequences[1]);
    assert_eq!(buffer.watermark(0, SignalKind::Traces), sequences[0]);
    buffer.has(0, sequences[0]);
    assert_eq!(buffer.watermark(0, SignalKind::Traces), sequences[2]);
    buffer.has(0, sequences[2]);
    assert_eq!(buffer.watermark(0, SignalKind::Traces), buffer.end());
}
