//! Batches on disk: what was not delivered in time, so that it outlives the process.
//!
//! One file per batch, `<sequence>.<destination>.<kind>.<items>.<flags>.zst`: the export request
//! compressed with zstd, whose checksum guards it. A file is written under another name and then
//! renamed, so it is whole or not there. The name says what accounting needs, also of a file that
//! cannot be read. `/tmp` survives the reset of a sandbox, and the next process sends what it finds.
//!
//! Bounded in bytes: for a new file the oldest without an error in it go first, then the oldest.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use bytes::Bytes;

use crate::{batch::Batch, signal::Kind};

const EXTENSION: &str = "zst";

/// A file that is being written, or was when the process ended.
const UNFINISHED: &str = "unfinished";

/// A file whose content is not what was written: kept for whoever wants to look at it.
const DAMAGED: &str = "damaged";

/// The file that counts what [`Spool::note_logged`] was told.
const LOGGED_BYTES: &str = "logged";

/// See the module's documentation.
#[derive(Debug)]
pub struct Spool {
    directory: PathBuf,
    max_bytes: u64,
    /// Oldest first.
    files: Vec<SpoolFile>,
    next_sequence: u64,
}

/// What a file's name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolFile {
    /// Orders the files; unique.
    pub sequence: u64,
    /// Whose batch it is.
    pub destination: String,
    /// Which request it is.
    pub kind: Kind,
    /// Number of items inside.
    pub items: u64,
    /// Whether one of them has an error in it.
    pub has_error: bool,
    /// Whether the log has it as well.
    pub is_logged: bool,
    bytes: u64,
}

impl SpoolFile {
    fn name(&self) -> String {
        let Self { sequence, destination, kind, items, has_error, is_logged, .. } = self;
        let kind = kind.name();
        let flags = match (has_error, is_logged) {
            (false, false) => "-",
            (true, false) => "e",
            (false, true) => "l",
            (true, true) => "el",
        };
        format!("{sequence:020}.{destination}.{kind}.{items}.{flags}.{EXTENSION}")
    }

    fn parse(name: &str, bytes: u64) -> Option<Self> {
        let parts: Vec<_> = name.split('.').collect();
        let [sequence, destination, kind, items, flags, EXTENSION] = parts[..] else { return None };
        Some(Self {
            sequence: sequence.parse().ok()?,
            destination: destination.to_owned(),
            kind: Kind::ALL.into_iter().find(|known| known.name() == kind)?,
            items: items.parse().ok()?,
            has_error: flags.contains('e'),
            is_logged: flags.contains('l'),
            bytes,
        })
    }
}

impl Spool {
    /// Makes the directory if it is missing, and lists what an earlier process left in it.
    pub fn open(directory: &Path, max_bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let mut files = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if Path::new(&name).extension().is_some_and(|extension| extension == UNFINISHED) {
                // It was counted as held, and as lost with the process.
                fs::remove_file(entry.path())?;
            } else if let Some(file) = name
                .to_str()
                .zip(entry.metadata().ok())
                .and_then(|(name, metadata)| SpoolFile::parse(name, metadata.len()))
            {
                files.push(file);
            }
        }
        files.sort_by_key(|file| file.sequence);
        let next_sequence = files.last().map_or(0, |file| file.sequence + 1);
        Ok(Self { directory: directory.to_owned(), max_bytes, files, next_sequence })
    }

    /// All files, oldest first.
    pub fn files(&self) -> &[SpoolFile] {
        &self.files
    }

    /// Removes files until a batch fits, but none of the `busy` ones, and returns what they were.
    /// Fails, and removes nothing, if the batch cannot fit.
    pub fn make_room(&mut self, batch: &Batch, busy: &[u64]) -> io::Result<Vec<SpoolFile>> {
        let (bytes, mut removed) = (batch.to_zstd()?.len() as u64, Vec::new());
        let is_busy = |file: &&SpoolFile| busy.contains(&file.sequence);
        let kept: u64 = self.files.iter().filter(is_busy).map(|file| file.bytes).sum();
        if kept + bytes > self.max_bytes {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                "CRUDDUR_SPOOL_BYTES is too small",
            ));
        }
        while self.files.iter().map(|file| file.bytes).sum::<u64>() + bytes > self.max_bytes {
            let oldest = |has_error| {
                self.files.iter().position(|file| file.has_error == has_error && !is_busy(&file))
            };
            let Some(index) = oldest(false).or_else(|| oldest(true)) else { break };
            let file = self.files.remove(index);
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
            is_logged: false,
            bytes: body.len() as u64,
        };
        self.write_file(&file, &body)?;
        self.next_sequence += 1;
        self.files.push(file);
        Ok(self.next_sequence - 1)
    }

    /// Replaces a file by one for each resource in its batch; returns how many. Fails, and changes
    /// nothing, if there is only one, or the disk is full.
    pub fn split(&mut self, sequence: u64, batch: &Batch) -> io::Result<usize> {
        let file = self.files.iter().find(|file| file.sequence == sequence);
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

    /// The oldest batch of a destination, or the next one `after` another; with an error if it
    /// cannot be read, and then it is set aside and no longer listed.
    pub fn next(
        &mut self,
        destination: &str,
        after: Option<u64>,
    ) -> Option<(SpoolFile, io::Result<Batch>)> {
        let is_next = |file: &&SpoolFile| {
            file.destination == destination && after.is_none_or(|after| file.sequence > after)
        };
        let file = self.files.iter().find(is_next)?.clone();
        let batch = self.read(&file);
        if batch.is_err() {
            let path = self.path(&file);
            // If it cannot even be renamed it stays where it is, and is only forgotten.
            let _ = fs::rename(&path, path.with_extension(DAMAGED));
            self.forget(file.sequence);
        }
        Some((file, batch))
    }

    /// The batch in a file.
    pub fn batch(&self, file: &SpoolFile) -> io::Result<Batch> {
        self.read(file)
    }

    /// Bytes of log that the processes of this sandbox have written, as far as they said so.
    pub fn logged_bytes(&self) -> usize {
        let text = fs::read_to_string(self.directory.join(LOGGED_BYTES)).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }

    /// Remembers that the log has all files, and that so many bytes of it were written.
    pub fn note_logged(&mut self, bytes: usize) -> io::Result<()> {
        let all_bytes = self.logged_bytes() + bytes;
        fs::write(self.directory.join(LOGGED_BYTES), all_bytes.to_string())?;
        for index in 0..self.files.len() {
            let from = self.path(&self.files[index]);
            self.files[index].is_logged = true;
            fs::rename(from, self.path(&self.files[index]))?;
        }
        Ok(())
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

    fn forget(&mut self, sequence: u64) -> Option<SpoolFile> {
        let index = self.files.iter().position(|file| file.sequence == sequence)?;
        Some(self.files.remove(index))
    }

    fn path(&self, file: &SpoolFile) -> PathBuf {
        self.directory.join(file.name())
    }
}
