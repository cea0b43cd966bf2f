//! Log lines as they wait in payloads: one text line each, Unix milliseconds and JSON.

use crate::otlp::payload::{Payload, SignalKind};

/// Most bytes of a line: what PutLogEvents takes in a request of one event, 26 bytes of which it
/// adds itself.
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html>
pub const MAX_LINE_BYTES: usize = 1_048_576 - 26;

/// A signal of lines ends when it has so many bytes. Our choice: what is evicted at a time.
const SIGNAL_BYTES: usize = 64 << 10;

/// Errors get signals of their own, since those are kept longest, but no smaller ones than this:
/// the buffer's work is by signal.
const MIN_SIGNAL_BYTES: usize = 4 << 10;

/// One line, as it waits in a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLine<'a> {
    /// When the platform got it: Unix milliseconds.
    pub time_ms: i64,
    /// A JSON object without a line end.
    pub json: &'a str,
}

/// The lines of a signal, or of several in a row. What is no line is left out.
pub fn read(signals: &[u8]) -> impl Iterator<Item = LogLine<'_>> {
    signals.split(|byte| *byte == b'\n').filter_map(|line| {
        let (time_ms, json) = std::str::from_utf8(line).ok()?.split_once(' ')?;
        Some(LogLine { time_ms: time_ms.parse().ok()?, json })
    })
}

/// Puts lines together to signals, in their order.
#[derive(Debug, Default)]
pub struct LinePayloads {
    done: Vec<Payload>,
    bytes: Vec<u8>,
    items: u64,
    has_error: bool,
}

impl LinePayloads {
    /// Appends a line. Its JSON holds no line end.
    pub fn push(&mut self, line: LogLine<'_>, is_error: bool) {
        let switches = is_error != self.has_error && self.bytes.len() >= MIN_SIGNAL_BYTES;
        if switches || self.bytes.len() >= SIGNAL_BYTES {
            self.end_signal();
        }
        self.bytes.extend_from_slice(line.time_ms.to_string().as_bytes());
        self.bytes.push(b' ');
        self.bytes.extend_from_slice(line.json.as_bytes());
        self.bytes.push(b'\n');
        self.items += 1;
        self.has_error |= is_error;
    }

    /// All of them.
    pub fn finish(mut self) -> Vec<Payload> {
        self.end_signal();
        self.done
    }

    fn end_signal(&mut self) {
        let (bytes, items) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.items));
        let has_error = std::mem::take(&mut self.has_error);
        if items > 0 {
            let kind = SignalKind::Lines;
            let bytes = bytes.into();
            self.done.push(Payload { kind, bytes, items, has_error, has_unsampled: false });
        }
    }
}
