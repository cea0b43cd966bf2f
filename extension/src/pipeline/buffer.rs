//! Holds waiting payloads, bounded in bytes over all destinations together.
//!
//! The bytes are held once, in the order of arrival. Each queue (a destination and a kind) has a cursor
//! into them; a payload is freed when every cursor of its kind has passed it. Batches hold payloads from
//! before the last [`mark`](Buffer::mark) only. A full buffer evicts the oldest payload without an
//! error, then the oldest; the caller accounts for it.
//!
//! The buffer knows nothing of time, tasks or destinations' names.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use crate::delivery::batch::Batch;
use crate::otlp::payload::{MAX_BATCH_BYTES, Payload, SignalKind};
use crate::pipeline::ledger::QueueId;

#[derive(Debug)]
pub struct Buffer {
    /// By sequence number, for each kind.
    signals: [BTreeMap<u64, Payload>; SignalKind::ALL.len()],
    /// Sequence number of the next payload.
    end: u64,
    /// Sequence number of the first payload after the mark.
    mark: u64,
    bytes: usize,
    max_bytes: usize,
    cursors: Vec<Cursor>,
    /// Sequence numbers of all payloads with their kinds, in the order of eviction.
    without_error: BTreeSet<(u64, SignalKind)>,
    with_error: BTreeSet<(u64, SignalKind)>,
}

/// A queue's place in the buffer.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    kind: SignalKind,
    /// The queue is done with the payloads before this sequence number.
    next: u64,
    /// The batch in flight holds the payloads from `next` to before this one.
    taken_to: Option<u64>,
}

impl Cursor {
    fn waiting_from(&self) -> u64 {
        self.taken_to.unwrap_or(self.next)
    }

    fn under_way(&self) -> Option<(Range<u64>, SignalKind)> {
        Some((self.next..self.taken_to?, self.kind))
    }
}

#[derive(Debug, PartialEq, Eq)]
pub struct Evicted {
    /// The queues that lack it.
    pub routes: Vec<QueueId>,
    pub items: u64,
}

impl Buffer {
    /// Makes an empty buffer. A queue is an index into `kinds`.
    pub fn new(max_bytes: usize, kinds: Vec<SignalKind>) -> Self {
        Self {
            signals: Default::default(),
            end: 0,
            mark: 0,
            bytes: 0,
            max_bytes,
            cursors: kinds
                .into_iter()
                .map(|kind| Cursor { kind, next: 0, taken_to: None })
                .collect(),
            without_error: BTreeSet::new(),
            with_error: BTreeSet::new(),
        }
    }

    /// Appends a payload. It is not kept if no queue takes its kind.
    pub fn push(&mut self, signal: Payload) {
        if !self.cursors.iter().any(|cursor| cursor.kind == signal.kind) {
            return;
        }
        self.bytes += signal.bytes.len();
        let sequence = self.end;
        self.order(signal.has_error).insert((sequence, signal.kind));
        self.signals[signal.kind as usize].insert(sequence, signal);
        self.end += 1;
    }

    /// Releases all payloads for batches. Later payloads wait for the next mark.
    pub fn mark(&mut self) {
        self.mark = self.end;
    }

    /// Whether the buffer exceeds its bound.
    pub fn is_over_full(&self) -> bool {
        self.bytes > self.max_bytes
    }

    /// Evicts one payload if the buffer exceeds its bound. Call it until it returns `None`. Payloads in
    /// flight are spared, since evicting them would free nothing.
    pub fn evict(&mut self) -> Option<Evicted> {
        if !self.is_over_full() {
            return None;
        }
        let (sequence, kind) = self.next_victim(false).or_else(|| self.next_victim(true))?;
        let signal = self.remove(kind, sequence)?;
        let lacks = |cursor: &Cursor| cursor.kind == kind && cursor.next <= sequence;
        let cursors = self.cursors.iter().enumerate();
        let routes = cursors.filter(|(_, cursor)| lacks(cursor)).map(|(route, _)| route).collect();
        Some(Evicted { routes, items: signal.items })
    }

    /// The oldest payload that no batch holds, with or without an error.
    fn next_victim(&mut self, has_error: bool) -> Option<(u64, SignalKind)> {
        let under_way: Vec<_> = self.cursors.iter().filter_map(Cursor::under_way).collect();
        let is_under_way = |(sequence, kind): &(u64, SignalKind)| {
            under_way.iter().any(|(taken, of)| of == kind && taken.contains(sequence))
        };
        self.order(has_error).iter().find(|signal| !is_under_way(signal)).copied()
    }

