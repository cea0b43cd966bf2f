//! The payloads of one export request.

use std::io;

use bytes::Bytes;
use zstd::{
    bulk::Compressor,
    zstd_safe::{CParameter, compress_bound},
};

use crate::otlp::{
    edit,
    payload::{self, MAX_BATCH_BYTES, Payload, SignalKind},
};

/// Most payloads of [`SignalKind::Failures`] in one batch. Each payload needs a separate request; this
/// many sequential round trips fit into a hold.
pub const MAX_FAILURES: usize = 4;

/// The fastest level that codes literals. Lower levels take a third less time and send up to two
/// thirds more bytes.
const ZSTD_LEVEL: i32 = 1;

/// The size of zstd's match table: 4,096 entries, which stay in a core's first cache. With the
/// level's own 2^14 entries spans take a fifth more time and are between 1 % larger and 1 % smaller.
const ZSTD_HASH_LOG: u32 = 12;

/// Plain bytes of one zstd frame. Larger frames do not compress better.
const FRAME_BYTES: usize = 256 << 10;

/// A rejected batch is cut into about this many parts to find the bad one: a few rounds find one bad
/// resource among thousands, and few files are written at once.
const PARTS: usize = 16;

/// Payloads of one kind for one destination. Cloning shares the bytes.
#[derive(Clone, Debug)]
pub struct Batch {
    pub kind: SignalKind,
    pub items: u64,
    pub has_error: bool,
    /// Whether a span may carry the flag "not sampled".
    pub has_unsampled: bool,
    /// Bytes of the uncompressed request.
    pub plain_bytes: usize,
    /// Whether the parts are zstd. Concatenated zstd frames are one stream.
    is_zstd: bool,
    /// Concatenated, they are one message.
    parts: Vec<Bytes>,
}

/// A part of a batch: a payload, or several in zstd frames.
#[derive(Clone, Debug)]
pub struct BatchPart {
    pub bytes: Bytes,
    pub plain_bytes: usize,
    pub items: u64,
    pub has_error: bool,
    pub has_unsampled: bool,
}

impl From<&Payload> for BatchPart {
    fn from(payload: &Payload) -> Self {
        let Payload { items, has_error, has_unsampled, .. } = *payload;
        let bytes = payload.bytes.clone();
        Self { plain_bytes: bytes.len(), bytes, items, has_error, has_unsampled }
    }
}

impl Batch {
    /// Takes payloads while they fit into [`MAX_BATCH_BYTES`], and always the first one, but at most
    /// [`MAX_FAILURES`] of failures. `None` if `payloads` is empty.
    pub fn of<'a>(kind: SignalKind, payloads: impl Iterator<Item = &'a Payload>) -> Option<Self> {
        let most = if kind == SignalKind::Failures { MAX_FAILURES } else { usize::MAX };
        let mut bytes = 0;
        let mut fits = |part: &BatchPart| {
            let is_first = bytes == 0;
            bytes += part.plain_bytes;
            bytes <= MAX_BATCH_BYTES || is_first
        };
        let parts = payloads.take(most).map(BatchPart::from).take_while(|part| fits(part));
        let batch = Self::of_parts(kind, false, parts.collect());
        (batch.part_count() > 0).then_some(batch)
    }

    /// Makes a batch of all parts.
    pub fn of_parts(kind: SignalKind, is_zstd: bool, parts: Vec<BatchPart>) -> Self {
        Self {
            kind,
            items: parts.iter().map(|part| part.items).sum(),
            has_error: parts.iter().any(|part| part.has_error),
            has_unsampled: parts.iter().any(|part| part.has_unsampled),
            plain_bytes: parts.iter().map(|part| part.plain_bytes).sum(),
            is_zstd,
            parts: parts.into_iter().map(|part| part.bytes).collect(),
        }
    }

    pub fn part_count(&self) -> usize {
        self.parts.len()
    }

    /// The request as zstd with checksum.
    pub fn to_zstd(&self) -> io::Result<Bytes> {
        if self.is_zstd { Ok(concat(&self.parts)) } else { compress(self.parts.iter()) }
    }

    pub fn to_plain(&self) -> io::Result<Bytes> {
        if !self.is_zstd {
            return Ok(concat(&self.parts));
        }
        let mut plain = Vec::with_capacity(self.plain_bytes);
        zstd::stream::copy_decode(&concat(&self.parts)[..], &mut plain)?;
        Ok(plain.into())
    }

    /// The resources in several payloads: one each, or 16 to 33 if there are many. Lines and failures are
    /// not split: their exporters handle each item.
    pub fn split(&self) -> io::Result<Vec<Payload>> {
        let Self { kind, has_error, has_unsampled, .. } = *self;
        let plain = self.to_plain()?;
        let mut parts: Vec<Vec<u8>> = Vec::new();
        if SignalKind::OTLP.contains(&kind) {
            let part_bytes = plain.len().div_ceil(PARTS);
            for resource in edit::by_resource(&plain) {
                match parts.last_mut() {
                    Some(part) if part.len() + resource.len() <= part_bytes => {
                        part.extend(resource)
                    }
                    _ => parts.push(resource),
                }
            }
        }
        let payload = |bytes: Vec<u8>| {
            let items = payload::items(&bytes).count() as u64;
            Payload { items, has_error, has_unsampled, ..Payload::empty(kind, bytes.into()) }
        };
        Ok(parts.into_iter().map(payload).collect())
    }
}

