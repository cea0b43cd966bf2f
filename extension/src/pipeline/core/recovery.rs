//! Goes on with the telemetry and the accounts of an earlier process.

use tracing::warn;

use crate::pipeline::core::state::Core;
use crate::pipeline::ledger::{Ledger, Reason, State};
use crate::pipeline::spool::{ImportedFile, Recovered, Spool};
use crate::pipeline::sums::{QueueRow, Sums};

impl Core {
    /// Uses the spool and sums of an earlier process. Corrects the sums to the records that exist. Returns
    /// the number of items that process held in memory, which are lost.
    pub fn use_spool(&mut self, mut spool: Spool, recovered: Recovered, sums: Option<Sums>) -> u64 {
        self.follows_crash = sums.is_some();
        let Sums { logged, end, rows } = sums.unwrap_or_default();
        self.logged = logged;
        let mut ledger = Ledger::new(self.ledger.routes());
        let mut watermarks = vec![0; ledger.routes()];
        let mut next = end;
        for row in rows {
            match self.queue_names.iter().position(|name| *name == row.queue) {
                Some(route) => {
                    watermarks[route] = row.watermark;
                    ledger.set(route, row.account);
                }
                None => self.foreign.push(row),
            }
        }
        self.earlier = ledger.clone();
        // Payloads that the sums count, and those that were received after the sums were written.
        let (mut counted, mut uncounted) = (vec![0; ledger.routes()], vec![0; ledger.routes()]);
        for (mut header, location) in recovered.records {
            next = next.max(header.sequence + 1);
            let lacks = |id: &usize| {
                let route = self.destinations[*id].route_of(header.kind);
                let route = route.filter(|_| header.destinations & (1 << id) != 0)?;
                (header.sequence >= watermarks[route]).then_some((*id, route))
            };
            let queues: Vec<_> = (0..self.destinations.len()).filter_map(|id| lacks(&id)).collect();
            header.destinations = queues.iter().fold(0, |bits, (id, _)| bits | 1 << id);
            header.is_undecided &= self.is_sampled(&header);
            if !queues.is_empty() && self.buffer.recover(header, location) {
                self.await_recovered(&header);
                spool.keep(location);
                let found = if header.sequence < end { &mut counted } else { &mut uncounted };
                queues.iter().for_each(|(_, route)| found[*route] += header.items);
            }
        }
        self.buffer.begin_at(next);
        for (route, found) in counted.into_iter().enumerate() {
            ledger.reconcile_spool(route, found);
        }
        let lost = ledger.lose_held();
        for (route, items) in uncounted.into_iter().enumerate() {
            ledger.received(route, items);
            ledger.transfer(route, State::Held, State::Spooled, items);
        }
        ledger.merge(&self.ledger);
        self.ledger = ledger;
        self.spool = Some(spool);
        recovered.imports.iter().for_each(|file| self.import(file));
        lost
    }

    /// Enqueues a file of version 0.1, or counts it as lost. A file for a destination that is off stays.
    fn import(&mut self, file: &ImportedFile) {
        let named = self.destinations.iter().position(|it| it.spec.name == file.destination);
        let Some(id) = named else { return };
        let Some(route) = self.destinations[id].route_of(file.kind) else { return };
        self.ledger.received(route, file.items);
        match file.read() {
            Ok(payload) => {
                let sequence = self.buffer.push(payload, 1 << id);
                self.append(sequence);
            }
            Err(error) => {
                warn!("A spooled batch of {} {} is lost: {error}", file.items, file.kind.items());
                let lost = State::Dropped(Reason::SpoolDamaged);
                self.ledger.transfer(route, State::Held, lost, file.items);
            }
        }
        file.remove();
    }

    /// The content of the [sums' file](crate::pipeline::sums).
    pub fn sums(&mut self) -> Sums {
        let mut rows = Vec::with_capacity(self.queue_names.len() + self.foreign.len());
        for id in 0..self.destinations.len() {
            for (route, kind) in self.destinations[id].queues() {
                let (queue, account) =
                    (self.queue_names[route].clone(), self.ledger.with_expected(route));
                rows.push(QueueRow { queue, watermark: self.buffer.watermark(id, kind), account });
            }
        }
        rows.extend_from_slice(&self.foreign);
        Sums { logged: self.logged, end: self.buffer.end(), rows }
    }
}
