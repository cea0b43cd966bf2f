//! LineEnricher: what the function wrote and what the platform says, one JSON object each, complete when
//! they are received, so that who sends them need only cut them into requests.
//!
//! | field | what |
//! |---|---|
//! | the function's own | as the function wrote them, in its order; plain text is a `message` |
//! | `timestamp`, `level`, `message` | of plain text (the level as far as it shows one) and of platform records |
//! | `type`, `record` | of platform records: `platform.report` and the like, and all that it says |
//! | `requestId`, `xray_trace_id` | the invocation's, as the platform has them |
//! | `trace_id`, `span_id` | the line's own, else the server span's if that has come already |
//! | `_aws`, and what it names | metrics: see [`emf`] |
//! | `lambda` | `function`, `version`, `coldStart`, `initializationType`, `phase`: see [`context`] |
//! | `claimed` | what the function said in one of these fields, where the platform knows better |
//! | `cut_from_bytes` | the line's length, where it was longer than [`MAX_LINE_BYTES`] |
//!
//! Secrets are masked ([`crate::scrub`]), terminal colours are taken out. A signal of
//! [`SignalKind::Lines`] holds one line after the other, as [`read`] gives them back.

pub mod context;
pub mod emf;
mod enricher;
mod json;
mod level;
mod invocation_fields;
mod platform_message;

use std::{borrow::Cow, time::SystemTime};

use anstream::adapter::strip_str;

pub use crate::processor::log_lines::enricher::LineEnricher;
use crate::{
    otlp::payload::{Payload, SignalKind},
    pipeline::stats::{HoldStats, PipelineStats},
    processor::log_lines::json::{JsonFields, JsonObject, cut},
};

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

/// The line itself, or a line around its beginning if it is longer than [`MAX_LINE_BYTES`]. What
/// says where it belongs stays, as far as that is short.
pub fn shortened(json: String, time_ms: i64) -> String {
    if json.len() <= MAX_LINE_BYTES {
        return json;
    }
    let time = jiff::Timestamp::from_millisecond(time_ms).unwrap_or_default();
    let mut line = JsonObject::new();
    line.add("timestamp", &timestamp(time.into()));
    let fields = serde_json::from_str::<JsonFields<'_>>(&json).ok();
    for key in ["level", "service", "requestId", "trace_id", "span_id"] {
        let value = fields.as_ref().and_then(|fields| fields.get(key));
        if let Some(short) = value.filter(|value| value.len() <= MAX_PLACE_BYTES) {
            line.raw(key, short);
        }
    }
    line.add("cut_from_bytes", &json.len());
    let room = MAX_LINE_BYTES - line.0.len() - MESSAGE_BYTES;
    line.add("message", &cut(&json, room));
    line.end();
    line.0
}

/// Longer values do not stay in a [shortened] line. Our choice: ids have 38 bytes at most.
const MAX_PLACE_BYTES: usize = 128;

/// What a message takes beside its text: its name, quotes, a comma, a brace.
const MESSAGE_BYTES: usize = 16;

fn unix_ms(time: SystemTime) -> i64 {
    jiff::Timestamp::try_from(time).map_or(0, jiff::Timestamp::as_millisecond)
}

/// The same text without what makes a terminal show it in colours.
pub fn without_colours(text: &str) -> Cow<'_, str> {
    match text.contains('\x1b') {
        true => Cow::Owned(strip_str(text).to_string()),
        false => Cow::Borrowed(text),
    }
}

/// RFC 3339, UTC, milliseconds.
pub fn timestamp(time: SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).unwrap_or_default();
    time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// The extension's own account since an earlier one, and the holds since then.
pub fn account(
    function: &str,
    now: &PipelineStats,
    before: &PipelineStats,
    holds: HoldStats,
) -> Vec<Payload> {
    let (time, mut signals) = (SystemTime::now(), LinePayloads::default());
    for metrics in emf::account(function, now, before, holds) {
        let mut line = JsonObject::new();
        line.add("timestamp", &timestamp(time));
        line.add("level", &"INFO");
        line.add("message", &"What became of telemetry");
        line.add("type", &"extension.account");
        metrics.members(time).iter().for_each(|(key, value)| line.add(key, value));
        line.end();
        signals.push(LogLine { time_ms: unix_ms(time), json: &line.0 }, false);
    }
    signals.finish()
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

#[cfg(test)]
mod tests;
