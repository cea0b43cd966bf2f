//! Undelivered payloads on disk, so that they outlive the process.
//!
//! A payload is appended to a segment before its sender gets an answer: one write into the page
//! cache, which outlives the process, without compression and fsync. A payload of several destinations is
//! one record. The [buffer](crate::pipeline::buffer) knows which records a destination lacks; the
//! [sums](crate::pipeline::ledger) keep that for the next process.
//!
//! - **Two streams**: payloads with and without errors have separate segments. The oldest segment without
//!   errors is removed first to make room; a payload without an error removes none with errors.
//! - **A finished segment**, whose records no destination lacks, is removed after the sums are written: a
//!   kill between the two leaves a file that the next process removes. To make room, the file is removed
//!   before its items are counted as dropped: a kill between the two leaves items without a file, which
//!   the next process counts.
//! - **[Compaction](Spool::rewrite)**: a segment whose records wait for a minute is written anew without
//!   the finished ones. The others are compressed, in the frames that are sent later.
//! - **A removed directory** is made again.
//!
//! The bound counts disk blocks, and leaves a quarter of the disk to the function.

mod record;
mod segment;
mod import;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;
use tracing::warn;

pub use crate::pipeline::spool::import::ImportedFile;
pub use crate::pipeline::spool::record::RecordHeader;
pub use crate::pipeline::spool::segment::ReadError;
use crate::pipeline::spool::segment::SegmentFile;
use crate::pipeline::spool::segment::UNFINISHED;

/// A file takes a multiple of this on disk: the default block size of ext4 and most other file systems.
/// <https://docs.kernel.org/filesystems/ext4/blocks.html>
const BLOCK: u64 = 4_096;

/// A segment ends at this size: small enough to be rewritten in a few milliseconds, large enough that the
/// default bound is some 60 open files.
const SEGMENT_BYTES: u64 = 1 << 20;

/// The least number of segments in a small bound, so that making room drops a small part.
const LEAST_SEGMENTS: u64 = 16;

/// A segment is compacted at this age: its records wait for a destination that does not answer.
const COMPACTION_AGE: Duration = Duration::from_secs(60);

/// The largest `/tmp` of a function.
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-ephemeral-storage.html>
const LARGEST_DISK: u64 = 10_240 << 20;

const SUFFIX: &str = "segment";

/// Names a segment: its place in the order of creation, and its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentName {
    number: u64,
    has_error: bool,
}

/// The place of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    pub segment: SegmentName,
    offset: u64,
}

#[derive(Debug)]
pub struct Spool {
    directory: PathBuf,
    max_bytes: u64,
    /// The names of the durable destinations, as segments hold them.
    names: String,
    segments: BTreeMap<SegmentName, SegmentFile>,
    /// To which records without and with errors are appended.
    active: [Option<SegmentName>; 2],
    next_number: u64,
    /// The most bytes at the last look at the disk.
    limit: u64,
}

/// The files of an earlier process.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Records with their places, in any order.
    pub records: Vec<(RecordHeader, Location)>,
    /// Files of version 0.1.
    pub imports: Vec<ImportedFile>,
}

