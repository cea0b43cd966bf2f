//! The state of [`Core`], and its steps from a received payload to a flush.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;
use tracing::warn;

use crate::delivery::error::ExportError;
use crate::delivery::{DestinationId, DestinationSpec};
use crate::otlp::payload::{Payload, SignalKind};
use crate::pipeline::buffer::{Buffer, Entry};
use crate::pipeline::circuit_breaker::CircuitBreaker;
use crate::pipeline::core::destination::{BatchAttempt, Destination};
use crate::pipeline::core::sampler::Sampler;
use crate::pipeline::ledger::{Account, Ledger, QueueId, Reason, State};
use crate::pipeline::spool::{Location, RecordHeader, Spool};
use crate::pipeline::stats;
use crate::pipeline::sums::{LoggedLetters, QueueRow};

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
    pub(super) foreign: Vec<QueueRow>,
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
    /// `None` if the destinations get all spans.
    pub(super) sampler: Option<Sampler>,
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
        let max_items = destinations.iter().map(|it| it.spec.max_items).collect();
        let durable = destinations.iter().enumerate().filter(|(_, it)| it.spec.durable);
        Self {
            durable: durable.fold(0, |bits, (id, _)| bits | 1 << id),
            buffer: Buffer::new(buffer_bytes, max_items),
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
            sampler: None,
        }
    }

    /// Replaces the seed of each destination's pauses.
    pub fn reseed(&mut self, seed: u64) {
        for (id, destination) in self.destinations.iter_mut().enumerate() {
            destination.health = CircuitBreaker::new(seed ^ id as u64);
        }
    }

    /// The names of the destinations, each at the place of its bit in the spool's records.
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
        let (kind, has_error) = (payload.kind, payload.has_error);
        let sequence = self.buffer.push(payload, destinations);
        self.await_decision(sequence, kind, has_error);
        self.append(sequence);
        if self.trigger == Trigger::Receive {
            self.settle_samples(false);
            self.buffer.mark();
            self.destinations.iter_mut().for_each(|destination| destination.skipped.clear());
        }
        self.keep_bound();
    }

    pub(super) fn keep_bound(&mut self) {
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
        self.settle_samples(false);
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
        self.settle_samples(drain);
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
            let is_sent = !self.is_internal(id);
            let waits = is_sent && !destination.health.is_open(now) && self.has_pending(id);
            let destination = &mut self.destinations[id];
            destination.awaited = waits.then_some(attempt);
            destination.sending = is_sent;
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
            let awaited = destination.awaited.take();
            let silent = awaited.is_some() && !destination.had_success;
            let is_of_this_flush = awaited == Some(BatchAttempt::Current);
            let under_way = destination.under_way.as_ref().filter(|_| is_of_this_flush);
            if let Some(under_way) = under_way.filter(|it| !it.thawed) {
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

    /// Begins no further request until the next flush; those in flight go on.
    pub fn pause_sending(&mut self) {
        self.destinations.iter_mut().for_each(|destination| destination.sending = false);
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

    /// Marks on disk the records that the sums do not cover, and removes finished segments. Call it after the sums are
    /// written.
    pub fn remove_finished(&mut self) {
        let Some(spool) = &mut self.spool else { return };
        for (location, header) in self.out_of_order.drain(..) {
            spool.set_state(location, &header);
        }
        spool.remove_finished();
    }

    /// The sums cannot be written: after a kill the next process sends these records again.
    pub fn forget_out_of_order(&mut self) {
        self.out_of_order.clear();
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
        let is_shown = |(id, destination): &(DestinationId, &Destination)| {
            !self.is_internal(*id) || destination.routes().any(|route| account(route).lost() > 0)
        };
        let shown = self.destinations.iter().enumerate().filter(is_shown);
        let destinations = shown.map(|(id, destination)| {
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
}
