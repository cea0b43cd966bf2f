//! One file of the spool, to which records are appended.
//!
//! The file stays open: its records can be read although the function removed it, or has taken all
//! descriptors.

use std::{
    fs::{self, File},
    io::{self, IoSlice, Seek, SeekFrom, Write},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use crate::pipeline::spool::record;
use crate::pipeline::spool::record::{HEADER_BYTES, RecordHeader};

/// The suffix of a file that is being written, or was at the end of the process.
pub(super) const UNFINISHED: &str = "unfinished";

#[derive(Debug)]
pub(super) struct SegmentFile {
    file: File,
    path: PathBuf,
    /// Length of the file.
    pub(super) bytes: u64,
    /// Number of records that a queue lacks.
    pub(super) live: usize,
    /// `None` if an earlier process made it.
    created: Option<Instant>,
    pub(super) is_compact: bool,
}

/// Why a record could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A checksum is wrong, or the file is too short.
    #[error("is damaged")]
    Damaged,
    /// The disk failed; the content may be intact.
    #[error("cannot be read now and is kept: {0}")]
    NotNow(io::Error),
}

impl SegmentFile {
    pub(super) fn create(path: PathBuf, names: &str) -> io::Result<Self> {
        let mut options = File::options();
        let mut file = options.read(true).write(true).create(true).truncate(true).open(&path)?;
        let header = record::file_header(names);
        if let Err(error) = file.write_all(&header) {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(Self {
            file,
            path,
            bytes: header.len() as u64,
            live: 0,
            created: Some(Instant::now()),
            is_compact: false,
        })
    }

    /// Opens a file of an earlier process. Returns the names of its destinations, and its records with
    /// their offsets. `None` if it has no header of this version.
    pub(super) fn open(path: PathBuf) -> io::Result<Option<OpenedSegment>> {
        let file = File::options().read(true).write(true).open(&path)?;
        let bytes = file.metadata()?.len();
        let read = |offset, most: u64| {
            let mut content = vec![0; most.min(bytes - offset) as usize];
            file.read_exact_at(&mut content, offset).map(|()| content)
        };
        let start = read(0, 4_096)?;
        let Some((names, header_bytes)) = record::names(&start) else { return Ok(None) };
        let (names, mut offset) = (names.to_owned(), header_bytes as u64);
        let mut records = Vec::new();
        while offset < bytes {
            match RecordHeader::decode(&read(offset, HEADER_BYTES as u64)?) {
                Ok(header) if offset + header.record_bytes() <= bytes => {
                    records.push((header, offset));
                    offset += header.record_bytes();
                }
                Ok(_) | Err(_) => match record::next_marker(&read(offset, bytes)?) {
                    Some(next) => offset += next as u64,
                    None => break,
                },
            }
        }
        let segment = Self { file, path, bytes, live: 0, created: None, is_compact: false };
        Ok(Some(OpenedSegment { segment, names, records }))
    }

    /// Appends a record and returns its offset. After a failure the file is cut back.
    pub(super) fn append(&mut self, header: &RecordHeader, body: &[u8]) -> io::Result<u64> {
        let encoded = header.encode(body);
        let written = self.write(&encoded, body);
        if let Err(error) = written {
            self.file.set_len(self.bytes)?;
            self.file.seek(SeekFrom::Start(self.bytes))?;
            return Err(error);
        }
        let offset = self.bytes;
        self.bytes += header.record_bytes();
        Ok(offset)
    }

    fn write(&mut self, header: &[u8], body: &[u8]) -> io::Result<()> {
        let written = self.file.write_vectored(&[IoSlice::new(header), IoSlice::new(body)])?;
        match written.checked_sub(header.len()) {
            Some(written) => self.file.write_all(&body[written..]),
            None => {
                self.file.write_all(&header[written..])?;
                self.file.write_all(body)
            }
        }
    }

    pub(super) fn read(&self, offset: u64, bytes: u32) -> Result<Bytes, ReadError> {
        let mut record = vec![0; HEADER_BYTES + bytes as usize];
        self.file.read_exact_at(&mut record, offset).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ReadError::Damaged,
            _ => ReadError::NotNow(error),
        })?;
        record::body(&record).map_err(|_| ReadError::Damaged)?;
        Ok(Bytes::from(record).slice(HEADER_BYTES..))
    }

    /// Writes the sampling flag and the destinations of a header into the record with its sequence number.
    pub(super) fn set_state(&self, offset: u64, header: &RecordHeader) -> io::Result<()> {
        let mut found = [0; HEADER_BYTES];
        self.file.read_exact_at(&mut found, offset)?;
        let is_same = RecordHeader::decode(&found).is_ok_and(|it| it.sequence == header.sequence);
        if is_same {
            header.set_state(&mut found);
            self.file.write_all_at(&found, offset)?;
        }
        Ok(())
    }

    /// Whether the function has removed the file.
    pub(super) fn is_removed(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
    }

    pub(super) fn is_older_than(&self, age: Duration, now: Instant) -> bool {
        self.created.is_none_or(|created| now - created >= age)
    }

    pub(super) fn remove(&self) {
        // A file that stays is found and removed by the next process.
        let _ = fs::remove_file(&self.path);
    }

    /// Gives a complete file its name, in place of an earlier one.
    pub(super) fn rename(&mut self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)?;
        path.clone_into(&mut self.path);
        Ok(())
    }
}

/// A file of an earlier process.
pub(super) struct OpenedSegment {
    pub(super) segment: SegmentFile,
    pub(super) names: String,
    pub(super) records: Vec<(RecordHeader, u64)>,
}
