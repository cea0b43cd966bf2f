//! Rewrites segments that wait.

use std::collections::BTreeMap;

use bytes::Bytes;
use tokio::time::Instant;
use tracing::warn;

use crate::delivery::batch::compress;
use crate::otlp::payload::SignalKind;
use crate::pipeline::buffer::Entry;
use crate::pipeline::core::state::Core;
use crate::pipeline::spool::{ReadError, RecordHeader, SegmentName};

/// Payloads of one kind that the same destinations lack.
type Group = (SignalKind, u32);

impl Core {
    /// Rewrites the oldest segment that has waited for a minute: without finished records, and with the
    /// others compressed, as they are sent later. False without such a segment.
    ///
    /// Without the time, the oldest segment of any age. Takes some 5 ms of a full core for a megabyte.
    pub fn compact_some(&mut self, now: Option<Instant>) -> bool {
        if self.stale_segment(now).is_none() {
            return false;
        }
        // During an outage no flush drops what sampling leaves out.
        self.settle_samples(false);
        let Some(id) = self.stale_segment(now) else { return false };
        if let Err(error) = self.compact(id) {
            warn!("A part of the spool stays as it is: {error}");
        }
        if let Some(spool) = &mut self.spool {
            spool.set_compact(id);
        }
        true
    }

    fn stale_segment(&self, now: Option<Instant>) -> Option<SegmentName> {
        self.spool.as_ref()?.stale(now, &self.buffer.busy_segments())
    }

    fn compact(&mut self, id: SegmentName) -> std::io::Result<()> {
        let entries: Vec<Entry> = self.buffer.of_segment(id).cloned().collect();
        let mut groups: BTreeMap<Group, Vec<(Entry, Bytes)>> = BTreeMap::new();
        let mut records = Vec::new();
        for entry in entries {
            let body = match self.body_of(&entry) {
                Ok(body) => body,
                Err(ReadError::Damaged) => {
                    self.lose(&entry);
                    continue;
                }
                Err(ReadError::NotNow(error)) => return Err(error),
            };
            let RecordHeader { kind, destinations, is_zstd, is_undecided, .. } = entry.header;
            // Each failure needs a separate request, and each undecided payload its decision.
            if is_zstd || is_undecided || kind == SignalKind::Failures {
                records.push((entry.header, body));
            } else {
                groups.entry((kind, destinations)).or_default().push((entry, body));
            }
        }
        let mut merged = Vec::new();
        for group in groups.values() {
            let body = compress(group.iter().map(|(_, body)| body))?;
            let headers = group.iter().map(|(entry, _)| entry.header);
            records.extend(merge(headers, body.len()).map(|header| (header, body)));
            merged.extend(group.iter().map(|(entry, _)| entry.header.sequence));
        }
        records.sort_by_key(|(header, _)| header.sequence);
        let on_disk = |(header, body): &(RecordHeader, Bytes)| {
            let destinations = header.destinations & self.durable;
            (RecordHeader { destinations, ..*header }, body.clone())
        };
        let locations = self.replace(id, &records.iter().map(on_disk).collect::<Vec<_>>())?;
        for sequence in merged {
            self.buffer.remove(sequence);
        }
        for ((header, _), location) in records.iter().zip(locations) {
            self.buffer.recover(*header, location);
        }
        Ok(())
    }
}

/// The header of a record with the payloads of all these. `None` without one.
fn merge(headers: impl Iterator<Item = RecordHeader>, bytes: usize) -> Option<RecordHeader> {
    let merged = headers.reduce(|merged, next| RecordHeader {
        items: merged.items + next.items,
        has_unsampled: merged.has_unsampled | next.has_unsampled,
        plain_bytes: merged.plain_bytes + next.plain_bytes,
        ..merged
    })?;
    Some(RecordHeader { is_zstd: true, bytes: u32::try_from(bytes).unwrap_or(u32::MAX), ..merged })
}
