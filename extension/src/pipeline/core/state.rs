//! The state of [`Core`], and its steps from a received payload to a completed batch.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;
use tracing::{debug, warn};

use crate::delivery::batch::Batch;
use crate::delivery::error::{ExportError, ExportOutcome};
use crate::delivery::{DestinationId, DestinationSpec};
use crate::otlp::payload::{Payload, SignalKind};
use crate::pipeline::buffer::{Buffer, Entry};
use crate::pipeline::core::destination::{BatchAttempt, Destination, InFlight};
use crate::pipeline::ledger::{Account, Ledger, QueueId, Reason, State};
use crate::pipeline::spool::{Location, RecordHeader, Spool};
use crate::pipeline::stats;
use crate::pipeline::sums::{LoggedLetters, Row};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// From a flush on: the lifecycle flushes at the end of each invocation.
    Flush,
    /// At each received payload, since no event shows the end of an invocation.
    Receive,
}

#[derive(Debug)]
pub struct Core {
    pub(super) buffer: Buffer,
    pub(super) ledger: Ledger,
    /// The sums of earlier processes.
    pub(super) earlier: Ledger,
    /// Rows of the sums for destinations that are off; the next process may need them.
    pub(super) foreign: Vec<Row>,
    pub(super) logged: LoggedLetters,
    pub(super) spool: Option<Spool>,
    /// Records that are done before older ones of their queue, so that no watermark shows it.
    pub(super) out_of_order: Vec<(Location, RecordHeader)>,
    /// A bit for each durable destination.
    pub(super) durable: u32,
    /// `destination.kind` of each queue.
    pub(super) queue_names: Vec<String>,
    pub(super) destinations: Vec<Destination>,
    pub(super) trigger: Trigger,
    pub(super) follows_crash: bool,
    /// Whether the spool refused a payload, so that no other is tried until a flush begins or a segment is
    /// removed.
    pub(super) spool_refuses: bool,
    /// Whether the spool's failure was logged; false again after a written payload.
    pub(super) spool_reported: bool,
    /// Whether the full buffer was logged; false again when it is half empty.
    pub(super) full_reported: bool,
}

impl Core {
    pub fn new(
        destinations: Vec<DestinationSpec>,
        buffer_bytes: usize,
        trigger: Trigger,
        seed: u64,
    ) -> Self {
        let mut first_route = 0;
        let mut queue_names = Vec::new();
        let destinations = destinations.into_iter().enumerate().map(|(id, spec)| {
            let name = |kind: &SignalKind| format!("{}.{}", spec.name, kind.name());
            queue_names.extend(spec.kinds.iter().map(name));
            let destination = Destination::new(spec, first_route, seed ^ id as u64);
            first_route += destination.spec.kinds.len();
            destination
        });
        let destinations: Vec<_> = destinations.collect();
        let durable = destinations.iter().enumerate().filter(|(_, it)| it.spec.durable);
        Self {
            durable: durable.fold(0, |bits, (id, _)| bits | 1 << id),
            buffer: Buffer::new(buffer_bytes, destinations.len()),
            destinations,
            ledger: Ledger::new(queue_names.len()),
            earlier: Ledger::new(queue_names.len()),
            foreign: Vec::new(),
            logged: LoggedLetters::default(),
            queue_names,
            out_of_order: Vec::new(),
            spool: None,
            trigger,
            follows_crash: false,
            spool_refuses: false,
            spool_reported: false,
            full_reported: false,
        }
    }