    fn order(&mut self, has_error: bool) -> &mut BTreeSet<(u64, SignalKind)> {
        if has_error { &mut self.with_error } else { &mut self.without_error }
    }

    /// A queue's next batch of at most `signals` payloads from before the mark. `None` while a batch is
    /// in flight, until [`done`] or [`give_back`].
    ///
    /// [`done`]: Self::done
    /// [`give_back`]: Self::give_back
    pub fn take(&mut self, route: QueueId, signals: usize) -> Option<Batch> {
        self.take_up_to(route, signals, MAX_BATCH_BYTES)
    }

    /// Like `take`, with a limit in bytes; the first payload may be larger.
    pub fn take_up_to(&mut self, route: QueueId, signals: usize, bytes: usize) -> Option<Batch> {
        let Cursor { kind, taken_to: None, .. } = self.cursors[route] else { return None };
        let waiting = self.from(route).map(|(_, signal)| signal).take(signals);
        let batch = Batch::up_to(bytes, kind, waiting)?;
        let last = self.from(route).nth(batch.part_count() - 1).map(|(sequence, _)| sequence)?;
        self.cursors[route].taken_to = Some(last + 1);
        Some(batch)
    }

    /// Completes the batch in flight.
    pub fn done(&mut self, route: QueueId) {
        let cursor = &mut self.cursors[route];
        cursor.next = cursor.taken_to.take().unwrap_or(cursor.next);
        let kind = cursor.kind;
        self.free(kind);
    }

    /// Returns the batch in flight to the queue.
    pub fn give_back(&mut self, route: QueueId) {
        self.cursors[route].taken_to = None;
    }

    /// Whether a queue has payloads before the mark that no batch holds.
    pub fn has_waiting(&self, route: QueueId) -> bool {
        self.from(route).next().is_some()
    }

    /// The payloads that a queue is not done with, also those in flight and after the mark.
    pub fn lacking(&self, route: QueueId) -> impl Iterator<Item = &Payload> {
        let Cursor { kind, next, .. } = self.cursors[route];
        self.signals[kind as usize].range(next..).map(|(_, signal)| signal)
    }