/// Copies the parts once; a single part is shared.
fn concat(parts: &[Bytes]) -> Bytes {
    match parts {
        [part] => part.clone(),
        parts => parts.concat().into(),
    }
}

/// Compresses the concatenated parts with zstd and checksums.
///
/// Each `FRAME_BYTES` are one frame: zstd's streaming interface is a fifth slower.
pub fn compress(parts: impl Iterator<Item = impl AsRef<[u8]>>) -> io::Result<Bytes> {
    let mut compressor = Compressor::new(ZSTD_LEVEL)?;
    compressor.include_checksum(true)?;
    compressor.set_parameter(CParameter::HashLog(ZSTD_HASH_LOG))?;
    let (mut frame, mut frames) = (Vec::new(), Vec::new());
    let mut compressed = Vec::with_capacity(compress_bound(FRAME_BYTES));
    let mut append = |frame: &mut Vec<u8>| -> io::Result<()> {
        compressor.compress_to_buffer(frame.as_slice(), &mut compressed)?;
        frames.extend_from_slice(&compressed);
        frame.clear();
        Ok(())
    };
    for part in parts {
        let mut part = part.as_ref();
        while frame.len() + part.len() > FRAME_BYTES {
            let (fits, rest) = part.split_at(FRAME_BYTES - frame.len());
            frame.extend_from_slice(fits);
            append(&mut frame)?;
            part = rest;
        }
        frame.extend_from_slice(part);
    }
    append(&mut frame)?;
    Ok(frames.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::failure_codec::signal as failure;

    fn payloads<const N: usize>(bytes: [usize; N]) -> [Payload; N] {
        let empty = |bytes| Payload::empty(SignalKind::Traces, vec![0; bytes].into());
        bytes.map(|bytes| Payload { items: 1, ..empty(bytes) })
    }

    #[test]
    fn a_batch_ends_before_the_payload_that_does_not_fit() {
        let payloads = payloads([MAX_BATCH_BYTES - 1, 1, 1]);

        assert_eq!(Batch::of(SignalKind::Traces, payloads.iter()).unwrap().part_count(), 2);
    }

    #[test]
    fn a_batch_of_failures_is_a_few_requests() {
        let failures: Vec<_> = (0..9).map(|n| failure(format!("{n} 2 {{}}\n").into())).collect();

        let batch = Batch::of(SignalKind::Failures, failures.iter()).unwrap();

        assert_eq!((batch.part_count(), batch.items), (MAX_FAILURES, 2 * MAX_FAILURES as u64));
    }

    #[test]
    fn a_payload_larger_than_a_batch_is_sent_alone() {
        let payloads = payloads([MAX_BATCH_BYTES + 1, 1]);

        assert_eq!(Batch::of(SignalKind::Traces, payloads.iter()).unwrap().part_count(), 1);
    }

    #[test]
    fn a_batch_of_many_resources_is_split_into_a_few_parts_and_one_of_few_into_single_resources() {
        for (resources, expected) in [(1_000, 17..=33), (3, 3..=3), (1, 1..=1)] {
            let bytes = [0x0a, 4, 0x12, 2, 0x12, 0].repeat(resources); // each with an empty span
            let (payload, _) = Payload::read(SignalKind::Traces, bytes.clone().into()).unwrap();
            let batch = Batch::of(SignalKind::Traces, std::iter::once(&payload)).unwrap();

            let parts = batch.split().unwrap();

            assert!(expected.contains(&parts.len()), "{resources}: {}", parts.len());
            assert_eq!(parts.iter().map(|part| part.items).sum::<u64>(), resources as u64);
            let together = parts.iter().flat_map(|part| part.bytes.clone());
            assert_eq!(together.collect::<Vec<_>>(), bytes);
        }
    }

    #[test]
    fn compressed_parts_are_one_stream() {
        let part = |plain: &[u8]| BatchPart {
            bytes: compress(std::iter::once(plain)).unwrap(),
            plain_bytes: plain.len(),
            items: 1,
            has_error: false,
            has_unsampled: false,
        };

        let batch = Batch::of_parts(SignalKind::Traces, true, vec![part(b"ab"), part(b"c")]);

        assert_eq!((batch.items, batch.plain_bytes), (2, 3));
        assert_eq!(batch.to_plain().unwrap(), "abc");
    }
}
