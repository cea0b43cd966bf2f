//! Where signals wait, bounded in bytes over all destinations together.
//!
//! The bytes are held once. Each destination has a cursor into them, and an entry is freed when
//! every cursor has passed it. When the buffer is full the oldest entry goes, and every
//! destination that had not got it counts it as dropped:
//! `received = delivered + rejected + evicted + held` holds at any time, exactly, per destination.
//!
//! Knows nothing of time, tasks or destinations' names.

use std::{collections::VecDeque, fmt};

use crate::{batch::Batch, signal::Signal};

/// Index of a destination, in the order given to the pipeline.
pub type DestinationId = usize;

/// See the module's documentation.
#[derive(Debug)]
pub struct Buffer {
    entries: VecDeque<Signal>,
    /// Sequence number of the first entry; the number of entries ever removed.
    first: u64,
    bytes: usize,
    max_bytes: usize,
    received: u64,
    cursors: Vec<Cursor>,
}

/// One destination's place in the buffer.
#[derive(Debug, Default)]
struct Cursor {
    /// Sequence number of the first entry that is not settled. Entries before it are done with.
    next: u64,
    /// The batch under way, which starts at `next`.
    in_flight: Option<InFlight>,
    delivered: u64,
    rejected: u64,
    evicted: u64,
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    end: u64,
    spans: u64,
}

impl Cursor {
    /// Sequence number of the first entry that no batch has taken.
    fn waiting_from(&self) -> u64 {
        self.in_flight.map_or(self.next, |batch| batch.end)
    }
}

/// How a batch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The destination has it.
    Delivered,
    /// The destination will never take it: dropped.
    Rejected,
    /// Not delivered this time: it stays in the buffer.
    Failed,
}

/// One destination's sums, in spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Accepted by a receiver.
    pub received: u64,
    /// Taken by the destination.
    pub delivered: u64,
    /// Dropped because the destination refused them for good.
    pub rejected: u64,
    /// Dropped because the buffer was full.
    pub evicted: u64,
    /// In the buffer or under way.
    pub held: u64,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { received, delivered, rejected, evicted, held } = self;
        write!(
            f,
            "{received} spans received, {delivered} delivered, {rejected} rejected, \
             {evicted} evicted, {held} held"
        )
    }
}

