//! Log lines as they wait in payloads: one text line each, Unix milliseconds and JSON.

use std::io::Write;

use crate::otlp::filter::destinations::FilteredAt;
use crate::otlp::payload::{Payload, SignalKind};

/// Most bytes of a line: PutLogEvents accepts 1 MiB in a request of one event and adds 26 bytes to
/// each.
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html>
pub const MAX_LINE_BYTES: usize = 1_048_576 - 26;

/// A payload of lines ends at this size, since the buffer evicts whole payloads.
const SIGNAL_BYTES: usize = 64 << 10;

/// Errors get separate payloads, since those are evicted last. Payloads are not split below this
/// size, because the buffer's work grows with their number.
const MIN_SIGNAL_BYTES: usize = 4 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLine<'a> {
    /// Unix milliseconds at which the platform received the line.
    pub time_ms: i64,
    /// A JSON object without a line end.
    pub json: &'a str,
}

/// The lines of one or several concatenated payloads. Malformed lines are skipped.
pub fn read(signals: &[u8]) -> impl Iterator<Item = LogLine<'_>> {
    signals.split(|byte| *byte == b'\n').filter_map(|line| {
        let (time_ms, json) = std::str::from_utf8(line).ok()?.split_once(' ')?;
        Some(LogLine { time_ms: time_ms.parse().ok()?, json })
    })
}

/// Collects lines into payloads, in order.
#[derive(Debug, Default)]
pub struct LinePayloads {
    done: Vec<Payload>,
    bytes: Vec<u8>,
    items: u64,
    has_error: bool,
    /// Lines of low level, in payloads of their own.
    filtered: Option<Box<Self>>,
    filtered_at: FilteredAt,
}

impl LinePayloads {
    /// Appends a line that these destinations leave out.
    pub fn push_filtered(&mut self, line: LogLine<'_>, is_error: bool, filtered_at: FilteredAt) {
        if filtered_at.is_nowhere() {
            return self.push(line, is_error);
        }
        let filtered = self.filtered.get_or_insert_default();
        filtered.filtered_at = filtered_at;
        filtered.push(line, is_error);
    }

    /// Appends a line. Its JSON holds no line end.
    pub fn push(&mut self, line: LogLine<'_>, is_error: bool) {
        let switches = is_error != self.has_error && self.bytes.len() >= MIN_SIGNAL_BYTES;
        if switches || self.bytes.len() >= SIGNAL_BYTES {
            self.end_signal();
        }
        let _ = write!(self.bytes, "{} ", line.time_ms); // fails for no number
        self.bytes.extend_from_slice(line.json.as_bytes());
        self.bytes.push(b'\n');
        self.items += 1;
        self.has_error |= is_error;
    }

    pub fn finish(mut self) -> Vec<Payload> {
        self.end_signal();
        let filtered = self.filtered.into_iter().flat_map(|filtered| filtered.finish());
        self.done.into_iter().chain(filtered).collect()
    }

    fn end_signal(&mut self) {
        let (bytes, items) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.items));
        let has_error = std::mem::take(&mut self.has_error);
        if items > 0 {
            let payload = Payload::empty(SignalKind::Lines, bytes.into());
            self.done.push(Payload { items, has_error, filtered_at: self.filtered_at, ..payload });
        }
    }
}
