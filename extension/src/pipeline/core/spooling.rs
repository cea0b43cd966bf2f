//! Appends payloads to the spool, and reads them back.

use std::io;

use bytes::Bytes;
use tracing::warn;

use crate::delivery::DestinationId;
use crate::pipeline::buffer::Entry;
use crate::pipeline::core::state::Core;
use crate::pipeline::ledger::{Reason, State};
use crate::pipeline::spool::{Location, ReadError, RecordHeader, SegmentName};

/// Most payloads that a flush fails to read for one destination before it stops reading: one bad block must
/// not stop later payloads.
const MAX_UNREADABLE: usize = 8;

/// Most payloads of all destinations together, since each takes some 200 bytes of memory.
const MAX_PAYLOADS: usize = 16_384;

impl Core {
    /// Appends a payload that durable destinations lack. False if the spool does not take it, so that it
    /// stays in memory.
    pub(super) fn append(&mut self, sequence: u64) -> bool {
        let takes_more = self.spool.is_some() && !self.spool_refuses;
        if takes_more && self.buffer.count() > MAX_PAYLOADS {
            // First, since it may decide about this payload.
            self.compact_some(None);
        }
        let Some(entry) = self.buffer.get(sequence).cloned() else { return false };
        let Some(body) = entry.body().filter(|_| self.is_wanted_on_disk(&entry)) else {
            return false;
        };
        let header = self.on_disk(&entry);
        let written = match self.append_record(&header, body) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.restore_directory().and_then(|()| self.append_record(&header, body))
            }
            written => written,
        };
        match written {
            Ok(location) => {
                self.buffer.locate(sequence, location);
                self.spool_reported = false;
                for (id, route) in self.queues_of(&header) {
                    debug_assert!(self.destinations[id].spec.durable);
                    self.ledger.transfer(route, State::Held, State::Spooled, header.items);
                }
                true
            }
            Err(error) => {
                self.spool_refuses = true;
                if !std::mem::replace(&mut self.spool_reported, true) {
                    warn!("The spool takes nothing, telemetry stays in memory: {error}");
                }
                false
            }
        }
    }

    /// Appends the next payload that is only in memory. False if no payload is left, or the spool refuses it.
    pub fn spool_some(&mut self) -> bool {
        let next = self.buffer.next_unspooled(|entry| !self.is_wanted_on_disk(entry));
        next.is_some_and(|sequence| self.append(sequence))
    }

    fn is_wanted_on_disk(&self, entry: &Entry) -> bool {
        let accepts = self.spool.is_some() && !self.spool_refuses;
        accepts && entry.header.destinations & self.durable != 0
    }

    /// The header of the record: only durable destinations outlive the process.
    pub(super) fn on_disk(&self, entry: &Entry) -> RecordHeader {
        let RecordHeader { destinations, .. } = entry.header;
        RecordHeader { destinations: destinations & self.durable, ..entry.header }
    }

    fn append_record(&mut self, header: &RecordHeader, body: &Bytes) -> io::Result<Location> {
        let Self { spool: Some(spool), buffer, .. } = self else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let mut evicted = spool.make_room(header, || buffer.busy_segments())?;
        if buffer.count() > MAX_PAYLOADS {
            evicted.extend(spool.remove_oldest(&buffer.busy_segments()));
        }
        let location = spool.append(header, body);
        for id in evicted {
            let removed = self.buffer.remove_segment(id);
            removed.iter().for_each(|entry| self.drop_payload(entry, Reason::SpoolFull));
        }
        location
    }

    /// Counts a payload that is not in the buffer any more as dropped for each destination that lacks it.
    pub(super) fn drop_payload(&mut self, entry: &Entry, reason: Reason) {
        for (id, route) in self.queues_of(&entry.header) {
            let (from, items) = (self.state_of(entry, id), entry.header.items);
            self.ledger.transfer(route, from, State::Dropped(reason), items);
        }
    }

    /// Writes the segments anew after the function has removed their directory.
    fn restore_directory(&mut self) -> io::Result<()> {
        let Some(spool) = &mut self.spool else { return Ok(()) };
        warn!("The function has removed the spool's directory, which is made again");
        for id in spool.make_directory()? {
            let entries: Vec<Entry> = self.buffer.of_segment(id).cloned().collect();
            let mut records = Vec::new();
            for entry in entries {
                match self.body_of(&entry) {
                    Ok(body) => records.push((self.on_disk(&entry), body)),
                    Err(_) => self.lose(&entry),
                }
            }
            self.replace(id, &records)?;
        }
        Ok(())
    }

    /// Rewrites a segment with these records of it.
    pub(super) fn replace(
        &mut self,
        id: SegmentName,
        records: &[(RecordHeader, Bytes)],
    ) -> io::Result<Vec<Location>> {
        let Some(spool) = &mut self.spool else { return Ok(Vec::new()) };
        let locations = spool.rewrite(id, records)?;
        for ((header, _), location) in records.iter().zip(&locations) {
            self.buffer.locate(header.sequence, *location);
        }
        Ok(locations)
    }

    /// The bytes of a payload, from memory or disk.
    pub(super) fn body_of(&self, entry: &Entry) -> Result<Bytes, ReadError> {
        match (entry.body(), entry.location, &self.spool) {
            (Some(body), ..) => Ok(body.clone()),
            (None, Some(location), Some(spool)) => spool.read(location, &entry.header),
            (None, ..) => Err(ReadError::Damaged),
        }
    }

    /// Reads the payloads of a batch that are only on disk. False if one is unreadable: it is dropped, or
    /// skipped until the next flush.
    pub(super) fn read_in(&mut self, id: DestinationId, sequences: &[u64]) -> bool {
        let mut all_read = true;
        for sequence in sequences {
            let Some(entry) = self.buffer.get(*sequence).filter(|it| it.body().is_none()) else {
                continue;
            };
            let entry = entry.clone();
            match self.body_of(&entry) {
                Ok(body) => self.buffer.cache(*sequence, body),
                Err(error) => {
                    all_read = false;
                    self.cannot_read(id, &entry, &error);
                }
            }
        }
        all_read
    }

    fn cannot_read(&mut self, id: DestinationId, entry: &Entry, error: &ReadError) {
        let RecordHeader { sequence, items, kind, .. } = entry.header;
        let is_logged = matches!(error, ReadError::NotNow(_))
            && self.destinations[id]
                .reported_unreadable
                .is_some_and(|sequence| self.buffer.get(sequence).is_some());
        if !is_logged {
            let name = self.destinations[id].spec.name;
            warn!("A spooled payload of {items} {} for {name} {error}", kind.items());
        }
        match error {
            ReadError::Damaged => self.lose(entry),
            ReadError::NotNow(_) => {
                self.destinations[id].skipped.insert(sequence);
                self.destinations[id].reported_unreadable = Some(sequence);
            }
        }
    }

    pub(super) fn lose(&mut self, entry: &Entry) {
        self.buffer.remove(entry.header.sequence);
        self.drop_payload(entry, Reason::SpoolDamaged);
        self.free(entry);
    }

    /// Whether the flush has failed to read too often.
    pub(super) fn is_unreadable(&self, id: DestinationId) -> bool {
        let Self { destinations, .. } = self;
        let skipped = destinations[id].skipped.iter();
        skipped.filter(|it| !destinations[id].suspects.contains_key(it)).count() >= MAX_UNREADABLE
    }

    /// No destination lacks the payload any more.
    pub(super) fn free(&mut self, entry: &Entry) {
        if let (Some(location), Some(spool)) = (entry.location, &mut self.spool) {
            spool.release(location);
        }
    }
}
