//! The steps of a batch: which payloads it holds, and what becomes of them.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::info;

use crate::delivery::DestinationId;
use crate::delivery::batch::Batch;
use crate::delivery::error::{ExportError, ExportOutcome};
use crate::delivery::sent::{SentCounts, SentTotals};
use crate::pipeline::core::destination::{BatchAttempt, InFlight};
use crate::pipeline::core::state::{Core, Trigger};
use crate::pipeline::ledger::{QueueId, Reason, State};
use crate::pipeline::spool::RecordHeader;

impl Core {
    /// The next batch to send to a destination, which is in flight from then on. `None` while another is
    /// in flight or the breaker is open.
    pub fn next_batch(&mut self, now: Instant, id: DestinationId) -> Option<Batch> {
        let destination = &self.destinations[id];
        let wanted = self.trigger == Trigger::Receive || destination.sending;
        if !wanted || destination.under_way.is_some() || destination.health.is_open(now) {
            return None;
        }
        let Some((route, sequences, is_alone)) = self.next_payloads(id) else {
            self.update_progress(id);
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

    /// Adds all counts of exports to these totals, too.
    pub fn with_sent(self, sent: Arc<SentTotals>) -> Self {
        Self { sent, ..self }
    }

    /// Counts the bytes of the batch in flight. Call it before [`complete`](Self::complete).
    pub fn count_bytes(&mut self, id: DestinationId, bytes: u64) {
        self.destinations[id].requests.sent_bytes += bytes;
        self.sent
            .add(self.destinations[id].spec.name, SentCounts { bytes, ..SentCounts::default() });
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
        let left_out = |outcome: &ExportOutcome| outcome.rejected + outcome.unsampled;
        let events =
            result.as_ref().map_or(0, |it| under_way.batch.items.saturating_sub(left_out(it)));
        let counts = SentCounts { requests: 1, events, bytes: 0 };
        self.sent.add(self.destinations[id].spec.name, counts);
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
                info!("A batch was refused and is sent in parts: {error}");
            }
            Err(error) if error.is_final() => {
                self.destinations[id].refused(now, error, &under_way.batch);
                let rejected = (State::Dropped(Reason::Rejected), under_way.batch.items);
                self.release(id, &under_way, &[rejected]);
            }
            Err(error) if error.is_server_error() && self.isolate(id, &under_way) => {
                info!("A payload may be the cause of server errors: {error}");
            }
            Err(error) => {
                self.buffer.give_back(id);
                self.destinations[id].retry_or_open(now, &under_way, error);
            }
        }
        self.keep_bound();
        self.update_progress(id);
    }

    /// Ends sending and awaiting for a destination that has everything. Otherwise an awaited
    /// destination's next batch is one of this flush.
    fn update_progress(&mut self, id: DestinationId) {
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

    /// Releases a completed batch.
    pub(super) fn release(
        &mut self,
        id: DestinationId,
        under_way: &InFlight,
        fates: &[(State, u64)],
    ) {
        self.conclude(id, under_way.route, &under_way.sequences, fates);
        let destination = &mut self.destinations[id];
        destination.suspects.retain(|sequence, _| !under_way.sequences.contains(sequence));
    }

    /// A destination lacks these payloads of one queue no more. They are sorted.
    pub(super) fn conclude(
        &mut self,
        id: DestinationId,
        route: QueueId,
        sequences: &[u64],
        fates: &[(State, u64)],
    ) {
        let entries = sequences.iter().filter_map(|sequence| self.buffer.get(*sequence));
        let on_disk = entries.filter(|entry| self.state_of(entry, id) == State::Spooled);
        let records: Vec<_> = on_disk.filter_map(|it| Some((it.location?, it.header))).collect();
        let spooled = records.iter().map(|(_, header)| header.items).sum();
        self.ledger.conclude(route, spooled, fates);
        for freed in self.buffer.done(id, sequences) {
            self.free(&freed);
        }
        let watermark = self.buffer.watermark(id, self.kind(id, route));
        for (location, header) in records.into_iter().filter(|(_, it)| it.sequence > watermark) {
            let left = self.buffer.get(header.sequence).map_or(0, |it| it.header.destinations);
            let header = RecordHeader { destinations: left & self.durable, ..header };
            self.out_of_order.push((location, header));
        }
        self.spool_refuses = false; // there may be room again
    }
}
