//! Batches on disk: what was not delivered in time, so that it outlives the process.
//!
//! One file per batch, `<sequence>.<destination>.<kind>.<items>.<flags>.zst`: the export request
//! compressed with zstd, whose checksum guards it. A file is written under another name and then
//! renamed, so it is whole or not there. The name says what accounting needs, also of a file that
//! cannot be read. `/tmp` survives the reset of a sandbox, and the next process sends what it finds.
//!
//! Bounded in blocks of the disk: for a new file those that were set aside go first, then the oldest
//! without an error in it, then the oldest.

mod file;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs, io,
    ops::Bound,
    path::{Path, PathBuf},
};

use bytes::Bytes;

pub use crate::pipeline::spool::file::SpoolFile;
use crate::{delivery::batch::Batch, otlp::payload::SignalKind, pipeline::spool::file::on_disk};

/// A file that is being written, or was when the process ended.
const UNFINISHED: &str = "unfinished";

/// A file whose content is not what was written: kept for whoever wants to look at it, while there
/// is room.
const DAMAGED: &str = "damaged";

/// The file that keeps what [`Spool::note_logged`] was told.
const LOGGED: &str = "logged";

/// Most files. Our choice: as many as the default bound has blocks, so a larger bound makes the
/// files larger, and not the lists of them longer.
const MAX_FILES: usize = 16_384;

/// See the module's documentation.
#[derive(Debug)]
pub struct Spool {
    directory: PathBuf,
    max_bytes: u64,
    /// By sequence number: the oldest first.
    files: BTreeMap<u64, SpoolFile>,
    /// Sequence numbers of each destination's files, by kind.
    queues: BTreeMap<String, [BTreeSet<u64>; SignalKind::ALL.len()]>,
    /// Set aside, and what each takes on the disk.
    damaged: Vec<(PathBuf, u64)>,
    /// What all files take on the disk, those included.
    bytes: u64,
    next_sequence: u64,
    logged: LastWarning,
}

/// What the log has had of the processes of this sandbox.
#[derive(Clone, Copy, Debug, Default)]
struct LastWarning {
    /// Bytes of lines.
    bytes: usize,
    /// The first sequence number that the log was not told of.
    to: u64,
}

