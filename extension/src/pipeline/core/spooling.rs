//! The way of batches to the spool, and back from there.

use tracing::warn;

use super::{
    Core, DestinationId,
    destination::{Destination, Origin},
};
use crate::{
    batch::Batch,
    ledger::{Reason, Route, State},
};

impl Core {
    /// The oldest files of the spool as one batch: busy traffic makes many small ones, each of which
    /// would cost a round trip. Files that cannot be read are counted and passed over.
    pub(super) fn next_spooled(
        &mut self,
        id: DestinationId,
        most_files: usize,
    ) -> Option<(Route, Origin, Batch)> {
        let destination = &self.destinations[id];
        let spool = self.spool.as_mut()?;
        let (mut whole, mut sequences) = (None::<(Route, Batch)>, Vec::new());
        while sequences.len() < most_files {
            let next = spool.next(destination.spec.name, sequences.last().copied());
            let Some((file, batch)) = next else { break };
            let Some(route) = destination.route_of(file.kind) else { break };
            let fits = match (batch, &mut whole) {
                (Ok(batch), None) => whole.replace((route, batch)).is_none(),
                (Ok(batch), Some((_, whole))) => whole.take_in(&batch),
                (Err(error), _) => {
                    let (items, unit) = (file.items, file.kind.items());
                    warn!("A spooled batch of {items} {unit} is damaged and set aside: {error}");
                    let damaged = State::Dropped(Reason::SpoolDamaged);
                    self.ledger.moved(route, State::Spooled, damaged, items);
                    continue;
                }
            };
            if !fits {
                break;
            }
            sequences.push(file.sequence);
        }
        whole.map(|(route, batch)| (route, Origin::Spool(sequences), batch))
    }

    /// Writes what is under way from the buffer to the spool as well.
    pub(super) fn spool_under_way(&mut self) {
        for id in 0..self.destinations.len() {
            let Some(under_way) = &self.destinations[id].under_way else { continue };
            if under_way.origin == Origin::Buffer && self.destinations[id].spec.durable {
                let (route, batch) = (under_way.route, under_way.batch.clone());
                let written = self.spool_batch(id, route, &batch);
                if let (Some(sequence), Some(under_way)) =
                    (written, &mut self.destinations[id].under_way)
                {
                    under_way.origin = Origin::Spool(vec![sequence]);
                }
            }
        }
    }

    /// Moves what no batch holds to the spool.
    pub(super) fn spool_waiting(&mut self) {
        for id in 0..self.destinations.len() {
            if !self.destinations[id].spec.durable || self.spool.is_none() {
                continue;
            }
            for route in self.destinations[id].routes() {
                while let Some(batch) = self.buffer.take(route, usize::MAX) {
                    if self.spool_batch(id, route, &batch).is_none() {
                        self.buffer.give_back(route);
                        break;
                    }
                }
            }
        }
    }

    /// Moves a batch that was taken from the buffer to the spool. `None` if that is not possible.
    fn spool_batch(&mut self, id: DestinationId, route: Route, batch: &Batch) -> Option<u64> {
        let name = self.destinations[id].spec.name;
        let busy: Vec<u64> =
            self.destinations.iter().flat_map(Destination::busy_files).copied().collect();
        let spool = self.spool.as_mut()?;
        let written = batch.to_compressed().and_then(|batch| {
            for file in spool.make_room(&batch, &busy)? {
                let owner = self.destinations.iter().find(|d| d.spec.name == file.destination);
                if let Some(route) = owner.and_then(|owner| owner.route_of(file.kind)) {
                    let lost = State::Dropped(Reason::SpoolFull);
                    self.ledger.moved(route, State::Spooled, lost, file.items);
                }
            }
            spool.write(name, &batch)
        });
        match written {
            Ok(sequence) => {
                self.buffer.done(route);
                self.ledger.moved(route, State::Held, State::Spooled, batch.items);
                self.spool_reported = false;
                Some(sequence)
            }
            Err(error) => {
                if !self.spool_reported {
                    warn!("The spool takes nothing, telemetry stays in memory: {error}");
                    self.spool_reported = true;
                }
                None
            }
        }
    }
}
