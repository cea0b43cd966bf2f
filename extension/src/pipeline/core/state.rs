//! The state of [`Core`], and its steps from a received payload to a completed batch.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;
use tracing::{debug, warn};

use crate::delivery::batch::Batch;
use crate::delivery::error::{ExportError, ExportOutcome};
use crate::delivery::{DestinationId, DestinationSpec};
use crate::otlp::payload::{Payload, SignalKind};
use crate::pipeline::buffer::Buffer;
use crate::pipeline::core::destination::{BatchAttempt, BatchOrigin, Destination, InFlight, Split};
use crate::pipeline::ledger::{Account, Ledger, QueueId, Reason, State};
use crate::pipeline::spool::{Spool, SpoolFile};
use crate::pipeline::stats;

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
    pub(super) spool: Option<Spool>,
    pub(super) destinations: Vec<Destination>,
    pub(super) trigger: Trigger,
    pub(super) follows_crash: bool,
    /// Whether the spool rejected a batch, so that compressing another is pointless until a flush begins
    /// or a file is removed.
    pub(super) spool_refuses: bool,
    /// Whether the spool's failure was logged; false again after a written batch.
    pub(super) spool_reported: bool,
    /// Whether the full buffer was logged since the end of the last flush.
    pub(super) full_reported: bool,
}

impl Core {
    pub fn new(
        destinations: Vec<DestinationSpec>,
        buffer_bytes: usize,
        trigger: Trigger,
        seed: u64,
    ) -> Self {
        let kinds: Vec<SignalKind> =
            destinations.iter().flat_map(|spec| spec.kinds.clone()).collect();
        let mut first_route = 0;
        let destinations = destinations.into_iter().enumerate().map(|(id, spec)| {
            let destination = Destination::new(spec, first_route, seed ^ id as u64);
            first_route += destination.spec.kinds.len();
            destination
        });
        Self {
            destinations: destinations.collect(),
            ledger: Ledger::new(kinds.len()),
            earlier: Ledger::new(kinds.len()),
            buffer: Buffer::new(buffer_bytes, kinds),
            spool: None,
            trigger,
            follows_crash: false,
            spool_refuses: false,
            spool_reported: false,
            full_reported: false,
        }
    }

    /// Uses the spool and sums of an earlier process. Corrects the sums to the files that exist. Returns
    /// the number of items that process held in memory, which are lost.
    pub fn use_spool(&mut self, spool: Spool, mut ledger: Ledger) -> u64 {
        self.follows_crash = ledger.routes() > 0 && ledger != Ledger::new(ledger.routes());
        self.earlier = ledger.clone();
        for (id, destination) in self.destinations.iter().enumerate() {
            for route in destination.routes() {
                let kind = self.kind(id, route);
                let mine = |file: &&SpoolFile| {
                    file.destination == destination.spec.name && file.kind == kind
                };
                let found = spool.files().filter(mine).map(|file| file.items).sum::<u64>();
                ledger.reconcile_spool(route, found);
            }
        }
        let lost = ledger.lose_held();
        ledger.merge(&self.ledger);
        self.ledger = ledger;
        self.spool = Some(spool);
        lost
    }

    /// Enqueues a payload for each destination that takes its kind.
    pub fn receive(&mut self, signal: Payload) {
        for destination in &self.destinations {
            if let Some(route) = destination.route_of(signal.kind) {
                self.ledger.received(route, signal.items);
            }
        }
        self.buffer.push(signal);
        if self.trigger == Trigger::Receive {
            self.buffer.mark();
            self.destinations.iter_mut().for_each(|destination| destination.unreadable.clear());
        }
        if self.buffer.is_over_full() {
            self.buffer.mark();
            while self.buffer.is_over_full() && self.spool_some() {}
        }
        while let Some(evicted) = self.buffer.evict() {
            if !std::mem::replace(&mut self.full_reported, true) {
                warn!("The buffer is full: telemetry is dropped, the oldest without errors first");
            }
            let dropped = State::Dropped(Reason::BufferFull);
            for route in evicted.routes {
                self.ledger.transfer(route, State::Held, dropped, evicted.items);
            }
        }
    }

