//! Cuts single items, so that none fills the store.

use std::borrow::Cow;

use serde_json::Value;

use crate::otlp::cut::cut_to;
use crate::otlp::payload::SignalKind;
use crate::otlp::schema::{LOG_RECORD, SPAN};
use crate::processor::failures::truncate;

/// Most bytes of a span, log record or line. A stack of 100 frames fits.
const MAX_ITEM_BYTES: usize = 32 << 10;

/// Most bytes of a failure, which has frames, lines and a request.
const MAX_FAILURE_BYTES: usize = 128 << 10;

/// Most characters of a text in a line that is too long.
const MAX_TEXT_CHARS: usize = 4_000;

/// The members that a line keeps if short texts do not suffice.
const KEPT: [&str; 7] =
    ["timestamp", "level", "message", "service", "requestId", "trace_id", "span_id"];

/// An encoded span or log record, and whether it was cut. `None` if it cannot be cut enough.
pub(super) fn cut_item(kind: SignalKind, item: &[u8]) -> Option<(Cow<'_, [u8]>, bool)> {
    let schema = if kind == SignalKind::Traces { &SPAN } else { &LOG_RECORD };
    let kept = cut_to(schema, item, MAX_ITEM_BYTES)?;
    let is_cut = matches!(kept, Cow::Owned(_));
    Some((kept, is_cut))
}

/// The JSON of a line. `None` if it cannot be cut enough.
pub(super) fn cut_json(json: &str) -> Option<Cow<'_, str>> {
    if json.len() <= MAX_ITEM_BYTES {
        return Some(Cow::Borrowed(json));
    }
    let mut value: Value = serde_json::from_str(json).ok()?;
    cut_texts(&mut value);
    let mut text = value.to_string();
    if let (true, Value::Object(members)) = (text.len() > MAX_ITEM_BYTES, &mut value) {
        members.retain(|key, value| KEPT.contains(&key.as_str()) && value.is_string());
        text = value.to_string();
    }
    (text.len() <= MAX_ITEM_BYTES).then_some(Cow::Owned(text))
}

/// The JSON of a failure. `None` if it cannot be cut enough.
pub(super) fn cut_failure(json: &str) -> Option<Cow<'_, str>> {
    if json.len() <= MAX_FAILURE_BYTES {
        return Some(Cow::Borrowed(json));
    }
    let reduced = truncate::reduced(json).filter(|reduced| reduced.len() <= MAX_FAILURE_BYTES);
    reduced.map(Cow::Owned)
}

fn cut_texts(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some((end, _)) = text.char_indices().nth(MAX_TEXT_CHARS) {
                text.truncate(end);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(cut_texts),
        Value::Object(members) => members.values_mut().for_each(cut_texts),
        _ => {}
    }
}
