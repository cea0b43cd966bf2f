//! Parts of events: where they begin, and their text.

use std::{borrow::Cow, str};

use memchr::memmem;
use serde::Deserialize;
use serde_json::{json, value::RawValue};

/// Longest escape that a cut can leave incomplete: a surrogate pair of `\ud83d\ude00`.
const LONGEST_ESCAPE: usize = 12;

/// The text, with U+FFFD for each wrong sequence, and the incomplete sequence at its end.
pub(super) fn decode(bytes: &[u8]) -> (String, &[u8]) {
    let incomplete = match str::from_utf8(bytes) {
        Ok(_) => 0,
        // Only the last three bytes can begin a sequence without its end.
        Err(_) => (1..=bytes.len().min(3))
            .find(|length| {
                let tail = &bytes[bytes.len() - length..];
                str::from_utf8(tail)
                    .is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
            })
            .unwrap_or_default(),
    };
    let (complete, tail) = bytes.split_at(bytes.len() - incomplete);
    (String::from_utf8_lossy(complete).into_owned(), tail)
}

/// Length of an event's beginning up to its record, or `None` if it does not reach that far.
pub(super) fn envelope_length(event: &[u8]) -> Option<usize> {
    let (mut depth, mut key, mut index) = (0_u32, None, 0);
    while index < event.len() {
        match event[index] {
            b'"' => {
                let end = string_end(event, index)?;
                key = (depth == 1).then(|| &event[index + 1..end]);
                index = end;
            }
            b':' if key == Some(b"record") => {
                let blanks = event[index + 1..].iter().take_while(|it| it.is_ascii_whitespace());
                return Some(index + 1 + blanks.count());
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            byte if byte.is_ascii_whitespace() => {}
            _ => key = None,
        }
        index += 1;
    }
    None
}

/// Index of the quote that ends the string that begins at `start`.
fn string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut index = start + 1;
    loop {
        match bytes.get(index)? {
            b'"' => return Some(index),
            b'\\' => index += 2,
            _ => index += 1,
        }
    }
}

/// Index of the first event behind the beginning of a text, by its first key; the length if none follows.
pub(super) fn restart(text: &str, is_event: impl Fn(&str) -> bool) -> usize {
    let starts = memmem::find_iter(text.as_bytes(), b"{\"").filter(|start| {
        let before = text[..*start].trim_end();
        let is_element = before.ends_with([',', '[', '}']) || before.is_empty();
        let key = &text[start + 2..];
        *start > 0
            && is_element
            && ["time\"", "type\"", "record\""].iter().any(|it| key.starts_with(it))
    });
    let mut starts = starts.filter(|start| is_event(&text[*start..]));
    starts.next().unwrap_or(text.len())
}

/// A `function` event with the text of a part of one; `None` if the part has no beginning of a record,
/// or is an extension's line.
pub(super) fn partial_event(part: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow, default)]
        time: Option<&'a RawValue>,
        #[serde(borrow, rename = "type")]
        kind: Cow<'a, str>,
    }
    let part = part.trim_start_matches(['[', ',', ' ', '\t', '\r', '\n']);
    let (envelope, record) = part.split_at(envelope_length(part.as_bytes())?);
    let envelope = format!("{envelope}null}}");
    let Envelope { time, kind } = serde_json::from_str(&envelope).ok()?;
    let record = record.trim_end_matches([',', ' ', '\t', '\r', '\n']);
    let record = record.strip_suffix(']').map_or(record, str::trim_end);
    if record.is_empty() || kind == "extension" {
        return None;
    }
    let record = json!({ "message": plain(record), "partial": true });
    Some(json!({ "time": time, "type": "function", "record": record }).to_string())
}

/// The text of a part of a string; all else as it came.
fn plain(record: &str) -> String {
    let text = record.trim_end_matches(['}', ' ']);
    let text = text.strip_suffix('"').filter(|text| !text.is_empty() && !text.ends_with('\\'));
    let text = text.unwrap_or(record);
    let text = text.strip_prefix('"').unwrap_or(text);
    let ends = (0..=text.len().min(LONGEST_ESCAPE)).map(|cut| text.len() - cut);
    let mut texts = ends.filter_map(|end| {
        serde_json::from_str::<String>(&format!("\"{}\"", text.get(..end)?)).ok()
    });
    texts.next().unwrap_or_else(|| record.to_owned())
}
