//! The file that the next process of the sandbox goes on with: the accounts, and up to where each queue is
//! done.
//!
//! | part | bytes, integers little endian |
//! |---|---|
//! | header | `CRUDSUM`, the version (3), CRC-32 of all that follows (8), bytes of [dead letters](crate::pipeline::dead_letter) (8), the first sequence number without one (8), the [next sequence number](Sums::end) (8) |
//! | row, one for each queue | name, padded with zeros (32), [watermark](QueueRow::watermark) (8), columns of the account (96) |
//!
//! It is written in place after each change. The write takes a microsecond and survives a SIGKILL. (A
//! mapped file would need unsafe code.)

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

use crate::pipeline::ledger::{Account, COLUMNS};

/// A file of another version is ignored.
const VERSION: u8 = 3;

const MAGIC: &[u8; 7] = b"CRUDSUM";
const HEADER_BYTES: usize = 40;
/// Bytes before those that the checksum covers.
const CHECKED_FROM: usize = 16;
const NAME_BYTES: usize = 32;
const ROW_BYTES: usize = NAME_BYTES + 8 + COLUMNS * 8;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    pub logged: LoggedLetters,
    /// The sequence number of the next payload: no account has a payload from here on.
    pub end: u64,
    pub rows: Vec<QueueRow>,
}

/// The dead letters that the processes of this sandbox have written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoggedLetters {
    /// Bytes of lines.
    pub bytes: u64,
    /// The first sequence number without a dead letter.
    pub to: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueRow {
    /// `destination.kind`
    pub queue: String,
    /// The queue lacks no payload before this sequence number.
    pub watermark: u64,
    pub account: Account,
}

impl Sums {
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.rows.len() * ROW_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.push(VERSION);
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&self.logged.bytes.to_le_bytes());
        bytes.extend_from_slice(&self.logged.to.to_le_bytes());
        bytes.extend_from_slice(&self.end.to_le_bytes());
        for row in &self.rows {
            let mut name = [0; NAME_BYTES];
            let length = row.queue.len().min(NAME_BYTES);
            name[..length].copy_from_slice(&row.queue.as_bytes()[..length]);
            bytes.extend_from_slice(&name);
            bytes.extend_from_slice(&row.watermark.to_le_bytes());
            bytes.extend(row.account.columns().iter().flat_map(|number| number.to_le_bytes()));
        }
        let checksum = checksum(&bytes[CHECKED_FROM..]);
        bytes[CHECKED_FROM - 8..CHECKED_FROM].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// `None` for another version, for damaged bytes, or if a sum does not add up.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC)?.strip_prefix(&[VERSION])?;
        let (stored, rest) = rest.split_at_checked(8)?;
        if number(stored, 0) != checksum(rest) {
            return None;
        }
        let (header, rows) = rest.split_at_checked(HEADER_BYTES - CHECKED_FROM)?;
        let (rows, rest) = rows.as_chunks::<ROW_BYTES>();
        if !rest.is_empty() {
            return None;
        }
        let end = number(header, 16);
        let logged = LoggedLetters { bytes: number(header, 0), to: number(header, 8) };
        Some(Self {
            logged,
            end,
            rows: rows.iter().map(|row| QueueRow::decode(row)).collect::<Option<_>>()?,
        })
    }
}

impl QueueRow {
    fn decode(bytes: &[u8]) -> Option<Self> {
        let name = bytes[..NAME_BYTES].split(|byte| *byte == 0).next()?;
        let column = |column: usize| number(bytes, NAME_BYTES + 8 + column * 8);
        Some(Self {
            queue: String::from_utf8(name.to_vec()).ok()?,
            watermark: number(bytes, NAME_BYTES),
            account: Account::of_columns(std::array::from_fn(column))?,
        })
    }
}

fn checksum(bytes: &[u8]) -> u64 {
    crc32fast::hash(bytes).into()
}

fn number(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// The open file, locked against a second process.
#[derive(Debug)]
pub struct SumsFile {
    file: File,
    path: PathBuf,
    written: Vec<u8>,
}

impl SumsFile {
    /// Opens or creates the file and reads the sums of an ended process. Fails with
    /// [`io::ErrorKind::WouldBlock`] while another process owns it.
    pub fn open(path: &Path) -> io::Result<(Self, Option<Sums>)> {
        let mut options = File::options();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        file.try_lock()?;
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        let sums = Sums::decode(&content);
        Ok((Self { file, path: path.to_owned(), written: content }, sums))
    }

    /// Writes changed sums in place, into a new file if the function has removed it.
    pub fn write(&mut self, sums: &Sums) -> io::Result<()> {
        let content = sums.encode();
        let is_changed = content != self.written;
        if !is_changed {
            return Ok(());
        }
        if self.file.metadata()?.nlink() == 0 {
            fs::create_dir_all(self.path.parent().unwrap_or(&self.path))?;
            (*self, _) = Self::open(&self.path)?;
        }
        if content.len() < self.written.len() {
            self.file.set_len(content.len() as u64)?;
        }
        self.file.write_all_at(&content, 0)?;
        self.written = content;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums() -> Sums {
        let account = Account::of_columns([3, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap();
        let queue = "cloudwatch_logs.failures".to_owned();
        let rows = vec![QueueRow { queue, watermark: 7, account }];
        Sums { logged: LoggedLetters { bytes: 15, to: 5 }, end: 9, rows }
    }

    #[test]
    fn sums_are_read_as_they_were_written() {
        assert_eq!(Sums::decode(&sums().encode()), Some(sums()));
    }

    #[test]
    fn a_block_of_another_shape_or_with_a_damaged_byte_is_not_believed() {
        let block = sums().encode();

        assert_eq!(Sums::decode(&block[1..]), None);
        assert_eq!(Sums::decode(&block[..block.len() - 1]), None);
        for at in 0..block.len() {
            let mut damaged = block.clone();
            damaged[at] ^= 0x80;
            assert_eq!(Sums::decode(&damaged), None, "byte {at}");
        }
    }

    #[test]
    fn a_removed_file_is_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sums");
        let (mut file, _) = SumsFile::open(&path).unwrap();
        file.write(&sums()).unwrap();
        std::fs::remove_file(&path).unwrap();

        file.write(&Sums::default()).unwrap();

        assert_eq!(Sums::decode(&std::fs::read(&path).unwrap()), Some(Sums::default()));
    }
}