impl Spool {
    /// Makes the directory if it is missing, and lists what an earlier process left in it.
    pub fn open(directory: &Path, max_bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let mut spool = Self {
            directory: directory.to_owned(),
            max_bytes,
            files: BTreeMap::new(),
            queues: BTreeMap::new(),
            damaged: Vec::new(),
            bytes: 0,
            next_sequence: 0,
            logged: LastWarning::read(directory),
        };
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name());
            let bytes = entry.metadata().map_or(0, |metadata| metadata.len());
            match path.extension().and_then(OsStr::to_str) {
                // It was counted as held, and as lost with the process.
                Some(UNFINISHED) => fs::remove_file(path)?,
                Some(DAMAGED) => spool.set_aside(path, bytes),
                _ => {
                    let file = name.to_str().and_then(|name| SpoolFile::parse(name, bytes));
                    file.into_iter().for_each(|file| spool.list(file));
                }
            }
        }
        let last = spool.files.last_key_value().map_or(0, |(last, _)| last + 1);
        spool.next_sequence = last.max(spool.logged.to);
        Ok(spool)
    }

    /// All files, oldest first.
    pub fn files(&self) -> impl Iterator<Item = &SpoolFile> {
        self.files.values()
    }

    /// The kind of a destination's oldest file among those of some kinds.
    pub fn oldest_kind(&self, destination: &str, kinds: &[SignalKind]) -> Option<SignalKind> {
        let queues = self.queues.get(destination)?;
        let oldest = |kind: &SignalKind| Some((*queues[*kind as usize].first()?, *kind));
        kinds.iter().filter_map(oldest).min().map(|(_, kind)| kind)
    }

    /// Whether a file of so many bytes fits if all but the `busy` ones go.
    pub fn could_hold(&self, bytes: u64, busy: &[u64]) -> io::Result<()> {
        let kept = busy.iter().filter_map(|sequence| self.files.get(sequence));
        let kept: u64 = kept.map(SpoolFile::bytes_on_disk).sum();
        if kept + on_disk(bytes) > self.max_bytes || busy.len() >= MAX_FILES {
            let reason = "CRUDDUR_SPOOL_BYTES is too small";
            return Err(io::Error::new(io::ErrorKind::StorageFull, reason));
        }
        Ok(())
    }

    /// Removes files until one of so many bytes fits, but none of the `busy` ones, and returns what
    /// they were. Fails, and removes nothing, if it [cannot fit](Self::could_hold).
    pub fn make_room(&mut self, bytes: u64, busy: &[u64]) -> io::Result<Vec<SpoolFile>> {
        self.could_hold(bytes, busy)?;
        let bytes = on_disk(bytes);
        while self.bytes + bytes > self.max_bytes
            && let Some((path, freed)) = self.damaged.pop()
        {
            self.bytes -= freed;
            let _ = fs::remove_file(path);
        }
        let mut removed = Vec::new();
        while self.bytes + bytes > self.max_bytes || self.files.len() >= MAX_FILES {
            let is_idle = |file: &&SpoolFile| !busy.contains(&file.sequence);
            let oldest =
                |has_error| self.files().filter(is_idle).find(|file| file.has_error == has_error);
            let oldest = oldest(false).or_else(|| oldest(true)).map(|file| file.sequence);
            let Some(file) = oldest.and_then(|sequence| self.forget(sequence)) else { break };
            let _ = fs::remove_file(self.path(&file));
            removed.push(file);
        }
        Ok(removed)
    }

    /// Writes a batch for which there is room. Returns the file's sequence number.
    pub fn write(&mut self, destination: &str, batch: &Batch) -> io::Result<u64> {
        let body = batch.to_zstd()?;
        let file = SpoolFile {
            sequence: self.next_sequence,
            destination: destination.to_owned(),
            kind: batch.kind,
            items: batch.items,
            has_error: batch.has_error,
            bytes: body.len() as u64,
        };
        self.write_file(&file, &body)?;
        self.next_sequence += 1;
        self.list(file);
        Ok(self.next_sequence - 1)
    }

    /// Replaces a file by some with [parts](Batch::split) of its batch; returns how many. Fails, and
    /// changes nothing, if there is only one, or the disk is full. The parts are few enough that
    /// they may exceed the bound until the next file.
    pub fn split(&mut self, sequence: u64, batch: &Batch) -> io::Result<usize> {
        let file = self.files.get(&sequence);
        let destination = file.ok_or(io::ErrorKind::NotFound)?.destination.clone();
        let parts = batch.split()?;
        if parts.len() < 2 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut written = Vec::new();
        for part in &parts {
            match self.write(&destination, part) {
                Ok(sequence) => written.push(sequence),
                Err(error) => {
                    written.into_iter().for_each(|sequence| drop(self.remove(sequence)));
                    return Err(error);
                }
            }
        }
        // A disk that refuses leaves a file behind that may be sent again, by another process.
        let _ = self.remove(sequence);
        Ok(parts.len())
    }

    /// A destination's oldest batch of a kind, or the next one `after` another; with an error if it
    /// cannot be read, and then it is set aside and no longer listed.
    pub fn next(
        &mut self,
        destination: &str,
        kind: SignalKind,
        after: Option<u64>,
    ) -> Option<(SpoolFile, io::Result<Batch>)> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let queue = &self.queues.get(destination)?[kind as usize];
        let sequence = queue.range((after, Bound::Unbounded)).next()?;
        let file = self.files.get(sequence)?.clone();
        let batch = self.read(&file);
        if batch.is_err() {
            self.forget(file.sequence);
            let path = self.path(&file);
            let aside = path.with_extension(DAMAGED);
            // If it cannot even be renamed it stays where it is, and is only forgotten.
            if fs::rename(&path, &aside).is_ok() {
                self.set_aside(aside, file.bytes);
            }
        }
        Some((file, batch))
    }

    /// The request in a file, not compressed.
    pub fn request(&self, file: &SpoolFile) -> io::Result<Vec<u8>> {
        zstd::decode_all(&fs::read(self.path(file))?[..])
    }

    /// Bytes of log that the processes of this sandbox have written, as far as they said so.
    pub fn logged_bytes(&self) -> usize {
        self.logged.bytes
    }

    /// The files that [`note_logged`](Self::note_logged) was not told of, oldest first.
    pub fn unlogged(&self) -> impl Iterator<Item = &SpoolFile> {
        self.files.range(self.logged.to..).map(|(_, file)| file)
    }

    /// Remembers that the log was told of all files, and that so many bytes of it were written.
    pub fn note_logged(&mut self, bytes: usize) -> io::Result<()> {
        self.logged = LastWarning { bytes: self.logged.bytes + bytes, to: self.next_sequence };
        let LastWarning { bytes, to } = self.logged;
        fs::write(self.directory.join(LOGGED), format!("{bytes} {to}"))
    }

    /// Removes a file. It is gone from the list even if the disk refuses.
    pub fn remove(&mut self, sequence: u64) -> io::Result<()> {
        match self.forget(sequence) {
            Some(file) => fs::remove_file(self.path(&file)),
            None => Ok(()),
        }
    }

    fn read(&self, file: &SpoolFile) -> io::Result<Batch> {
        let body = Bytes::from(fs::read(self.path(file))?);
        Batch::compressed(file.kind, file.items, file.has_error, body)
    }

    fn write_file(&self, file: &SpoolFile, body: &[u8]) -> io::Result<()> {
        let path = self.path(file);
        let unfinished = path.with_extension(UNFINISHED);
        fs::write(&unfinished, body)
            .and_then(|()| fs::rename(&unfinished, &path))
            .inspect_err(|_| drop(fs::remove_file(&unfinished)))
    }

    fn list(&mut self, file: SpoolFile) {
        let queues = self.queues.entry(file.destination.clone()).or_default();
        queues[file.kind as usize].insert(file.sequence);
        self.bytes += file.bytes_on_disk();
        self.files.insert(file.sequence, file);
    }

    fn set_aside(&mut self, path: PathBuf, bytes: u64) {
        self.bytes += on_disk(bytes);
        self.damaged.push((path, on_disk(bytes)));
    }

    fn forget(&mut self, sequence: u64) -> Option<SpoolFile> {
        let file = self.files.remove(&sequence)?;
        self.bytes -= file.bytes_on_disk();
        if let Some(queues) = self.queues.get_mut(&file.destination) {
            queues[file.kind as usize].remove(&sequence);
        }
        Some(file)
    }

    fn path(&self, file: &SpoolFile) -> PathBuf {
        self.directory.join(file.name())
    }
}