    /// A queue's payloads before the mark that no batch holds, with their sequence numbers.
    fn from(&self, route: QueueId) -> impl Iterator<Item = (u64, &Payload)> {
        let cursor = self.cursors[route];
        let from = cursor.waiting_from();
        let signals = self.signals[cursor.kind as usize].range(from..self.mark.max(from));
        signals.map(|(sequence, signal)| (*sequence, signal))
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn remove(&mut self, kind: SignalKind, sequence: u64) -> Option<Payload> {
        let signal = self.signals[kind as usize].remove(&sequence)?;
        self.bytes -= signal.bytes.len();
        self.order(signal.has_error).remove(&(sequence, kind));
        Some(signal)
    }

    /// Frees the payloads that every cursor of the kind has passed.
    fn free(&mut self, kind: SignalKind) {
        let cursors = self.cursors.iter().filter(|cursor| cursor.kind == kind);
        let needed = cursors.map(|cursor| cursor.next).min().unwrap_or(self.end);
        let first =
            |signals: &BTreeMap<u64, Payload>| signals.first_key_value().map(|(key, _)| *key);
        while let Some(sequence) = first(&self.signals[kind as usize]).filter(|it| *it < needed) {
            self.remove(kind, sequence);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [SignalKind; 2] = [SignalKind::Traces, SignalKind::Logs];

    fn signal(kind: SignalKind, items: u64, has_error: bool) -> Payload {
        Payload { kind, bytes: vec![0; 10].into(), items, has_error, has_unsampled: false }
    }

    fn buffer(max_bytes: usize, kinds: &[SignalKind]) -> Buffer {
        Buffer::new(max_bytes, kinds.to_vec())
    }

    #[test]
    fn a_signal_is_freed_when_the_last_route_of_its_kind_has_it() {
        let mut buffer = buffer(100, &[SignalKind::Traces, SignalKind::Traces, SignalKind::Logs]);
        buffer.push(signal(SignalKind::Traces, 1, false));
        buffer.mark();

        for route in [0, 1] {
            assert_eq!(buffer.bytes, 10);
            buffer.take(route, usize::MAX).unwrap();
            buffer.done(route);
        }

        assert_eq!(buffer.bytes, 0);
    }

    #[test]
    fn a_batch_holds_one_kind_and_is_taken_again_when_it_was_given_back() {
        let mut buffer = buffer(100, &BOTH);
        for (kind, items) in
            [(SignalKind::Traces, 1), (SignalKind::Logs, 2), (SignalKind::Traces, 4)]
        {
            buffer.push(signal(kind, items, false));
        }
        buffer.mark();

        assert_eq!(buffer.take(0, usize::MAX).unwrap().items, 5);
        assert!(buffer.take(0, usize::MAX).is_none(), "one batch at a time");
        buffer.give_back(0);
        assert_eq!(buffer.take(0, 1).unwrap().items, 1);
        assert_eq!(buffer.take(1, usize::MAX).unwrap().items, 2);
    }

    #[test]
    fn what_comes_after_the_mark_waits_for_the_next() {
        let mut buffer = buffer(100, &[SignalKind::Traces]);
        buffer.push(signal(SignalKind::Traces, 1, false));
        buffer.mark();
        buffer.push(signal(SignalKind::Traces, 2, false));

        assert_eq!(buffer.take(0, usize::MAX).unwrap().items, 1);
        buffer.done(0);
        assert!(!buffer.has_waiting(0));
        buffer.mark();
        assert_eq!(buffer.take(0, usize::MAX).unwrap().items, 2);
    }

    #[test]
    fn what_has_an_error_in_it_is_evicted_last_and_what_is_under_way_not_at_all() {
        let mut buffer = buffer(0, &[SignalKind::Traces]);
        buffer.push(signal(SignalKind::Traces, 1, false));
        buffer.mark();
        buffer.take(0, usize::MAX).unwrap();
        for (items, has_error) in [(2, true), (4, false), (8, false)] {
            buffer.push(signal(SignalKind::Traces, items, has_error));
        }

        let evicted = std::iter::from_fn(|| buffer.evict());

        let items: Vec<u64> = evicted.map(|evicted| evicted.items).collect();
        assert_eq!(items, [4, 8, 2]);
    }

    #[test]
    fn an_evicted_signal_is_missed_by_those_that_lack_it() {
        let mut buffer = buffer(15, &[SignalKind::Traces, SignalKind::Traces, SignalKind::Logs]);
        buffer.push(signal(SignalKind::Traces, 1, false));
        buffer.mark();
        buffer.take(0, usize::MAX).unwrap();
        buffer.done(0);
        buffer.push(signal(SignalKind::Traces, 2, false));

        assert_eq!(buffer.evict(), Some(Evicted { routes: vec![1], items: 1 }));
        assert_eq!(buffer.evict(), None);
    }

    #[test]
    fn a_kind_that_no_route_takes_is_not_kept() {
        let mut buffer = buffer(100, &[SignalKind::Traces]);
        buffer.push(signal(SignalKind::Metrics, 1, false));

        assert_eq!(buffer.bytes, 0);
    }

    #[test]
    fn a_signal_that_waits_for_long_keeps_no_place_of_others() {
        let mut buffer = buffer(100, &BOTH);
        buffer.push(signal(SignalKind::Traces, 1, true)); // stays, being evicted last
        for _ in 0..1_000 {
            buffer.push(signal(SignalKind::Traces, 2, false));
            buffer.push(signal(SignalKind::Logs, 4, false));
            buffer.mark();
            buffer.take(1, usize::MAX).unwrap();
            buffer.done(1);
            while buffer.evict().is_some() {}
        }

        assert_eq!(buffer.bytes, 100);
        assert_eq!(buffer.signals.each_ref().map(BTreeMap::len), [10, 0, 0, 0, 0]);
        assert_eq!((buffer.without_error.len(), buffer.with_error.len()), (9, 1));
    }

    #[test]
    fn a_kind_that_was_sent_is_freed_though_an_older_one_waits() {
        let mut buffer = buffer(100, &BOTH);
        buffer.push(signal(SignalKind::Traces, 1, false));
        buffer.push(signal(SignalKind::Logs, 2, false));
        buffer.mark();

        buffer.take(1, usize::MAX).unwrap();
        buffer.done(1);

        assert_eq!(buffer.bytes, 10);
    }
}
