//! What is sent in one request.

use bytes::Bytes;

use crate::signal::Signal;

/// Most bytes of protobuf in one batch, unless a single request is larger.
///
/// What Honeycomb's own client library allows itself:
/// <https://github.com/honeycombio/libhoney-go/blob/main/transmission/transmission.go>
pub const MAX_BATCH_BYTES: usize = 5_000_000;

/// Consecutive signals on their way to one destination. Cloning shares the bytes.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    parts: Vec<Bytes>,
    /// Number of spans in all parts.
    pub spans: u64,
}

impl Batch {
    /// Takes signals while they fit into [`MAX_BATCH_BYTES`], but always the first one.
    pub fn of<'a>(signals: impl Iterator<Item = &'a Signal>) -> Self {
        let mut batch = Self::default();
        let mut bytes = 0;
        for signal in signals {
            bytes += signal.bytes.len();
            if bytes > MAX_BATCH_BYTES && !batch.parts.is_empty() {
                break;
            }
            batch.parts.push(signal.bytes.clone());
            batch.spans += signal.spans;
        }
        batch
    }

    /// Number of signals taken.
    pub fn signals(&self) -> u64 {
        self.parts.len() as u64
    }

    /// The parts, in order; in a row they are one `ExportTraceServiceRequest`.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.parts.iter().map(|part| &part[..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(bytes: usize) -> Signal {
        Signal { bytes: vec![0; bytes].into(), spans: 1 }
    }

    #[test]
    fn a_batch_ends_before_the_signal_that_would_not_fit() {
        let signals = [signal(MAX_BATCH_BYTES - 1), signal(1), signal(1)];

        assert_eq!(Batch::of(signals.iter()).signals(), 2);
    }

    #[test]
    fn a_signal_larger_than_a_batch_goes_alone() {
        let signals = [signal(MAX_BATCH_BYTES + 1), signal(1)];

        assert_eq!(Batch::of(signals.iter()).signals(), 1);
    }
}
