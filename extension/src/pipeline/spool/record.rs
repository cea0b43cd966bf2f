//! The format of a segment: a file header, then records.
//!
//! | part | bytes, integers little endian |
//! |---|---|
//! | file header | `CRUDSPL`, the [version](VERSION), the length of the names (4), the names of the destinations, separated by commas |
//! | record header | [marker](MARKER) (4), CRC-32 of the rest of the header (4), CRC-32 of the body (4), length of the body (4), length of the uncompressed body (4), kind (1), flags (1), 0 (2), destinations (4), sequence number (8), items (8) |
//! | body | the payload, or zstd frames of several payloads |
//!
//! Bit *n* of `destinations` stands for the *n*th name. A header has its own checksum, so that
//! recovery reads headers without bodies. A damaged header costs the bytes up to the next
//! marker; a record that ends beyond the file is unfinished.

use crate::otlp::payload::SignalKind;

/// The version of the format. A file of another version is counted and removed.
const VERSION: u8 = 1;

const MAGIC: &[u8; 7] = b"CRUDSPL";

const MARKER: [u8; 4] = [0xc7, 0xd5, 0x5e, 0x9b];

pub(super) const HEADER_BYTES: usize = 44;

const HAS_ERROR: u8 = 1;
const HAS_UNSAMPLED: u8 = 2;
const IS_ZSTD: u8 = 4;
const IS_UNDECIDED: u8 = 8;

/// What the account and the queues need to know of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// Its place among all payloads of the sandbox.
    pub sequence: u64,
    pub kind: SignalKind,
    pub items: u64,
    pub has_error: bool,
    pub has_unsampled: bool,
    /// Whether the body is zstd.
    pub is_zstd: bool,
    /// Whether the sampled destination waits for the sampling decision.
    pub is_undecided: bool,
    /// Bytes of the body, and of the uncompressed body.
    pub bytes: u32,
    pub plain_bytes: u32,
    /// A bit for each destination that lacks it.
    pub destinations: u32,
}

/// A checksum is wrong, or the bytes end early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DamagedRecord;

impl RecordHeader {
    pub(super) fn encode(&self, body: &[u8]) -> [u8; HEADER_BYTES] {
        let flags = [
            (self.has_error, HAS_ERROR),
            (self.has_unsampled, HAS_UNSAMPLED),
            (self.is_zstd, IS_ZSTD),
        ];
        let flags = flags.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).sum();
        let mut header = [0; HEADER_BYTES];
        header[0..4].copy_from_slice(&MARKER);
        header[8..12].copy_from_slice(&crc32fast::hash(body).to_le_bytes());
        header[12..16].copy_from_slice(&self.bytes.to_le_bytes());
        header[16..20].copy_from_slice(&self.plain_bytes.to_le_bytes());
        header[20] = self.kind as u8;
        header[21] = flags;
        header[28..36].copy_from_slice(&self.sequence.to_le_bytes());
        header[36..44].copy_from_slice(&self.items.to_le_bytes());
        self.set_state(&mut header);
        header
    }

    /// Changes the sampling flag and the destinations of an encoded header to those of this one. The other
    /// flags stay: compaction may have changed them.
    pub(super) fn set_state(&self, header: &mut [u8; HEADER_BYTES]) {
        header[21] &= !IS_UNDECIDED;
        header[21] |= if self.is_undecided { IS_UNDECIDED } else { 0 };
        header[24..28].copy_from_slice(&self.destinations.to_le_bytes());
        let checksum = crc32fast::hash(&header[8..]);
        header[4..8].copy_from_slice(&checksum.to_le_bytes());
    }

    /// Reads the header at the begin of `bytes`.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DamagedRecord> {
        let header = bytes.get(..HEADER_BYTES).ok_or(DamagedRecord)?;
        let is_intact = header[..4] == MARKER && number(header, 4) == crc32fast::hash(&header[8..]);
        let kind = SignalKind::ALL.get(usize::from(header[20])).filter(|_| is_intact);
        let flag = |flag| header[21] & flag != 0;
        Ok(Self {
            sequence: long_number(header, 28),
            kind: *kind.ok_or(DamagedRecord)?,
            items: long_number(header, 36),
            has_error: flag(HAS_ERROR),
            has_unsampled: flag(HAS_UNSAMPLED),
            is_zstd: flag(IS_ZSTD),
            is_undecided: flag(IS_UNDECIDED),
            bytes: number(header, 12),
            plain_bytes: number(header, 16),
            destinations: number(header, 24),
        })
    }

    /// Bytes of the record.
    pub fn record_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.bytes)
    }
}

/// The body of a record whose header was read before.
pub(super) fn body(record: &[u8]) -> Result<&[u8], DamagedRecord> {
    RecordHeader::decode(record)?;
    let body = &record[HEADER_BYTES..];
    (number(record, 8) == crc32fast::hash(body)).then_some(body).ok_or(DamagedRecord)
}

/// Where the next record after a damaged one may begin.
pub(super) fn next_marker(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes.get(1..)?, &MARKER).map(|place| place + 1)
}

pub(super) fn file_header(names: &str) -> Vec<u8> {
    let length = (names.len() as u32).to_le_bytes();
    [&MAGIC[..], &[VERSION], &length, names.as_bytes()].concat()
}

/// The names in a file's header, and the header's length.
pub(super) fn names(file: &[u8]) -> Option<(&str, usize)> {
    let rest = file.strip_prefix(MAGIC)?.strip_prefix(&[VERSION])?;
    let length = u32::from_le_bytes(*rest.first_chunk()?) as usize;
    let names = rest.get(4..4_usize.checked_add(length)?)?;
    Some((str::from_utf8(names).ok()?, MAGIC.len() + 5 + length))
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn long_number(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
