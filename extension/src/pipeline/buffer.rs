//! Waiting payloads in the order of arrival, in memory, on disk, or both.
//!
//! A payload is held once for all destinations. It has a bit for each destination that lacks it, and is
//! freed with the last bit. A batch holds payloads of one kind from before the last
//! [`mark`](Buffer::mark), and no destination gets a payload twice at a time.
//!
//! The bytes in memory are bounded over all destinations together. A full buffer first forgets the bytes
//! that are on disk too, then evicts the oldest payload without an error, then the oldest; the caller
//! accounts for it.
//!
//! The buffer knows nothing of time, tasks, files or destinations' names.

mod entry;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::delivery::DestinationId;
use crate::delivery::batch::{BatchPart, MAX_FAILURES};
use crate::otlp::payload::{MAX_BATCH_BYTES, Payload, SignalKind};
pub use crate::pipeline::buffer::entry::Entry;
use crate::pipeline::spool::{Location, RecordHeader, SegmentName};

/// Most payloads of a batch that are read from the disk: a few milliseconds.
const MAX_PARTS: usize = 1_024;

#[derive(Debug)]
pub struct Buffer {
    /// By sequence number.
    entries: BTreeMap<u64, Entry>,
    /// Sequence number of the next payload.
    end: u64,
    /// Sequence numbers of the first payload after the mark, and after the mark before.
    mark: u64,
    previous_mark: u64,
    /// Bytes in memory.
    bytes: usize,
    max_bytes: usize,
    /// Payloads that are only in memory, without and with an error.
    unspooled: [BTreeSet<u64>; 2],
    /// Payloads in memory and on disk.
    cached: BTreeSet<u64>,
    /// For each destination and kind, a sequence number before which it lacks nothing.
    watermarks: Vec<[u64; SignalKind::ALL.len()]>,
    /// The payloads of each destination's batch in flight, sorted.
    in_flight: Vec<Vec<u64>>,
    /// For each destination the most items of a batch of several payloads.
    max_items: Vec<u64>,
    /// The destination that waits for the decision of undecided payloads.
    sampled: Option<DestinationId>,
}

impl Buffer {
    pub fn new(max_bytes: usize, max_items: Vec<u64>) -> Self {
        Self {
            entries: BTreeMap::new(),
            end: 0,
            mark: 0,
            previous_mark: 0,
            bytes: 0,
            max_bytes,
            unspooled: Default::default(),
            cached: BTreeSet::new(),
            watermarks: vec![[0; SignalKind::ALL.len()]; max_items.len()],
            in_flight: vec![Vec::new(); max_items.len()],
            max_items,
            sampled: None,
        }
    }

    /// This destination does not get [undecided](Self::set_undecided) payloads.
    pub fn set_sampled(&mut self, id: DestinationId) {
        self.sampled = Some(id);
    }

    /// Appends a payload for the destinations in these bits. Returns its sequence number.
    pub fn push(&mut self, payload: Payload, destinations: u32) -> u64 {
        let sequence = self.end;
        let bytes = u32::try_from(payload.bytes.len()).unwrap_or(u32::MAX);
        let header = RecordHeader {
            sequence,
            kind: payload.kind,
            items: payload.items,
            has_error: payload.has_error,
            has_unsampled: payload.has_unsampled,
            is_zstd: false,
            is_undecided: false,
            bytes,
            plain_bytes: bytes,
            destinations,
        };
        self.end += 1;
        self.insert(Entry { header, location: None, body: Some(payload.bytes) });
        sequence
    }

    /// Adds a record of the spool. False if the payload is known.
    pub fn recover(&mut self, header: RecordHeader, location: Location) -> bool {
        self.end = self.end.max(header.sequence + 1);
        let is_new = !self.entries.contains_key(&header.sequence);
        if is_new {
            for watermarks in &mut self.watermarks {
                let watermark = &mut watermarks[header.kind as usize];
                *watermark = header.sequence.min(*watermark);
            }
            self.insert(Entry { header, location: Some(location), body: None });
        }
        is_new
    }

    /// No payload gets a sequence number before this one.
    pub fn begin_at(&mut self, sequence: u64) {
        self.end = self.end.max(sequence);
        self.mark = self.end;
    }

