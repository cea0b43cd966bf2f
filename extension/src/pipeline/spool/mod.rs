//! Undelivered batches on disk, so that they outlive the process.
//!
//! One file per batch, `<sequence>.<destination>.<kind>.<items>.<flags>.zst`: the export request
//! compressed with zstd, whose checksum guards it. A file is written under another name and then
//! renamed, so it is complete or missing. The name holds what the account needs, also for a file that
//! cannot be read. `/tmp` survives the reset of a sandbox, and the next process sends the files.
//!
//! The bound counts disk blocks. To make room, damaged files are removed first, then the oldest without
//! an error, then the oldest.

mod file;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs, io,
    ops::Bound,
    path::{Path, PathBuf},
};

use crate::delivery::batch::Batch;
use crate::otlp::payload::SignalKind;
pub use crate::pipeline::spool::file::SpoolFile;
use crate::pipeline::spool::file::on_disk;

/// The suffix of a file that is being written, or was at the end of the process.
const UNFINISHED: &str = "unfinished";

/// The suffix of a damaged file, which is kept for inspection while there is room.
const DAMAGED: &str = "damaged";

/// The file of [`Spool::note_logged`].
const LOGGED: &str = "logged";

/// Most files: the number of blocks in the default bound. A larger bound allows larger files, not longer
/// lists.
const MAX_FILES: usize = 16_384;

#[derive(Debug)]
pub struct Spool {
    directory: PathBuf,
    max_bytes: u64,
    /// By sequence number, oldest first.
    files: BTreeMap<u64, SpoolFile>,
    /// Sequence numbers of each destination's files, by kind.
    queues: BTreeMap<String, [BTreeSet<u64>; SignalKind::ALL.len()]>,
    /// Damaged files with their bytes on disk.
    damaged: Vec<(PathBuf, u64)>,
    /// Bytes of all files on disk, damaged ones included.
    bytes: u64,
    next_sequence: u64,
    logged: LastWarning,
}

/// The dead letters that the processes of this sandbox have written.
#[derive(Clone, Copy, Debug, Default)]
struct LastWarning {
    /// Bytes of lines.
    bytes: usize,
    /// The first sequence number without a dead letter.
    to: u64,
}

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file is gone: the function may empty `/tmp`.
    #[error("is missing")]
    Missing,
    /// A frame or checksum is wrong.
    #[error("is damaged and set aside: {0}")]
    Damaged(io::Error),
    /// The disk or the process failed, for example without a free file descriptor, which the function
    /// shares. The content may be intact.
    #[error("cannot be read now and is kept: {0}")]
    NotNow(io::Error),
}

impl Spool {
    /// Creates the directory if it is missing, lists the files of an earlier process, and removes
    /// unfinished ones.
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
                // The ledger counted it as held, and as lost with the process.
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

    /// Whether a file is listed.
    pub fn has(&self, sequence: u64) -> bool {
        self.files.contains_key(&sequence)
    }

    /// The kind of a destination's oldest file among those of some kinds, the skipped ones left out.
    pub fn oldest_kind(
        &self,
        destination: &str,
        kinds: &[SignalKind],
        skip: &[u64],
    ) -> Option<SignalKind> {
        let queues = self.queues.get(destination)?;
        let first = |kind: &SignalKind| queues[*kind as usize].iter().find(|it| !skip.contains(it));
        let oldest = |kind: &SignalKind| Some((*first(kind)?, *kind));
        kinds.iter().filter_map(oldest).min().map(|(_, kind)| kind)
    }

    /// Fails if a file of this size does not fit after all files but the `busy` ones are removed.
    pub fn could_hold(&self, bytes: u64, busy: &[u64]) -> io::Result<()> {
        let kept = busy.iter().filter_map(|sequence| self.files.get(sequence));
        let kept: u64 = kept.map(SpoolFile::bytes_on_disk).sum();
        if kept + on_disk(bytes) > self.max_bytes || busy.len() >= MAX_FILES {
            let reason = "CRUDDUR_SPOOL_BYTES is too small";
            return Err(io::Error::new(io::ErrorKind::StorageFull, reason));
        }
        Ok(())
    }

