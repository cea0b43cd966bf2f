//! Moves batches to the spool, and reads them back.

use tracing::warn;

use crate::delivery::DestinationId;
use crate::delivery::batch::Batch;
use crate::otlp::payload::SignalKind;
use crate::pipeline::core::destination::{BatchOrigin, Destination};
use crate::pipeline::core::state::Core;
use crate::pipeline::ledger::{QueueId, Reason, State};
use crate::pipeline::spool::{ReadError, SpoolFile};

/// Most files in one batch. Reading this many small files blocks the process for a few milliseconds.
const MAX_BATCH_FILES: usize = 64;

/// Most files that a flush fails to read for one destination before it stops reading. One bad block must
/// not stop later files, but a process without descriptors can read none.
pub(super) const MAX_UNREADABLE: usize = 8;

/// Most bytes of waiting payloads that are compressed in one step: a few milliseconds on a full core,
/// about 50 ms at 128 MB (1/14 core). A single payload and a batch in flight may be larger.
const PIECE_BYTES: usize = 1_000_000;

impl Core {
    /// The oldest spool files of one kind as one batch, since each of many small files would cost a
    /// round trip. Missing and damaged files are counted and skipped.
    pub(super) fn next_spooled(
        &mut self,
        id: DestinationId,
        most_files: usize,
    ) -> Option<(QueueId, BatchOrigin, Batch)> {
        while let Some(kind) = self.oldest_spooled_kind(id) {
            let route = self.destinations[id].route_of(kind)?;
            let (batch, sequences) =
                self.spooled_in_a_row(id, kind, route, most_files.min(MAX_BATCH_FILES));
            if let Some(batch) = batch {
                return Some((route, BatchOrigin::Spool(sequences), batch));
            }
        }
        None
    }

    /// The kind of the oldest file that this flush can still read.
    pub(super) fn oldest_spooled_kind(&self, id: DestinationId) -> Option<SignalKind> {
        let Destination { spec, unreadable, .. } = &self.destinations[id];
        if unreadable.len() >= MAX_UNREADABLE {
            return None;
        }
        self.spool.as_ref()?.oldest_kind(spec.name, &spec.kinds, unreadable)
    }

    fn spooled_in_a_row(
        &mut self,
        id: DestinationId,
        kind: SignalKind,
        route: QueueId,
        most_files: usize,
    ) -> (Option<Batch>, Vec<u64>) {
        let (mut whole, mut sequences) = (None::<Batch>, Vec::new());
        while sequences.len() < most_files {
            let last = sequences.last().copied();
            let Destination { spec, unreadable, .. } = &self.destinations[id];
            if unreadable.len() >= MAX_UNREADABLE {
                break;
            }
            let spool = self.spool.as_mut();
            match spool.and_then(|spool| spool.next(spec.name, kind, last, unreadable)) {
                None => break,
                Some((file, Err(error @ ReadError::NotNow(_)))) => {
                    self.keep_unreadable(id, &file, &error);
                }
                Some((file, Err(error))) => {
                    let (items, unit) = (file.items, kind.items());
                    warn!("A spooled batch of {items} {unit} {error}");
                    let damaged = State::Dropped(Reason::SpoolDamaged);
                    self.ledger.transfer(route, State::Spooled, damaged, items);
                }
                Some((file, Ok(batch))) => {
                    if let Some(whole) = &mut whole {
                        if !whole.try_append(batch) {
                            break;
                        }
                    } else {
                        whole = Some(batch);
                    }
                    sequences.push(file.sequence);
                }
            }
        }
        (whole, sequences)
    }

    /// Skips a file until the next flush. Logs no other line while the file of the last line is listed.
    fn keep_unreadable(&mut self, id: DestinationId, file: &SpoolFile, error: &ReadError) {
        let destination = &mut self.destinations[id];
        destination.unreadable.push(file.sequence);
        let is_there = |sequence| self.spool.as_ref().is_some_and(|spool| spool.has(sequence));
        if !destination.reported_unreadable.is_some_and(is_there) {
            let (items, unit) = (file.items, file.kind.items());
            warn!("A spooled batch of {items} {unit} for {} {error}", destination.spec.name);
            destination.reported_unreadable = Some(file.sequence);
        }
    }

    /// Moves one undelivered batch of a durable destination to the spool: a batch in flight, which
    /// continues, or a waiting one. False if none is left, or the spool rejects it.
    pub fn spool_some(&mut self) -> bool {
        if self.spool.is_none() || self.spool_refuses {
            return false;
        }
        for id in 0..self.destinations.len() {
            if !self.destinations[id].spec.durable {
                continue;
            }
            if let Some(under_way) = &self.destinations[id].under_way
                && under_way.origin == BatchOrigin::Buffer
            {
                let (route, batch) = (under_way.route, under_way.batch.clone());
                let written = self.spool_batch(id, route, &batch);
                if let (Some(sequence), Some(under_way)) =
                    (written, &mut self.destinations[id].under_way)
                {
                    under_way.origin = BatchOrigin::Spool(vec![sequence]);
                }
                return written.is_some();
            }
            for route in self.destinations[id].routes() {
                if let Some(batch) = self.buffer.take_up_to(route, usize::MAX, PIECE_BYTES) {
                    let written = self.spool_batch(id, route, &batch);
                    if written.is_none() {
                        self.buffer.give_back(route);
                    }
                    return written.is_some();
                }
            }
        }
        false
    }

    /// Moves a batch from the buffer to the spool. `None` if the spool does not take it.
    fn spool_batch(&mut self, id: DestinationId, route: QueueId, batch: &Batch) -> Option<u64> {
        let name = self.destinations[id].spec.name;
        let busy: Vec<u64> =
            self.destinations.iter().flat_map(Destination::busy_files).copied().collect();
        let spool = self.spool.as_mut()?;
        // The check avoids compressing a batch that cannot fit.
        let room = spool.could_hold(1, &busy);
        let written = room.and_then(|()| batch.to_compressed()).and_then(|batch| {
            for file in spool.make_room(batch.to_zstd()?.len() as u64, &busy)? {
                let owner = self.destinations.iter().find(|d| d.spec.name == file.destination);
                if let Some(route) = owner.and_then(|owner| owner.route_of(file.kind)) {
                    let lost = State::Dropped(Reason::SpoolFull);
                    self.ledger.transfer(route, State::Spooled, lost, file.items);
                }
            }
            spool.write(name, &batch)
        });
        match written {
            Ok(sequence) => {
                self.buffer.done(route);
                self.ledger.transfer(route, State::Held, State::Spooled, batch.items);
                self.spool_reported = false;
                Some(sequence)
            }
            Err(error) => {
                self.spool_refuses = true;
                if !self.spool_reported {
                    warn!("The spool takes nothing, telemetry stays in memory: {error}");
                    self.spool_reported = true;
                }
                None
            }
        }
    }
}
