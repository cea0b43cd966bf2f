//! Items as they wait in signals: one line each, `uuid`, number and JSON.

use bytes::Bytes;

use crate::otlp::payload::{Payload, SignalKind};

/// One item, as it waits in a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodedItem<'a> {
    /// Its `uuid`.
    pub id: &'a str,
    /// How many failures or messages it tells of.
    pub items: u64,
    /// The request's body.
    pub json: &'a str,
}

/// The items of a signal, or of several in a row. What is no item is left out.
pub fn read(signals: &[u8]) -> impl Iterator<Item = EncodedItem<'_>> {
    signals.split(|byte| *byte == b'\n').filter_map(|line| {
        let (id, rest) = std::str::from_utf8(line).ok()?.split_once(' ')?;
        let (items, json) = rest.split_once(' ')?;
        Some(EncodedItem { id, items: items.parse().ok()?, json })
    })
}

/// A signal of lines.
pub fn signal(lines: Bytes) -> Payload {
    let items = read(&lines).map(|line| line.items).sum();
    // Somebody wants to hear of each: the last to be dropped.
    Payload {
        kind: SignalKind::Failures,
        bytes: lines,
        items,
        has_error: true,
        has_unsampled: false,
    }
}