    /// Removes files except the `busy` ones until a file of this size fits, and returns them. Fails
    /// without removing anything if it [cannot fit](Self::could_hold).
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

    /// Replaces a file by files with the [parts](Batch::split) of its batch; returns their number. Fails
    /// without a change if there is only one part, or a write fails. The few parts may exceed the bound
    /// until the next file.
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
        // If the disk fails to remove the file, a later process may send it again.
        let _ = self.remove(sequence);
        Ok(parts.len())
    }

    /// A destination's oldest batch of a kind, or the next one `after` another, without the skipped ones.
    /// A missing or damaged file is removed from the list; one that cannot be read now stays.
    pub fn next(
        &mut self,
        destination: &str,
        kind: SignalKind,
        after: Option<u64>,
        skip: &[u64],
    ) -> Option<(SpoolFile, Result<Batch, ReadError>)> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let queue = &self.queues.get(destination)?[kind as usize];
        let sequence = queue.range((after, Bound::Unbounded)).find(|it| !skip.contains(it))?;
        let file = self.files.get(sequence)?.clone();
        let batch = self.read(&file);
        match &batch {
            Ok(_) | Err(ReadError::NotNow(_)) => {}
            Err(ReadError::Missing) => drop(self.forget(file.sequence)),
            Err(ReadError::Damaged(_)) => {
                self.forget(file.sequence);
                let path = self.path(&file);
                let aside = path.with_extension(DAMAGED);
                // If the rename fails, the file stays and is only removed from the list.
                if fs::rename(&path, &aside).is_ok() {
                    self.set_aside(aside, file.bytes);
                }
            }
        }
        Some((file, batch))
    }

    /// The request in a file, not compressed.
    pub fn request(&self, file: &SpoolFile) -> io::Result<Vec<u8>> {
        zstd::decode_all(&fs::read(self.path(file))?[..])
    }

    /// Bytes of dead letters that the processes of this sandbox have recorded.
    pub fn logged_bytes(&self) -> usize {
        self.logged.bytes
    }

    /// The files without dead letters, oldest first; see [`note_logged`](Self::note_logged).
    pub fn unlogged(&self) -> impl Iterator<Item = &SpoolFile> {
        self.files.range(self.logged.to..).map(|(_, file)| file)
    }

    /// Records that no present file gets dead letters again, and adds the bytes written.
    pub fn note_logged(&mut self, bytes: usize) -> io::Result<()> {
        self.logged = LastWarning { bytes: self.logged.bytes + bytes, to: self.next_sequence };
        let LastWarning { bytes, to } = self.logged;
        fs::write(self.directory.join(LOGGED), format!("{bytes} {to}"))
    }

    /// Removes a file, also from the list if the disk fails.
    pub fn remove(&mut self, sequence: u64) -> io::Result<()> {
        match self.forget(sequence) {
            Some(file) => fs::remove_file(self.path(&file)),
            None => Ok(()),
        }
    }

    fn read(&self, file: &SpoolFile) -> Result<Batch, ReadError> {
        let body = fs::read(self.path(file)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ReadError::Missing,
            _ => ReadError::NotNow(error),
        })?;
        Batch::compressed(file.kind, file.items, file.has_error, body.into())
            .map_err(ReadError::Damaged)
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
    /// Zeros if the file is missing or damaged.
    fn read(directory: &Path) -> Self {
        let text = fs::read_to_string(directory.join(LOGGED)).unwrap_or_default();
        let numbers = text.split_once(' ').and_then(|(bytes, to)| {
            Some(Self { bytes: bytes.parse().ok()?, to: to.parse().ok()? })
        });
        numbers.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
