//! What X-Ray takes at most, and how a document is made to fit.
//! <https://docs.aws.amazon.com/xray/latest/devguide/xray-api-segmentdocuments.html#api-segmentdocuments-fields>

use std::borrow::Cow;

use serde_json::{Value, json};

use crate::exporter::xray::{
    document::Document,
    json_value::{MetadataValue, to_json},
};

/// Most bytes of a document. The guide says "64 kB": this is the smaller reading, and with the
/// daemon's header it fits into one datagram.
pub(super) const MAX_DOCUMENT_BYTES: usize = 64_000;

/// Most characters of a name.
pub(super) const MAX_NAME_CHARS: usize = 200;

/// Most characters of any other text, outside of metadata.
pub(super) const MAX_TEXT_CHARS: usize = 250;

/// Most annotations of a trace that are indexed.
pub(super) const MAX_ANNOTATIONS: usize = 50;

/// Most exceptions and frames of a document. Our choice: with the texts' own limit, all of them
/// together take a third of a document in the worst case.
pub(super) const MAX_EXCEPTIONS: usize = 4;
/// See [`MAX_EXCEPTIONS`].
pub(super) const MAX_FRAMES: usize = 50;
/// Most bytes of a document's stacks and of its annotations, each. Our choice.
pub(super) const MAX_BLOCK_BYTES: usize = 16_000;

/// Longest text of metadata in a document that is too large, in characters. Our choice: a long
/// query or message is still recognised by its beginning.
const MAX_CUT_CHARS: usize = 1_000;

/// Room for the count of what was trimmed.
const NOTE_BYTES: usize = 100;

/// The text, or its first characters.
pub(super) fn cut(text: &str, max_chars: usize) -> Cow<'_, str> {
    match text.char_indices().nth(max_chars) {
        Some((end, _)) => Cow::Owned(text[..end].to_owned()),
        None => Cow::Borrowed(text),
    }
}

/// A text for one of the document's own fields.
pub(super) fn cut_field(text: &str) -> Cow<'_, str> {
    cut(text, MAX_TEXT_CHARS)
}

/// Writes a document that X-Ray accepts by its size, and says how many values that cost.
///
/// Metadata is given up first: there, texts are cut, then the largest values are left out. Only if
/// that was not all of it, stacks go, and then lists; what remains has limits that fit together.
pub(super) fn write(mut document: Document<'_>) -> (String, usize) {
    let json = to_json(&document);
    if json.len() <= MAX_DOCUMENT_BYTES {
        return (json, 0);
    }
    let all = std::mem::take(&mut document.metadata);
    let (mut room, mut trimmed) = (room(&document), 0);
    for leave_out in [stacks as fn(&mut Document<'_>) -> usize, lists] {
        if room.is_none() {
            trimmed += leave_out(&mut document);
            room = self::room(&document);
        }
    }
    let mut values = Vec::new();
    for (namespace, entries) in all {
        for (key, value) in entries {
            let (value, cuts) = with_texts_cut(value);
            // `"namespace":{"key":value},`
            let bytes = to_json(&namespace).len() + to_json(&key).len() + to_json(&value).len() + 5;
            values.push((bytes, namespace.clone(), key, value, cuts));
        }
    }
    values.sort_by_key(|(bytes, ..)| *bytes);
    let mut used = 0;
    for (bytes, namespace, key, value, cuts) in values {
        used += bytes;
        if room.is_some_and(|room| used <= room) {
            trimmed += cuts;
            document.metadata.entry(namespace).or_default().insert(key, value);
        } else {
            trimmed += 1;
        }
    }
    let note = document.metadata.entry(Cow::Borrowed("cruddur")).or_default();
    note.insert(Cow::Borrowed("trimmed_values"), MetadataValue::Json(json!(trimmed)));
    (to_json(&document), trimmed)
}

/// Bytes that a document leaves to its metadata.
fn room(document: &Document<'_>) -> Option<usize> {
    (MAX_DOCUMENT_BYTES - NOTE_BYTES).checked_sub(to_json(document).len())
}

fn stacks(document: &mut Document<'_>) -> usize {
    let mut trimmed = 0;
    for exception in document.cause.iter_mut().flat_map(|cause| &mut cause.exceptions) {
        exception.truncated += exception.stack.len();
        trimmed += usize::from(!exception.stack.is_empty());
        exception.stack.clear();
    }
    trimmed
}

fn lists(document: &mut Document<'_>) -> usize {
    let Some(aws) = &mut document.aws else { return 0 };
    let trimmed = [!aws.table_names.is_empty(), !aws.cloudwatch_logs.is_empty()];
    aws.table_names.clear();
    aws.cloudwatch_logs.clear();
    trimmed.into_iter().map(usize::from).sum()
}

/// The value with every text in it cut, and how many were.
fn with_texts_cut(value: MetadataValue<'_>) -> (MetadataValue<'_>, usize) {
    let mut parts = serde_json::to_value(&value).unwrap_or_default();
    match cut_texts(&mut parts) {
        0 => (value, 0),
        cuts => (MetadataValue::Json(parts), cuts),
    }
}

fn cut_texts(value: &mut Value) -> usize {
    match value {
        Value::String(text) => {
            let Cow::Owned(beginning) = cut(text, MAX_CUT_CHARS) else { return 0 };
            *text = beginning;
            1
        }
        Value::Array(values) => values.iter_mut().map(cut_texts).sum(),
        Value::Object(members) => members.values_mut().map(cut_texts).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("ééé", 2), "éé");
        assert_eq!(cut("ééé", 3), "ééé");
        assert!(matches!(cut(&"x".repeat(250), 250), Cow::Borrowed(_)));
    }
}
