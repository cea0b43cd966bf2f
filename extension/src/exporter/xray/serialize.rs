//! A document as JSON that is small enough for X-Ray.

use std::borrow::Cow;

use serde_json::{Value, json};

use crate::exporter::xray::{
    document::Document,
    json_value::{MetadataValue, to_json},
    limits::{MAX_DOCUMENT_BYTES, cut},
};

/// Longest metadata text of a document that is too large, in characters: the beginning of a long
/// query or message still identifies it.
const MAX_TRIMMED_CHARS: usize = 1_000;

/// Reserved for the count of trimmed values.
const TRIM_COUNT_BYTES: usize = 100;

/// Returns a document's JSON, at most [`MAX_DOCUMENT_BYTES`] long, and the number of trimmed values.
///
/// Metadata is trimmed first: long texts are cut, then the largest values are omitted. If the rest is
/// still too large, stacks are omitted, then lists. The remaining fields have limits whose sum fits.
pub(super) fn to_bounded_json(mut document: Document<'_>) -> (String, usize) {
    let json = to_json(&document);
    if json.len() <= MAX_DOCUMENT_BYTES {
        return (json, 0);
    }
    let all = std::mem::take(&mut document.metadata);
    let (mut room, mut trimmed) = (metadata_room(&document), 0);
    for omit in [omit_stacks as fn(&mut Document<'_>) -> usize, omit_lists] {
        if room.is_none() {
            trimmed += omit(&mut document);
            room = metadata_room(&document);
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
    let own = document.metadata.entry(Cow::Borrowed("cruddur")).or_default();
    own.insert(Cow::Borrowed("trimmed_values"), MetadataValue::Json(json!(trimmed)));
    (to_json(&document), trimmed)
}

/// Bytes left for metadata. `None` if the document is too large without it.
fn metadata_room(document: &Document<'_>) -> Option<usize> {
    (MAX_DOCUMENT_BYTES - TRIM_COUNT_BYTES).checked_sub(to_json(document).len())
}

fn omit_stacks(document: &mut Document<'_>) -> usize {
    let mut trimmed = 0;
    for exception in document.cause.iter_mut().flat_map(|cause| &mut cause.exceptions) {
        exception.truncated += exception.stack.len();
        trimmed += usize::from(!exception.stack.is_empty());
        exception.stack.clear();
    }
    trimmed
}

fn omit_lists(document: &mut Document<'_>) -> usize {
    let Some(aws) = &mut document.aws else { return 0 };
    let trimmed = [!aws.table_names.is_empty(), !aws.cloudwatch_logs.is_empty()];
    aws.table_names.clear();
    aws.cloudwatch_logs.clear();
    trimmed.into_iter().map(usize::from).sum()
}

/// Cuts every text in the value to [`MAX_TRIMMED_CHARS`], and returns the number of cuts.
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
            let Cow::Owned(beginning) = cut(text, MAX_TRIMMED_CHARS) else { return 0 };
            *text = beginning;
            1
        }
        Value::Array(values) => values.iter_mut().map(cut_texts).sum(),
        Value::Object(members) => members.values_mut().map(cut_texts).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}