    /// Defers all received payloads to a later flush. The caller [spools](Self::spool_some) them.
    pub fn defer(&mut self) {
        self.buffer.mark();
        self.spool_refuses = false;
    }

    /// Begins a flush: [`next_batch`](Self::next_batch) returns batches for each destination. The flush
    /// awaits those whose breaker is not open; a drain ends their pauses first, so it awaits all. Later
    /// payloads, such as platform spans of the same invocation, wait for the next flush; awaiting them
    /// would cost a second round trip.
    pub fn begin_flush(&mut self, now: Instant, drain: bool) {
        self.buffer.mark();
        self.spool_refuses = false;
        for id in 0..self.destinations.len() {
            self.destinations[id].unreadable.clear();
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

    /// Ends the flush; sending continues in the background. The caller [spools](Self::spool_some)
    /// undelivered payloads. If the spool has room, a kill loses no payload of a durable destination
    /// from before the flush.
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
        self.full_reported = false;
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
        let split = destination.split.filter(|split| split.left > 0);
        let most_parts = if split.is_some() { 1 } else { usize::MAX };
        let fresh = destination.routes().find_map(|route| {
            Some((route, BatchOrigin::Buffer, self.buffer.take(route, most_parts)?))
        });
        let Some((route, origin, batch)) = fresh.or_else(|| self.next_spooled(id, most_parts))
        else {
            self.note_progress(id);
            return None;
        };
        let destination = &mut self.destinations[id];
        destination.split = split.map(|split| Split { left: split.left - 1, ..split });
        destination.under_way = Some(InFlight::new(route, batch.clone(), origin, now));
        Some(batch)
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
                self.release(&under_way, &[rejected]);
            }
            Err(error) => {
                self.give_back(&under_way);
                self.destinations[id].retry_or_open(now, &under_way, error);
            }
        }
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

    fn kind(&self, id: DestinationId, route: QueueId) -> SignalKind {
        let destination = &self.destinations[id];
        destination.spec.kinds[route - destination.first_route]
    }

    pub(super) fn has_pending(&self, id: DestinationId) -> bool {
        let destination = &self.destinations[id];
        destination.under_way.is_some()
            || destination.routes().any(|route| self.buffer.has_waiting(route))
            || self.oldest_spooled_kind(id).is_some()
    }

    /// Releases a completed batch from buffer or spool.
    fn release(&mut self, under_way: &InFlight, fates: &[(State, u64)]) {
        let from = match &under_way.origin {
            BatchOrigin::Buffer => {
                self.buffer.done(under_way.route);
                State::Held
            }
            BatchOrigin::Spool(sequences) => {
                for sequence in sequences {
                    let removed = self.spool.as_mut().map(|spool| spool.remove(*sequence));
                    if let Some(Err(error)) = removed {
                        warn!("A sent file of the spool stays, and may be sent again: {error}");
                    }
                }
                self.spool_refuses = false; // there is room again
                State::Spooled
            }
        };
        for (state, items) in fates {
            self.ledger.transfer(under_way.route, from, *state, *items);
        }
    }

    /// Splits a rejected batch, so that only the bad part is lost. False if it cannot be split.
    fn split(&mut self, id: DestinationId, under_way: &InFlight) -> bool {
        let parts = match &under_way.origin {
            BatchOrigin::Buffer => under_way.batch.part_count(),
            BatchOrigin::Spool(sequences) => sequences.len(),
        };
        let parts = match (&under_way.origin, &mut self.spool) {
            (BatchOrigin::Spool(sequences), Some(spool)) if parts == 1 => {
                spool.split(sequences[0], &under_way.batch).unwrap_or(1)
            }
            _ => parts,
        };
        if parts == 1 {
            return false;
        }
        self.destinations[id].split = Some(Split { left: parts, took_some: false });
        self.give_back(under_way);
        true
    }

    /// Returns the batch to the buffer; a spooled batch stays in the spool.
    fn give_back(&mut self, under_way: &InFlight) {
        if under_way.origin == BatchOrigin::Buffer {
            self.buffer.give_back(under_way.route);
        }
    }
}