    /// The names of the durable destinations, each at the place of its bit in the spool's records.
    pub fn names(&self) -> Vec<&'static str> {
        self.destinations.iter().map(|destination| destination.spec.name).collect()
    }

    /// Numbers payloads from here on, so that those of two processes differ.
    pub fn number_from(&mut self, sequence: u64) {
        self.buffer.begin_at(sequence);
    }

    /// Enqueues a payload for each destination that takes its kind, and appends it to the spool.
    pub fn receive(&mut self, payload: Payload) {
        let mut destinations = 0;
        for (id, destination) in self.destinations.iter().enumerate() {
            if let Some(route) = destination.route_of(payload.kind) {
                self.ledger.received(route, payload.items);
                destinations |= 1 << id;
            }
        }
        if destinations == 0 {
            return;
        }
        let sequence = self.buffer.push(payload, destinations);
        self.append(sequence);
        if self.trigger == Trigger::Receive {
            self.buffer.mark();
            self.destinations.iter_mut().for_each(|destination| destination.skipped.clear());
        }
        self.keep_bound();
    }

    fn keep_bound(&mut self) {
        if !self.buffer.is_over_full() {
            return;
        }
        while self.spool_some() {}
        self.buffer.drop_cached();
        while let Some(evicted) = self.buffer.evict() {
            if !std::mem::replace(&mut self.full_reported, true) {
                warn!("The buffer is full: telemetry is dropped, the oldest without errors first");
            }
            self.drop_payload(&evicted, Reason::BufferFull);
        }
    }

    /// Defers all received payloads to a later flush.
    pub fn defer(&mut self) {
        self.buffer.mark();
        self.spool_rest();
    }

    /// Appends the payloads that the spool did not take when they came.
    fn spool_rest(&mut self) {
        self.spool_refuses = false;
        while self.spool_some() {}
    }

    /// Begins a flush: [`next_batch`](Self::next_batch) returns batches for each destination. The flush
    /// awaits those whose breaker is not open; a drain ends their pauses first, so it awaits all. Later
    /// payloads, such as platform spans of the same invocation, wait for the next flush; awaiting them
    /// would cost a second round trip.
    pub fn begin_flush(&mut self, now: Instant, drain: bool) {
        self.buffer.mark();
        self.spool_refuses = false;
        for id in 0..self.destinations.len() {
            self.destinations[id].skipped.clear();
            if drain {
                self.destinations[id].health.try_now();
            }
            let destination = &self.destinations[id];
            let attempt = match destination.under_way {
                Some(_) => BatchAttempt::Previous,
                None => BatchAttempt::Current,
            };
            let waits = !destination.health.is_open(now) && self.has_pending(id);
            let destination = &mut self.destinations[id];
            destination.awaited = waits.then_some(attempt);
            destination.sending = true;
            destination.had_success = false;
        }
    }

    /// Whether the flush awaits no destination.
    pub fn flush_is_done(&self) -> bool {
        self.destinations.iter().all(|destination| destination.awaited.is_none())
    }

    /// Ends the flush; sending continues in the background.
    ///
    /// If `patience_over`, awaited destinations that accepted no batch during this flush open their
    /// breaker.
    pub fn end_flush(&mut self, now: Instant, patience_over: bool) {
        for destination in &mut self.destinations {
            let is_awaited = destination.awaited.take().is_some();
            let silent = is_awaited && !destination.had_success;
            if let Some(under_way) = destination.under_way.as_ref().filter(|_| is_awaited) {
                let at_least = Some(now - under_way.sent_at);
                destination.answer_time = destination.answer_time.max(at_least);
            }
            if silent && patience_over {
                destination.failed(now, ExportError::HoldExpired);
                destination.under_way.iter_mut().for_each(|it| it.has_failed = true);
            }
        }
        self.full_reported &= self.buffer.is_half_full();
        self.spool_rest();
    }

    /// Records a freeze: failures of batches in flight do not count against their destinations, unless
    /// they are final. The freeze counts as a part of each pause.
    pub fn thawed(&mut self, gap: Duration) {
        for destination in &mut self.destinations {
            destination.health.slept(gap);
            if let Some(under_way) = &mut destination.under_way {
                under_way.thawed = true;
            }
        }
    }

    /// The next batch to send to a destination, which is in flight from then on. `None` while another is
    /// in flight or the breaker is open.
    pub fn next_batch(&mut self, now: Instant, id: DestinationId) -> Option<Batch> {
        let destination = &self.destinations[id];
        let wanted = self.trigger == Trigger::Receive || destination.sending;
        if !wanted || destination.under_way.is_some() || destination.health.is_open(now) {
            return None;
        }
        let Some((route, sequences, is_alone)) = self.next_payloads(id) else {
            self.note_progress(id);
            return None;
        };
        let kind = self.kind(id, route);
        let is_zstd = self.buffer.get(sequences[0]).is_some_and(|entry| entry.header.is_zstd);
        let batch = Batch::of_parts(kind, is_zstd, self.buffer.take(id, &sequences));
        self.buffer.drop_cached(); // it may have been read from the disk
        let under_way = InFlight {
            route,
            batch: batch.clone(),
            sequences,
            is_alone,
            sent_at: now,
            thawed: false,
            has_failed: false,
        };
        self.destinations[id].under_way = Some(under_way);
        Some(batch)
    }

    /// The payloads of a destination's next batch, which are in memory then, and whether they are sent
    /// alone on purpose.
    fn next_payloads(&mut self, id: DestinationId) -> Option<(QueueId, Vec<u64>, bool)> {
        while !self.is_unreadable(id) {
            let (route, sequences, is_alone) = match self.next_alone(id) {
                Some((route, sequence)) => (route, vec![sequence], true),
                None => {
                    let Self { buffer, destinations, .. } = self;
                    let destination = &destinations[id];
                    let skip = |sequence| destination.holds_back(sequence);
                    let mut selections = destination
                        .queues()
                        .filter_map(|(route, kind)| Some((route, buffer.select(id, kind, skip)?)));
                    match selections.next() {
                        Some((route, sequences)) => (route, sequences, false),
                        None => {
                            let (route, suspect) = self.next_suspect(id)?;
                            (route, vec![suspect], true)
                        }
                    }
                }
            };
            if self.read_in(id, &sequences) {
                return Some((route, sequences, is_alone));
            }
        }
        None
    }

    /// Accounts for the result of the batch in flight.
    pub fn complete(
        &mut self,
        now: Instant,
        id: DestinationId,
        result: Result<ExportOutcome, ExportError>,
    ) {
        let Some(under_way) = self.destinations[id].under_way.take() else { return };
        self.destinations[id].count(under_way.batch.items, &result);
        match result {
            Ok(receipt) => {
                let items = under_way.batch.items;
                let rejected = receipt.rejected.min(items);
                let unsampled = receipt.unsampled.min(items - rejected);
                // If all items were unsampled, nothing was sent, so the destination's state is unknown.
                if unsampled < items {
                    self.destinations[id].answered(now, &under_way);
                    self.destinations[id].succeeded();
                }
                self.release(
                    id,
                    &under_way,
                    &[
                        (State::Delivered, items - rejected - unsampled),
                        (State::Dropped(Reason::Rejected), rejected),
                        (State::Dropped(Reason::Unsampled), unsampled),
                    ],
                );
            }
            Err(error)
                if error.is_final() && error.is_about_content() && self.split(id, &under_way) =>
            {
                debug!("A batch was refused and is sent in parts: {error}");
            }
            Err(error) if error.is_final() => {
                self.destinations[id].refused(now, error, &under_way.batch);
                let rejected = (State::Dropped(Reason::Rejected), under_way.batch.items);
                self.release(id, &under_way, &[rejected]);
            }
            Err(error) if error.is_server_error() && self.isolate(id, &under_way) => {
                debug!("A payload may be the cause of server errors: {error}");
            }
            Err(error) => {
                self.buffer.give_back(id);
                self.destinations[id].retry_or_open(now, &under_way, error);
            }
        }
        self.keep_bound();
        self.note_progress(id);
    }

    /// Ends sending and awaiting for a destination that has everything. Otherwise an awaited
    /// destination's next batch is one of this flush.
    fn note_progress(&mut self, id: DestinationId) {
        let has_pending = self.has_pending(id);
        let destination = &mut self.destinations[id];
        if has_pending {
            destination.awaited = destination.awaited.map(|_| BatchAttempt::Current);
        } else {
            destination.awaited = None;
            destination.sending = false;
        }
    }

    /// When [`next_batch`](Self::next_batch) may return a batch that it does not return now.
    pub fn wake_at(&self) -> Option<Instant> {
        let lacking = self.destinations.iter().enumerate().filter(|(id, destination)| {
            let wanted = self.trigger == Trigger::Receive || destination.sending;
            wanted && destination.under_way.is_none() && self.has_pending(*id)
        });
        lacking.filter_map(|(_, destination)| destination.health.open_until()).min()
    }

    /// Notes on disk what the sums do not hold, and removes finished segments. Call it after the sums are
    /// written.
    pub fn remove_finished(&mut self) {
        let Some(spool) = &mut self.spool else { return };
        for (location, header) in self.out_of_order.drain(..) {
            spool.set_destinations(location, &header);
        }
        spool.remove_finished();
    }

    /// The stats of each destination.
    pub fn destinations(&self, now: Instant) -> BTreeMap<&'static str, stats::DestinationStats> {
        self.destination_stats(now, |route| self.ledger.account(route))
    }

    /// The stats without the earlier processes' sums. Items that were lost with the last process count
    /// as dropped here.
    pub fn own_destinations(
        &self,
        now: Instant,
    ) -> BTreeMap<&'static str, stats::DestinationStats> {
        self.destination_stats(now, |route| {
            self.ledger.account(route).since(&self.earlier.account(route))
        })
    }

    fn destination_stats(
        &self,
        now: Instant,
        account: impl Fn(QueueId) -> Account,
    ) -> BTreeMap<&'static str, stats::DestinationStats> {
        let destinations = self.destinations.iter().enumerate().map(|(id, destination)| {
            let had_any = |route: &QueueId| self.ledger.account(*route).received() > 0;
            let accounts = destination.routes().filter(had_any);
            let stats = stats::DestinationStats {
                accounts: accounts.map(|route| (self.kind(id, route), account(route))).collect(),
                requests: destination.requests,
                breaker: destination.health.breaker(now),
            };
            (destination.spec.name, stats)
        });
        destinations.collect()
    }

    /// The ledger, whose block is written after each step.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(super) fn kind(&self, id: DestinationId, route: QueueId) -> SignalKind {
        let destination = &self.destinations[id];
        destination.spec.kinds[route - destination.first_route]
    }

    pub(super) fn has_pending(&self, id: DestinationId) -> bool {
        let destination = &self.destinations[id];
        let skip = |sequence| destination.skipped.contains(&sequence);
        let mut queues = destination.queues();
        destination.under_way.is_some()
            || destination.split.as_ref().is_some_and(|split| !split.sequences.is_empty())
            || !self.is_unreadable(id)
                && queues.any(|(_, kind)| self.buffer.has_waiting(id, kind, skip))
    }

    /// The queues of the destinations in a header.
    pub(super) fn queues_of(&self, header: &RecordHeader) -> Vec<(DestinationId, QueueId)> {
        let destinations = self.destinations.iter().enumerate();
        let lacks = destinations.filter(|(id, _)| header.destinations & (1 << id) != 0);
        lacks.filter_map(|(id, it)| Some((id, it.route_of(header.kind)?))).collect()
    }

    /// The state of a waiting payload for a destination that lacks it.
    pub(super) fn state_of(&self, entry: &Entry, id: DestinationId) -> State {
        match entry.location {
            Some(_) if self.destinations[id].spec.durable => State::Spooled,
            Some(_) | None => State::Held,
        }
    }

    /// Releases a completed batch.
    pub(super) fn release(
        &mut self,
        id: DestinationId,
        under_way: &InFlight,
        fates: &[(State, u64)],
    ) {
        let entries = under_way.sequences.iter().filter_map(|sequence| self.buffer.get(*sequence));
        let on_disk = entries.filter(|entry| self.state_of(entry, id) == State::Spooled);
        let records: Vec<_> = on_disk.filter_map(|it| Some((it.location?, it.header))).collect();
        let spooled = records.iter().map(|(_, header)| header.items).sum();
        self.ledger.conclude(under_way.route, spooled, fates);
        for freed in self.buffer.done(id) {
            self.free(&freed);
        }
        let watermark = self.buffer.watermark(id, under_way.batch.kind);
        for (location, header) in records.into_iter().filter(|(_, it)| it.sequence > watermark) {
            let left = self.buffer.get(header.sequence).map_or(0, |it| it.header.destinations);
            let header = RecordHeader { destinations: left & self.durable, ..header };
            self.out_of_order.push((location, header));
        }
        let destination = &mut self.destinations[id];
        destination.suspects.retain(|sequence, _| !under_way.sequences.contains(sequence));
        self.spool_refuses = false; // there may be room again
    }
}