impl LastWarning {
    /// Nothing if the file is missing, or not what was written.
    fn read(directory: &Path) -> Self {
        let text = fs::read_to_string(directory.join(LOGGED)).unwrap_or_default();
        let numbers = text.split_once(' ').and_then(|(bytes, to)| {
            Some(Self { bytes: bytes.parse().ok()?, to: to.parse().ok()? })
        });
        numbers.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::payload::Payload;
    use crate::pipeline::spool::file::BLOCK;

    fn batch(kind: SignalKind, items: u64, has_error: bool) -> Batch {
        let bytes = vec![0; 10].into();
        let signal = Payload { kind, bytes, items, has_error, has_unsampled: false };
        Batch::of(kind, std::iter::once(&signal)).unwrap()
    }

    fn write(spool: &mut Spool, batch: &Batch) -> Vec<u64> {
        let removed = spool.make_room(batch.to_zstd().unwrap().len() as u64, &[]).unwrap();
        spool.write("honeycomb", batch).unwrap();
        removed.into_iter().map(|file| file.items).collect()
    }

    #[test]
    fn the_bound_is_one_of_blocks_on_the_disk_and_errors_stay_longest() {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(directory.path(), 3 * BLOCK).unwrap();
        for (items, has_error) in [(1, true), (2, false), (4, false)] {
            assert!(write(&mut spool, &batch(SignalKind::Traces, items, has_error)).is_empty());
        }

        assert_eq!(write(&mut spool, &batch(SignalKind::Traces, 8, true)), [2]);
        assert_eq!(write(&mut spool, &batch(SignalKind::Traces, 16, true)), [4]);
        assert_eq!(write(&mut spool, &batch(SignalKind::Traces, 32, true)), [1]);

        let left: Vec<_> = spool.files().map(|file| file.items).collect();
        assert_eq!(left, [8, 16, 32]);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_kind_is_read_in_a_row_though_files_of_others_lie_between() {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(directory.path(), 100 * BLOCK).unwrap();
        for items in 0..6 {
            let kind = [SignalKind::Logs, SignalKind::Traces][items as usize % 2];
            write(&mut spool, &batch(kind, items, false));
        }
        assert_eq!(spool.oldest_kind("honeycomb", &SignalKind::ALL), Some(SignalKind::Logs));
        assert_eq!(spool.oldest_kind("honeycomb", &[SignalKind::Metrics]), None);
        assert_eq!(spool.oldest_kind("xray", &SignalKind::ALL), None);

        let mut after = None;
        let items = std::iter::from_fn(|| {
            let (file, batch) = spool.next("honeycomb", SignalKind::Traces, after)?;
            after = Some(file.sequence);
            Some(batch.unwrap().items)
        });
        assert_eq!(items.collect::<Vec<_>>(), [1, 3, 5]);
    }

    #[test]
    fn what_the_log_was_told_of_is_known_to_the_next_process_and_no_new_file_is_taken_for_it() {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(directory.path(), 100 * BLOCK).unwrap();
        write(&mut spool, &batch(SignalKind::Traces, 1, false));
        spool.note_logged(10).unwrap();
        spool.note_logged(5).unwrap();
        spool.remove(0).unwrap();

        let mut next = Spool::open(directory.path(), 100 * BLOCK).unwrap();
        write(&mut next, &batch(SignalKind::Traces, 2, false));

        assert_eq!(next.logged_bytes(), 15);
        assert_eq!(next.unlogged().map(|file| file.items).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn what_is_damaged_has_its_place_in_the_bound_and_goes_first() {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(directory.path(), 3 * BLOCK).unwrap();
        for items in [1, 2] {
            write(&mut spool, &batch(SignalKind::Traces, items, false));
            let file = spool.files().next().unwrap();
            fs::write(spool.path(file), b"damaged").unwrap();
            assert!(spool.next("honeycomb", SignalKind::Traces, None).unwrap().1.is_err());
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);

        let mut next = Spool::open(directory.path(), 3 * BLOCK).unwrap();
        for (items, all) in [(4, 3), (8, 3), (16, 3)] {
            assert!(write(&mut next, &batch(SignalKind::Traces, items, false)).is_empty());
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), all, "{items}");
        }

        assert_eq!(write(&mut next, &batch(SignalKind::Traces, 32, false)), [4]);
    }
}