    /// Sequence number of the next payload.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Releases all payloads for batches. Later payloads wait for the next mark.
    pub fn mark(&mut self) {
        if self.mark < self.end {
            self.previous_mark = self.mark;
        }
        self.mark = self.end;
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn count(&self) -> usize {
        self.entries.len()
    }

    pub fn get(&self, sequence: u64) -> Option<&Entry> {
        self.entries.get(&sequence)
    }

    /// The oldest payload that is only in memory, those without an error first, and none that `skip` names.
    pub fn next_unspooled(&self, skip: impl Fn(&Entry) -> bool) -> Option<u64> {
        let all = self.unspooled.iter().flatten();
        all.copied().find(|it| self.entries.get(it).is_some_and(|entry| !skip(entry)))
    }

    /// A payload is on disk now.
    pub fn locate(&mut self, sequence: u64, location: Location) {
        if let Some(mut entry) = self.remove(sequence) {
            entry.location = Some(location);
            self.insert(entry);
        }
    }

    /// The bytes of a payload were read, for a batch.
    pub fn cache(&mut self, sequence: u64, body: Bytes) {
        if let Some(mut entry) = self.remove(sequence) {
            entry.body = Some(body);
            self.insert(entry);
        }
    }

    /// Whether the buffer exceeds its bound.
    pub fn is_over_full(&self) -> bool {
        self.bytes > self.max_bytes
    }

    pub fn is_half_full(&self) -> bool {
        self.bytes > self.max_bytes / 2
    }

    /// Whether the sampled destination waits for the decision on a payload. Returns the payload.
    pub fn set_undecided(&mut self, sequence: u64, is_undecided: bool) -> Option<&Entry> {
        let entry = self.entries.get_mut(&sequence)?;
        entry.header.is_undecided = is_undecided;
        Some(entry)
    }

    /// Forgets bytes that are on disk too, except those in flight, until the bound is kept.
    pub fn drop_cached(&mut self) {
        while self.is_over_full() {
            let idle = self.cached.iter().copied().find(|it| !self.is_in_flight(*it));
            let Some(mut entry) = idle.and_then(|sequence| self.remove(sequence)) else { return };
            entry.body = None;
            self.insert(entry);
        }
    }

    /// Evicts one payload that is only in memory if the buffer exceeds its bound. Call it until it returns
    /// `None`. Payloads in flight are spared, since evicting them would free nothing.
    pub fn evict(&mut self) -> Option<Entry> {
        if !self.is_over_full() {
            return None;
        }
        let all = self.unspooled.iter().flatten();
        let victim = all.copied().find(|sequence| !self.is_in_flight(*sequence))?;
        self.remove(victim)
    }

    /// Removes the payloads of a segment.
    pub fn remove_segment(&mut self, id: SegmentName) -> Vec<Entry> {
        let sequences: Vec<u64> = self.of_segment(id).map(|entry| entry.header.sequence).collect();
        sequences.into_iter().filter_map(|sequence| self.remove(sequence)).collect()
    }

    /// The payloads of a segment, oldest first.
    pub fn of_segment(&self, id: SegmentName) -> impl Iterator<Item = &Entry> {
        let is_there = move |entry: &&Entry| entry.location.is_some_and(|it| it.segment == id);
        self.entries.values().filter(is_there)
    }

    /// The segments with a payload in flight.
    pub fn busy_segments(&self) -> BTreeSet<SegmentName> {
        let location = |sequence| self.entries.get(sequence).and_then(|entry| entry.location);
        self.in_flight.iter().flatten().filter_map(location).map(|it| it.segment).collect()
    }

    /// A destination's next payloads of a kind from before the mark, oldest first, without those that `skip`
    /// names. If they do not fit into one batch, those that came since the mark before come first. `None`
    /// while a batch is in flight.
    pub fn select(
        &mut self,
        id: DestinationId,
        kind: SignalKind,
        skip: impl Fn(u64) -> bool,
    ) -> Option<Vec<u64>> {
        if !self.in_flight[id].is_empty() {
            return None;
        }
        let from = self.watermark(id, kind);
        let oldest = self.fitting(id, kind, from, &skip);
        let is_cut = oldest.last().is_some_and(|last| {
            self.waiting(id, kind, last + 1).any(|entry| !skip(entry.header.sequence))
        });
        let fresh = is_cut.then(|| self.fitting(id, kind, self.previous_mark.max(from), &skip));
        let chosen = fresh.filter(|fresh| !fresh.is_empty()).unwrap_or(oldest);
        (!chosen.is_empty()).then_some(chosen)
    }

    /// Most bytes of a batch: four batches that were read from the disk fit into the bound.
    fn batch_bytes(&self) -> usize {
        MAX_BATCH_BYTES.min(self.max_bytes / 4)
    }

    fn fitting(
        &self,
        id: DestinationId,
        kind: SignalKind,
        from: u64,
        skip: impl Fn(u64) -> bool,
    ) -> Vec<u64> {
        self.fit(id, kind, self.waiting(id, kind, from).filter(|it| !skip(it.header.sequence)))
    }

    /// A destination's next payloads of a kind, also those after the mark. Empty without one.
    pub fn select_all(
        &self,
        id: DestinationId,
        kind: SignalKind,
        skip: impl Fn(u64) -> bool,
    ) -> Vec<u64> {
        self.fit(id, kind, self.lacking(id, kind).filter(|it| !skip(it.header.sequence)))
    }

    fn fit<'a>(
        &self,
        id: DestinationId,
        kind: SignalKind,
        entries: impl Iterator<Item = &'a Entry>,
    ) -> Vec<u64> {
        let (mut sequences, mut is_zstd) = (Vec::new(), false);
        let (mut plain_bytes, mut items) = (0, 0);
        let most = if kind == SignalKind::Failures { MAX_FAILURES } else { MAX_PARTS };
        for Entry { header, .. } in entries {
            plain_bytes += header.plain_bytes as usize;
            items += header.items;
            let is_small = plain_bytes <= self.batch_bytes() && items <= self.max_items[id];
            let fits = is_small && header.is_zstd == is_zstd;
            if !sequences.is_empty() && !fits || sequences.len() == most {
                break;
            }
            is_zstd = header.is_zstd;
            sequences.push(header.sequence);
        }
        sequences
    }

