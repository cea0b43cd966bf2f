//! Rollbar items as they wait in payloads: one text line each, `uuid`, [`items`](EncodedItem::items) and
//! JSON.

use bytes::Bytes;

use crate::otlp::payload::{Payload, SignalKind};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodedItem<'a> {
    pub id: &'a str,
    /// Number of failed invocations and messages that the item stands for.
    pub items: u64,
    /// The body of the request to Rollbar.
    pub json: &'a str,
}

/// The items of one or several concatenated payloads. Malformed lines are skipped.
pub fn read(signals: &[u8]) -> impl Iterator<Item = EncodedItem<'_>> {
    signals.split(|byte| *byte == b'\n').filter_map(|line| {
        let (id, rest) = std::str::from_utf8(line).ok()?.split_once(' ')?;
        let (items, json) = rest.split_once(' ')?;
        Some(EncodedItem { id, items: items.parse().ok()?, json })
    })
}

/// Makes a payload of encoded items.
pub fn signal(lines: Bytes) -> Payload {
    let items = read(&lines).map(|line| line.items).sum();
    // Failures count as errors, so they are dropped last.
    Payload { items, has_error: true, ..Payload::empty(SignalKind::Failures, lines) }
}