impl Spool {
    /// Creates the directory if it is missing, reads the record headers of an earlier process, and removes
    /// unfinished files. Bit *n* of [`RecordHeader::destinations`] is the *n*th of `names`, also in records
    /// that were written for other destinations.
    pub fn open(directory: &Path, max_bytes: u64, names: &[&str]) -> io::Result<(Self, Recovered)> {
        fs::create_dir_all(directory)?;
        let mut spool = Self {
            directory: directory.to_owned(),
            max_bytes: max_bytes.min(disk_bytes(directory) / 8),
            names: names.join(","),
            segments: BTreeMap::new(),
            active: [None, None],
            next_number: 0,
            limit: max_bytes,
        };
        let mut recovered = Recovered::default();
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if let Some(id) = SegmentName::parse(name) {
                // One bad file costs itself: the sums show what it held.
                if let Err(error) = spool.recover(id, &path, names, &mut recovered) {
                    warn!("{} is left out of the spool: {error}", path.display());
                }
            } else if let Some(file) = ImportedFile::parse(&path) {
                recovered.imports.push(file);
            } else if name.ends_with(UNFINISHED) {
                let _ = fs::remove_file(&path); // it holds nothing that the sums count
            }
        }
        Ok((spool, recovered))
    }

    fn recover(
        &mut self,
        id: SegmentName,
        path: &Path,
        names: &[&str],
        recovered: &mut Recovered,
    ) -> io::Result<()> {
        self.next_number = self.next_number.max(id.number + 1);
        let Some(opened) = SegmentFile::open(path.to_owned())? else {
            return fs::remove_file(path);
        };
        let place = |name: &str| names.iter().position(|known| *known == name);
        let places: Vec<_> = opened.names.split(',').map(place).collect();
        let mut segment = opened.segment;
        for (header, offset) in opened.records {
            let bits = places.iter().take(u32::BITS as usize).enumerate();
            let known = bits.filter(|(bit, _)| header.destinations & (1 << bit) != 0);
            let destinations =
                known.fold(0, |bits, (_, place)| bits | place.map_or(0, |place| 1 << place));
            // Only a process with other exporters knows whether the record is delivered there.
            segment.live += usize::from(destinations == 0 && header.destinations != 0);
            if destinations != 0 {
                let location = Location { segment: id, offset };
                recovered.records.push((RecordHeader { destinations, ..header }, location));
            }
        }
        self.segments.insert(id, segment);
        Ok(())
    }

    /// Bytes of all files on disk.
    pub fn bytes(&self) -> u64 {
        self.segments.values().map(|segment| on_disk(segment.bytes)).sum()
    }

    /// Removes segments until a record of this size fits, and returns them. Segments in `busy` are spared,
    /// and those with errors for a record without. Fails without a change if that is not enough.
    pub fn make_room(
        &mut self,
        header: &RecordHeader,
        busy: impl FnOnce() -> BTreeSet<SegmentName>,
    ) -> io::Result<Vec<SegmentName>> {
        let header_bytes = record::file_header(&self.names).len() as u64;
        let bytes = on_disk(header_bytes + header.record_bytes());
        let mut left = self.bytes();
        if left + bytes <= self.limit {
            return Ok(Vec::new());
        }
        let busy = busy();
        let by_age = self.segments.iter().filter(|(id, _)| !busy.contains(id));
        let mut candidates: Vec<_> = by_age
            .filter(|(id, _)| !id.has_error || header.has_error)
            .map(|(id, segment)| {
                (segment.live > 0, id.has_error, id.number, on_disk(segment.bytes))
            })
            .collect();
        candidates.sort_unstable();
        let mut removed = Vec::new();
        for (_, has_error, number, bytes_of_segment) in candidates {
            if left + bytes <= self.limit {
                break;
            }
            left -= bytes_of_segment;
            removed.push(SegmentName { number, has_error });
        }
        if left + bytes > self.limit {
            let reason = "CRUDDUR_SPOOL_BYTES or the disk is too small";
            return Err(io::Error::new(io::ErrorKind::StorageFull, reason));
        }
        removed.iter().for_each(|id| self.remove(*id));
        Ok(removed)
    }

    /// Appends a record for which there is room. Fails with [`io::ErrorKind::NotFound`] if the function has
    /// removed the files.
    pub fn append(&mut self, header: &RecordHeader, body: &[u8]) -> io::Result<Location> {
        let id = self.active(header)?;
        let Some(segment) = self.segments.get_mut(&id) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if segment.is_removed() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the function has emptied it"));
        }
        let offset = segment.append(header, body)?;
        segment.live += 1;
        Ok(Location { segment: id, offset })
    }

    /// The segment for a record. A full one is kept if no other can be made.
    fn active(&mut self, header: &RecordHeader) -> io::Result<SegmentName> {
        let stream = usize::from(header.has_error);
        let limit = SEGMENT_BYTES.min(self.max_bytes / LEAST_SEGMENTS).max(BLOCK);
        let active = self.active[stream];
        if let Some(id) = active
            && self.segments.get(&id).is_some_and(|it| it.bytes + header.record_bytes() <= limit)
        {
            return Ok(id);
        }
        let id = SegmentName { number: self.next_number, has_error: header.has_error };
        match SegmentFile::create(self.path(id), &self.names) {
            Ok(segment) => {
                self.next_number += 1;
                self.segments.insert(id, segment);
                self.active[stream] = Some(id);
                self.limit = self.max_bytes.min(self.bytes() + free_bytes(&self.directory));
                Ok(id)
            }
            Err(error) => active.filter(|id| self.segments.contains_key(id)).ok_or(error),
        }
    }

    pub fn read(&self, location: Location, header: &RecordHeader) -> Result<Bytes, ReadError> {
        let segment = self.segments.get(&location.segment).ok_or(ReadError::Damaged)?;
        segment.read(location.offset, header.bytes)
    }

    /// Writes whether a record is undecided and which destinations lack it, if it is still there.
    pub fn set_state(&self, location: Location, header: &RecordHeader) {
        let segment = self.segments.get(&location.segment);
        // If the write fails, the next process sends the record again.
        segment.into_iter().for_each(|it| drop(it.set_state(location.offset, header)));
    }

    /// Counts a recovered record as one that a queue lacks.
    pub fn keep(&mut self, location: Location) {
        self.segments.entry(location.segment).and_modify(|segment| segment.live += 1);
    }

    /// No queue lacks the record any more.
    pub fn release(&mut self, location: Location) {
        self.segments.entry(location.segment).and_modify(|segment| segment.live -= 1);
    }

    /// Removes the finished segments. Call it after the sums are written.
    pub fn remove_finished(&mut self) {
        let is_active = |id: &SegmentName| self.active.contains(&Some(*id));
        let finished = self.segments.iter().filter(|(id, it)| it.live == 0 && !is_active(id));
        let finished: Vec<_> = finished.map(|(id, _)| *id).collect();
        finished.into_iter().for_each(|id| self.remove(id));
    }

    /// Replaces a segment by one with these records, and returns their places. Fails without a change.
    pub fn rewrite(
        &mut self,
        id: SegmentName,
        records: &[(RecordHeader, Bytes)],
    ) -> io::Result<Vec<Location>> {
        let path = self.path(id);
        let mut segment = SegmentFile::create(path.with_extension(UNFINISHED), &self.names)?;
        let append = |(header, body): &(RecordHeader, Bytes)| segment.append(header, body);
        let written: io::Result<Vec<u64>> = records.iter().map(append).collect();
        let written = written.and_then(|offsets| segment.rename(&path).map(|()| offsets));
        let offsets = written.inspect_err(|_| segment.remove())?;
        segment.live = records.len();
        self.segments.insert(id, segment);
        self.end(id);
        Ok(offsets.into_iter().map(|offset| Location { segment: id, offset }).collect())
    }

    /// The oldest segment that is not compact, of which no record is in flight, and which is a minute old
    /// if the time is given.
    pub fn stale(&self, now: Option<Instant>, busy: &BTreeSet<SegmentName>) -> Option<SegmentName> {
        let is_stale = |segment: &SegmentFile| {
            let is_old = now.is_none_or(|now| segment.is_older_than(COMPACTION_AGE, now));
            !segment.is_compact && segment.live > 0 && is_old
        };
        let mut segments = self.segments.iter();
        segments.find(|(id, it)| is_stale(it) && !busy.contains(id)).map(|(id, _)| *id)
    }

    pub fn set_compact(&mut self, id: SegmentName) {
        self.segments.entry(id).and_modify(|segment| segment.is_compact = true);
    }

    /// Removes the oldest segment of which no record is in flight, without errors first.
    pub fn remove_oldest(&mut self, busy: &BTreeSet<SegmentName>) -> Option<SegmentName> {
        let idle = self.segments.keys().copied().filter(|id| !busy.contains(id));
        let oldest = idle.min_by_key(|id| (id.has_error, id.number))?;
        self.remove(oldest);
        Some(oldest)
    }

    /// Makes the directory anew, and returns the segments whose files the function has removed.
    pub fn make_directory(&mut self) -> io::Result<Vec<SegmentName>> {
        fs::create_dir_all(&self.directory)?;
        self.active = [None, None];
        let removed = self.segments.iter().filter(|(_, segment)| segment.is_removed());
        Ok(removed.map(|(id, _)| *id).collect())
    }

    fn remove(&mut self, id: SegmentName) {
        if let Some(segment) = self.segments.remove(&id) {
            segment.remove();
        }
        self.end(id);
    }

    /// Nothing is appended to the segment any more.
    fn end(&mut self, id: SegmentName) {
        self.active = self.active.map(|active| active.filter(|active| *active != id));
    }

    fn path(&self, id: SegmentName) -> PathBuf {
        let stream = if id.has_error { "errors" } else { "others" };
        self.directory.join(format!("{:020}.{stream}.{SUFFIX}", id.number))
    }
}

impl SegmentName {
    fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split('.');
        let number = parts.next()?.parse().ok()?;
        let has_error = match parts.next()? {
            "errors" => true,
            "others" => false,
            _ => return None,
        };
        (parts.next() == Some(SUFFIX)).then_some(Self { number, has_error })
    }
}

/// Rounds up to whole blocks.
fn on_disk(bytes: u64) -> u64 {
    bytes.max(1).next_multiple_of(BLOCK)
}

/// The size of the disk.
fn disk_bytes(directory: &Path) -> u64 {
    let disk = rustix::fs::statvfs(directory);
    disk.map_or(u64::MAX, |disk| disk.f_blocks.saturating_mul(disk.f_frsize))
}

/// Bytes that may be written, while a quarter of the disk stays free for the function.
fn free_bytes(directory: &Path) -> u64 {
    match rustix::fs::statvfs(directory) {
        Ok(disk) => {
            let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
            bytes(disk.f_bavail).saturating_sub(bytes(disk.f_blocks).min(LARGEST_DISK) / 4)
        }
        Err(_) => u64::MAX, // a failing disk shows with the next write
    }
}

#[cfg(test)]
mod tests;