    /// The payloads before the mark that a destination lacks and may get, and no batch of it holds.
    fn waiting(
        &self,
        id: DestinationId,
        kind: SignalKind,
        from: u64,
    ) -> impl Iterator<Item = &Entry> {
        self.entries.range(from..self.mark.max(from)).map(|(_, entry)| entry).filter(move |entry| {
            entry.header.kind == kind
                && entry.is_lacked_by(id)
                && !(entry.header.is_undecided && self.sampled == Some(id))
                && self.in_flight[id].binary_search(&entry.header.sequence).is_err()
        })
    }

    /// Puts payloads in flight, and returns them. All must be in memory.
    pub fn take(&mut self, id: DestinationId, sequences: &[u64]) -> Vec<BatchPart> {
        let entries = sequences.iter().filter_map(|sequence| self.entries.get(sequence));
        let part = |entry: &Entry| {
            let RecordHeader { items, has_error, has_unsampled, plain_bytes, .. } = entry.header;
            let (bytes, plain_bytes) = (entry.body.clone()?, plain_bytes as usize);
            Some(BatchPart { bytes, plain_bytes, items, has_error, has_unsampled })
        };
        let parts = entries.filter_map(part).collect();
        self.in_flight[id] = sequences.to_vec();
        parts
    }

    /// A destination lacks these payloads no more. Returns those that no destination lacks now.
    pub fn done(&mut self, id: DestinationId, sequences: &[u64]) -> Vec<Entry> {
        self.in_flight[id].retain(|sequence| sequences.binary_search(sequence).is_err());
        sequences.iter().filter_map(|sequence| self.has(id, *sequence)).collect()
    }

    /// A destination lacks a payload no more. Returns it if no other does.
    fn has(&mut self, id: DestinationId, sequence: u64) -> Option<Entry> {
        let entry = self.entries.get_mut(&sequence)?;
        entry.header.destinations &= !(1 << id);
        entry.header.is_undecided &= self.sampled != Some(id);
        if entry.header.destinations == 0 { self.remove(sequence) } else { None }
    }

    /// Returns the batch in flight to the queue.
    pub fn give_back(&mut self, id: DestinationId) {
        self.in_flight[id].clear();
    }

    /// Whether a destination lacks payloads of a kind from before the mark that no batch of it holds and
    /// `skip` does not name.
    pub fn has_waiting(
        &self,
        id: DestinationId,
        kind: SignalKind,
        skip: impl Fn(u64) -> bool,
    ) -> bool {
        let mut waiting = self.waiting(id, kind, self.watermarks[id][kind as usize]);
        waiting.any(|entry| !skip(entry.header.sequence))
    }

    /// The payloads of a kind that a destination lacks, also those in flight and after the mark.
    pub fn lacking(&self, id: DestinationId, kind: SignalKind) -> impl Iterator<Item = &Entry> {
        let from = self.watermarks[id][kind as usize];
        let entries = self.entries.range(from..).map(|(_, entry)| entry);
        entries.filter(move |entry| entry.header.kind == kind && entry.is_lacked_by(id))
    }

    /// The sequence number of the first payload of a kind that a destination lacks, or of the next payload.
    pub fn watermark(&mut self, id: DestinationId, kind: SignalKind) -> u64 {
        let first = self.lacking(id, kind).next().map(|entry| entry.header.sequence);
        let watermark = first.unwrap_or(self.end);
        self.watermarks[id][kind as usize] = watermark;
        watermark
    }

    fn is_in_flight(&self, sequence: u64) -> bool {
        self.in_flight.iter().any(|batch| batch.binary_search(&sequence).is_ok())
    }

    fn insert(&mut self, entry: Entry) {
        let sequence = entry.header.sequence;
        self.bytes += entry.memory();
        match (entry.location, &entry.body) {
            (Some(_), Some(_)) => drop(self.cached.insert(sequence)),
            (Some(_), None) => {}
            (None, _) => {
                self.unspooled[usize::from(entry.header.has_error)].insert(sequence);
            }
        }
        self.entries.insert(sequence, entry);
    }

    /// Removes a payload, which is in flight no more or cannot be read.
    pub fn remove(&mut self, sequence: u64) -> Option<Entry> {
        let entry = self.entries.remove(&sequence)?;
        self.bytes -= entry.memory();
        self.cached.remove(&sequence);
        self.unspooled[usize::from(entry.header.has_error)].remove(&sequence);
        Some(entry)
    }
}

#[cfg(test)]
mod tests;