impl Buffer {
    /// An empty buffer. With no destinations, signals are counted and not kept.
    pub fn new(max_bytes: usize, destinations: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            first: 0,
            bytes: 0,
            max_bytes,
            received: 0,
            cursors: (0..destinations).map(|_| Cursor::default()).collect(),
        }
    }

    /// Appends a signal, and evicts the oldest while there are more than the allowed bytes.
    pub fn push(&mut self, signal: Signal) {
        self.received += signal.spans;
        self.bytes += signal.bytes.len();
        self.entries.push_back(signal);
        while self.bytes > self.max_bytes {
            self.evict_oldest();
        }
        self.free_settled();
    }

    /// The next batch for a destination, or none if it has everything or a batch is under way.
    pub fn take(&mut self, destination: DestinationId) -> Option<Batch> {
        let cursor = &mut self.cursors[destination];
        if cursor.in_flight.is_some() {
            return None;
        }
        let start = usize::try_from(cursor.next - self.first).ok()?;
        let batch = Batch::of(self.entries.iter().skip(start));
        if batch.signals() == 0 {
            return None;
        }
        cursor.in_flight =
            Some(InFlight { end: cursor.next + batch.signals(), spans: batch.spans });
        Some(batch)
    }

    /// Accounts for the batch under way and frees what every destination is done with.
    pub fn settle(&mut self, destination: DestinationId, outcome: Outcome) {
        let cursor = &mut self.cursors[destination];
        let Some(batch) = cursor.in_flight.take() else {
            return;
        };
        match outcome {
            Outcome::Delivered => cursor.delivered += batch.spans,
            Outcome::Rejected => cursor.rejected += batch.spans,
            Outcome::Failed => {
                // What was evicted meanwhile was spared as long as the batch carried it.
                let kept = (cursor.next.max(self.first)..batch.end)
                    .filter_map(|sequence| self.entries.get((sequence - self.first) as usize))
                    .map(|signal| signal.spans)
                    .sum::<u64>();
                cursor.evicted += batch.spans - kept;
                cursor.next = cursor.next.max(self.first);
                return;
            }
        }
        cursor.next = batch.end.max(self.first);
        self.free_settled();
    }

    /// Sequence number after the newest entry.
    pub fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Whether a destination has settled every entry before `sequence`.
    pub fn has_settled(&self, destination: DestinationId, sequence: u64) -> bool {
        self.cursors[destination].next >= sequence
    }

    /// Whether a batch is under way to a destination.
    pub fn is_sending(&self, destination: DestinationId) -> bool {
        self.cursors[destination].in_flight.is_some()
    }

    /// A destination's sums.
    pub fn account(&self, destination: DestinationId) -> Account {
        let cursor = &self.cursors[destination];
        let waiting = cursor.waiting_from().saturating_sub(self.first);
        Account {
            received: self.received,
            delivered: cursor.delivered,
            rejected: cursor.rejected,
            evicted: cursor.evicted,
            held: cursor.in_flight.map_or(0, |batch| batch.spans)
                + self
                    .entries
                    .iter()
                    .skip(waiting as usize)
                    .map(|signal| signal.spans)
                    .sum::<u64>(),
        }
    }

    fn evict_oldest(&mut self) {
        let sequence = self.first;
        let Some(oldest) = self.pop_first() else {
            return;
        };
        for cursor in &mut self.cursors {
            // What is under way has left the buffer's care: its own outcome counts it.
            if cursor.waiting_from() <= sequence {
                cursor.evicted += oldest.spans;
            }
            if cursor.in_flight.is_none() {
                cursor.next = cursor.next.max(self.first);
            }
        }
    }

    fn free_settled(&mut self) {
        let settled = self.cursors.iter().map(|cursor| cursor.next).min().unwrap_or(u64::MAX);
        while self.first < settled && self.pop_first().is_some() {}
    }

    fn pop_first(&mut self) -> Option<Signal> {
        let signal = self.entries.pop_front()?;
        self.first += 1;
        self.bytes -= signal.bytes.len();
        Some(signal)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn signal(bytes: usize, spans: u64) -> Signal {
        Signal { bytes: vec![0; bytes].into(), spans }
    }

    #[test]
    fn an_entry_is_freed_when_the_last_destination_has_it() {
        let mut buffer = Buffer::new(100, 2);
        buffer.push(signal(10, 1));

        for destination in [0, 1] {
            assert_eq!(buffer.bytes, 10);
            buffer.take(destination).unwrap();
            buffer.settle(destination, Outcome::Delivered);
        }

        assert_eq!(buffer.bytes, 0);
    }

    #[test]
    fn a_failed_batch_is_taken_again_with_what_came_since() {
        let mut buffer = Buffer::new(100, 1);
        buffer.push(signal(10, 1));
        buffer.take(0).unwrap();
        buffer.push(signal(10, 2));
        buffer.settle(0, Outcome::Failed);

        assert_eq!(buffer.take(0).unwrap().spans, 3);
    }

    #[test]
    fn a_full_buffer_drops_the_oldest_and_counts_it_once_per_destination_that_lacked_it() {
        let mut buffer = Buffer::new(20, 2);
        buffer.push(signal(20, 5));
        buffer.take(0).unwrap();
        buffer.settle(0, Outcome::Delivered);
        buffer.push(signal(20, 7));

        assert_eq!((buffer.account(0).evicted, buffer.account(0).delivered), (0, 5));
        assert_eq!((buffer.account(1).evicted, buffer.account(1).held), (5, 7));
    }

    #[test]
    fn what_is_evicted_while_under_way_still_counts_as_delivered_if_it_arrives() {
        let mut buffer = Buffer::new(20, 1);
        buffer.push(signal(20, 5));
        buffer.take(0).unwrap();
        buffer.push(signal(20, 7));
        buffer.settle(0, Outcome::Delivered);

        assert_eq!((buffer.account(0).delivered, buffer.account(0).evicted), (5, 0));
        assert_eq!(buffer.take(0).unwrap().spans, 7);
    }

    #[test]
    fn without_destinations_nothing_is_kept() {
        let mut buffer = Buffer::new(100, 0);
        buffer.push(signal(10, 1));

        assert_eq!(buffer.bytes, 0);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push { bytes: usize, spans: u64 },
        Take(DestinationId),
        Settle(DestinationId, Outcome),
    }

    fn step() -> impl Strategy<Value = Step> {
        let outcome =
            prop_oneof![Just(Outcome::Delivered), Just(Outcome::Rejected), Just(Outcome::Failed)];
        prop_oneof![
            (0..60_usize, 0..9_u64).prop_map(|(bytes, spans)| Step::Push { bytes, spans }),
            (0..2_usize).prop_map(Step::Take),
            (0..2_usize, outcome).prop_map(|(id, outcome)| Step::Settle(id, outcome)),
        ]
    }

    proptest! {
        #[test]
        fn the_sums_are_exact_and_the_bytes_bounded_after_every_step(
            steps in prop::collection::vec(step(), 1..200)
        ) {
            let mut buffer = Buffer::new(100, 2);
            for step in steps {
                match step {
                    Step::Push { bytes, spans } => buffer.push(signal(bytes, spans)),
                    Step::Take(id) => drop(buffer.take(id)),
                    Step::Settle(id, outcome) => buffer.settle(id, outcome),
                }
                prop_assert!(buffer.bytes <= 100);
                for id in 0..2 {
                    let Account { received, delivered, rejected, evicted, held } = buffer.account(id);
                    prop_assert_eq!(received, delivered + rejected + evicted + held);
                }
            }
        }
    }
}
