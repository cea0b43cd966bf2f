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
    body: BatchBody,
}

#[derive(Clone, Debug)]
enum BatchBody {
    /// Payloads as they came; concatenated, they are one message.
    Parts(Vec<Bytes>),
    /// The compressed message, as spool files hold it. Concatenated zstd frames are one stream.
    Zstd(Vec<Bytes>),
}

impl Batch {
    /// Takes payloads while they fit into [`MAX_BATCH_BYTES`], and always the first one, but at most
    /// [`MAX_FAILURES`] of failures. `None` if `payloads` is empty.
    pub fn of<'a>(kind: SignalKind, payloads: impl Iterator<Item = &'a Payload>) -> Option<Self> {
        Self::up_to(MAX_BATCH_BYTES, kind, payloads)
    }

    /// Like [`of`](Self::of), with a limit of `max_bytes`.
    pub fn up_to<'a>(
        max_bytes: usize,
        kind: SignalKind,
        payloads: impl Iterator<Item = &'a Payload>,
    ) -> Option<Self> {
        let mut batch = Self {
            kind,
            items: 0,
            has_error: false,
            has_unsampled: false,
            plain_bytes: 0,
            body: BatchBody::Parts(Vec::new()),
        };
        let mut parts = Vec::new();
        let most = if kind == SignalKind::Failures { MAX_FAILURES } else { usize::MAX };
        for payload in payloads.take(most) {
            if batch.plain_bytes + payload.bytes.len() > max_bytes && !parts.is_empty() {
                break;
            }
            parts.push(payload.bytes.clone());
            batch.plain_bytes += payload.bytes.len();
            batch.items += payload.items;
            batch.has_error |= payload.has_error;
            batch.has_unsampled |= payload.has_unsampled;
        }
        batch.body = BatchBody::Parts(parts);
        (batch.part_count() > 0).then_some(batch)
    }

    /// A batch from a spool file. Decompresses it to verify the checksum, and fails if it is damaged.
    pub fn compressed(
        kind: SignalKind,
        items: u64,
        has_error: bool,
        zstd: Bytes,
    ) -> io::Result<Self> {
        let mut plain = zstd::Decoder::new(&zstd[..])?;
        let plain_bytes = io::copy(&mut plain, &mut io::sink())? as usize;
        let body = BatchBody::Zstd(vec![zstd]);
        Ok(Self { kind, items, has_error, has_unsampled: true, plain_bytes, body })
    }

    /// Appends another compressed batch of the same kind if both fit into [`MAX_BATCH_BYTES`].
    /// Failures are not merged, since each needs a separate request.
    pub fn try_append(&mut self, other: Self) -> bool {
        let fits = self.plain_bytes + other.plain_bytes <= MAX_BATCH_BYTES;
        if self.kind != other.kind || !fits || self.kind == SignalKind::Failures {
            return false;
        }
        let (BatchBody::Zstd(mine), BatchBody::Zstd(theirs)) = (&mut self.body, other.body) else {
            return false;
        };
        mine.extend(theirs);
        self.items += other.items;
        self.has_error |= other.has_error;
        self.plain_bytes += other.plain_bytes;
        true
    }

    /// Number of payloads; a compressed batch counts as one.
    pub fn part_count(&self) -> usize {
        match &self.body {
            BatchBody::Parts(parts) => parts.len(),
            BatchBody::Zstd(_) => 1,
        }
    }

    /// The request as zstd with checksum.
    pub fn to_zstd(&self) -> io::Result<Bytes> {
        match &self.body {
            BatchBody::Parts(parts) => compress(parts.iter()),
            BatchBody::Zstd(frames) => Ok(concat(frames)),
        }
    }

    /// The resources in several compressed batches: one each, or 16 to 33 if there are many. Lines and
    /// failures are not split: their exporters handle each item.
    pub fn split(&self) -> io::Result<Vec<Self>> {
        if [SignalKind::Lines, SignalKind::Failures].contains(&self.kind) {
            return Ok(vec![self.clone()]);
        }
        let plain = self.to_plain()?;
        let part = |bytes: Vec<u8>| self.part(payload::items(&bytes).count() as u64, bytes);
        let part_bytes = plain.len().div_ceil(PARTS);
        let mut parts: Vec<Vec<u8>> = Vec::new();
        for resource in edit::by_resource(&plain) {
            match parts.last_mut() {
                Some(part) if part.len() + resource.len() <= part_bytes => part.extend(resource),
                _ => parts.push(resource),
            }
        }
        parts.into_iter().map(part).collect()
    }

    fn part(&self, items: u64, bytes: Vec<u8>) -> io::Result<Self> {
        let plain_bytes = bytes.len();
        let body = BatchBody::Zstd(vec![compress(std::iter::once(bytes))?]);
        Ok(Self { items, plain_bytes, body, ..self.clone() })
    }

    pub fn to_compressed(&self) -> io::Result<Self> {
        let body = BatchBody::Zstd(vec![self.to_zstd()?]);
        Ok(Self { body, ..self.clone() })
    }

    pub fn to_plain(&self) -> io::Result<Bytes> {
        match &self.body {
            BatchBody::Parts(parts) => Ok(concat(parts)),
            BatchBody::Zstd(frames) => zstd::decode_all(&concat(frames)[..]).map(Bytes::from),
        }
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
        bytes.map(|bytes| Payload {
            kind: SignalKind::Traces,
            bytes: vec![0; bytes].into(),
            items: 1,
            has_error: false,
            has_unsampled: false,
        })
    }

    #[test]
    fn a_batch_ends_before_the_payload_that_does_not_fit() {
        let payloads = payloads([MAX_BATCH_BYTES - 1, 1, 1]);

        assert_eq!(Batch::of(SignalKind::Traces, payloads.iter()).unwrap().part_count(), 2);
    }

    #[test]
    fn a_batch_of_failures_is_a_few_requests_and_is_not_merged() {
        let failures: Vec<_> = (0..9).map(|n| failure(format!("{n} 2 {{}}\n").into())).collect();

        let batch = Batch::of(SignalKind::Failures, failures.iter()).unwrap();

        assert_eq!((batch.part_count(), batch.items), (MAX_FAILURES, 2 * MAX_FAILURES as u64));
        let mut compressed = batch.to_compressed().unwrap();
        assert!(!compressed.try_append(batch.to_compressed().unwrap()));
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
            let together = parts.iter().flat_map(|part| part.to_plain().unwrap());
            assert_eq!(together.collect::<Vec<_>>(), bytes);
        }
    }

    #[test]
    fn compressed_batches_of_one_kind_are_merged_up_to_the_limit() {
        let compressed = |bytes| {
            let [payload] = payloads([bytes]);
            Batch::of(SignalKind::Traces, [&payload].into_iter()).unwrap().to_compressed().unwrap()
        };
        let mut batch = compressed(3);

        assert!(batch.try_append(compressed(MAX_BATCH_BYTES - 4)));
        assert!(batch.try_append(compressed(1)));
        assert!(!batch.try_append(compressed(1)));

        assert_eq!((batch.items, batch.to_plain().unwrap().len()), (3, MAX_BATCH_BYTES));
    }
}
