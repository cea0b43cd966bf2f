//! Raw POSTs of the Telemetry API. They wait for a destination without a worker: the process itself reads
//! them and makes lines and failures.
//!
//! No flush sends or awaits them, and the log never gets them as dead letters. Their account shows only if
//! some were dropped, since a line is received by other destinations when it is made.

use tokio::time::Instant;

use crate::delivery::batch::Batch;
use crate::delivery::{DestinationId, DestinationSpec};
use crate::otlp::payload::{Payload, SignalKind};
use crate::pipeline::core::destination::InFlight;
use crate::pipeline::core::state::Core;
use crate::pipeline::ledger::{Reason, State};

/// The destination of raw POSTs, if a destination takes lines or failures. It comes last in the list.
pub fn spec(others: &[DestinationSpec]) -> Option<DestinationSpec> {
    let is_made = |kind: &SignalKind| matches!(kind, SignalKind::Lines | SignalKind::Failures);
    let mut takers = others.iter().filter(|spec| spec.kinds.iter().any(is_made)).peekable();
    takers.peek()?;
    Some(DestinationSpec {
        name: SignalKind::Posts.name(),
        kinds: vec![SignalKind::Posts],
        durable: takers.any(|spec| spec.durable),
        max_items: u64::MAX,
        keeps_duplicates: true,
    })
}

impl Core {
    /// Whether the destination has no worker.
    pub(super) fn is_internal(&self, id: DestinationId) -> bool {
        self.destinations[id].spec.kinds == [SignalKind::Posts]
    }

    fn internal(&self) -> Option<DestinationId> {
        (0..self.destinations.len()).find(|id| self.is_internal(*id))
    }

    /// The oldest posts as one batch, also those that no flush has released. The batch is in flight until
    /// [`conclude_posts`](Self::conclude_posts); otherwise the next call returns its posts again.
    pub fn take_posts(&mut self, now: Instant) -> Option<Batch> {
        let id = self.internal()?;
        if self.destinations[id].under_way.take().is_some() {
            self.buffer.give_back(id);
        }
        while !self.is_unreadable(id) {
            let Self { buffer, destinations, .. } = self;
            let skip = |sequence| destinations[id].skipped.contains(&sequence);
            let sequences = buffer.select_all(id, SignalKind::Posts, skip);
            let is_zstd = buffer.get(*sequences.first()?)?.header.is_zstd;
            if !self.read_in(id, &sequences) {
                continue;
            }
            let parts = self.buffer.take(id, &sequences);
            let batch = Batch::of_parts(SignalKind::Posts, is_zstd, parts);
            self.destinations[id].under_way = Some(InFlight {
                route: self.destinations[id].first_route,
                batch: batch.clone(),
                sequences,
                is_alone: false,
                sent_at: now,
                thawed: false,
                has_failed: false,
            });
            return Some(batch);
        }
        None
    }

    /// Receives the payloads that were made of the posts in flight, then concludes these posts. `read`
    /// counts the events that were read; the others count as rejected. After a kill between the two steps
    /// the next process makes the payloads again.
    pub fn conclude_posts(&mut self, payloads: Vec<Payload>, read: u64) {
        payloads.into_iter().for_each(|payload| self.receive(payload));
        let Some(id) = self.internal() else { return };
        let Some(under_way) = self.destinations[id].under_way.take() else { return };
        let items = under_way.batch.items;
        let read = read.min(items);
        let rejected = (State::Dropped(Reason::Rejected), items - read);
        self.release(id, &under_way, &[(State::Delivered, read), rejected]);
    }
}
