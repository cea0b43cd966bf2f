//! What is sent in one request.

use std::io::{self, Write};

use bytes::Bytes;

use crate::{
    signal::{self, Kind, Signal},
    wire,
};

/// Most bytes of protobuf in one batch, unless a single request is larger.
///
/// What Honeycomb's own client library allows itself:
/// <https://github.com/honeycombio/libhoney-go/blob/main/transmission/transmission.go>
pub const MAX_BATCH_BYTES: usize = 5_000_000;

/// The level that is fastest; measured against others in the benchmark.
const ZSTD_LEVEL: i32 = 1;

/// Signals of one kind on their way to one destination. Cloning shares the bytes.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The kind of every part.
    pub kind: Kind,
    /// Number of items in all parts.
    pub items: u64,
    /// Whether any part has an error in it.
    pub has_error: bool,
    /// Whether a span may be flagged as not sampled.
    pub has_unsampled: bool,
    body: Body,
}

/// One export request.
#[derive(Clone, Debug)]
enum Body {
    /// Signals as they came; in a row they are one message.
    Parts(Vec<Bytes>),
    /// The message, compressed: what a file of the spool holds.
    Zstd(Bytes),
}

impl Batch {
    /// Takes signals while they fit into [`MAX_BATCH_BYTES`], but always the first one. `None`
    /// without any.
    pub fn of<'a>(kind: Kind, signals: impl Iterator<Item = &'a Signal>) -> Option<Self> {
        let body = Body::Parts(Vec::new());
        let mut batch = Self { kind, items: 0, has_error: false, has_unsampled: false, body };
        let (mut parts, mut bytes) = (Vec::new(), 0);
        for signal in signals {
            bytes += signal.bytes.len();
            if bytes > MAX_BATCH_BYTES && !parts.is_empty() {
                break;
            }
            parts.push(signal.bytes.clone());
            batch.items += signal.items;
            batch.has_error |= signal.has_error;
            batch.has_unsampled |= signal.has_unsampled;
        }
        batch.body = Body::Parts(parts);
        (batch.signals() > 0).then_some(batch)
    }

    /// A batch that was compressed before, of whose spans nothing else is known.
    pub fn compressed(kind: Kind, items: u64, has_error: bool, zstd: Bytes) -> Self {
        Self { kind, items, has_error, has_unsampled: true, body: Body::Zstd(zstd) }
    }

    /// Number of signals; a compressed batch counts as one.
    pub fn signals(&self) -> usize {
        match &self.body {
            Body::Parts(parts) => parts.len(),
            Body::Zstd(_) => 1,
        }
    }

    /// The request compressed with zstd, checksum included.
    pub fn to_zstd(&self) -> io::Result<Bytes> {
        match &self.body {
            Body::Parts(parts) => compress(parts.iter()),
            Body::Zstd(zstd) => Ok(zstd.clone()),
        }
    }

    /// A batch for each resource, compressed.
    pub fn split(&self) -> io::Result<Vec<Self>> {
        let plain = self.to_plain()?;
        let part = |bytes: Vec<u8>| {
            let items = signal::items(&bytes).count() as u64;
            Ok(Self { items, body: Body::Zstd(compress(std::iter::once(bytes))?), ..self.clone() })
        };
        wire::by_resource(&plain).map(part).collect()
    }

    /// The same batch, compressed.
    pub fn to_compressed(&self) -> io::Result<Self> {
        let body = Body::Zstd(self.to_zstd()?);
        Ok(Self { body, ..self.clone() })
    }

    /// The request as it is.
    pub fn to_plain(&self) -> io::Result<Bytes> {
        match &self.body {
            Body::Parts(parts) => Ok(parts.concat().into()),
            Body::Zstd(zstd) => zstd::decode_all(&zstd[..]).map(Bytes::from),
        }
    }
}

/// The parts in a row, compressed with zstd, checksum included.
pub fn compress(parts: impl Iterator<Item = impl AsRef<[u8]>>) -> io::Result<Bytes> {
    let mut encoder = zstd::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
    encoder.include_checksum(true)?;
    for part in parts {
        encoder.write_all(part.as_ref())?;
    }
    encoder.finish().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signals<const N: usize>(bytes: [usize; N]) -> [Signal; N] {
        bytes.map(|bytes| Signal {
            kind: Kind::Traces,
            bytes: vec![0; bytes].into(),
            items: 1,
            has_error: false,
            has_unsampled: false,
        })
    }

    #[test]
    fn a_batch_ends_before_the_signal_that_would_not_fit() {
        let signals = signals([MAX_BATCH_BYTES - 1, 1, 1]);

        assert_eq!(Batch::of(Kind::Traces, signals.iter()).unwrap().signals(), 2);
    }

    #[test]
    fn a_signal_larger_than_a_batch_goes_alone() {
        let signals = signals([MAX_BATCH_BYTES + 1, 1]);

        assert_eq!(Batch::of(Kind::Traces, signals.iter()).unwrap().signals(), 1);
    }
}
