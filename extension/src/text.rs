//! Text without meaning to telemetry: colours, hex.

use std::borrow::Cow;

use anstream::adapter::strip_str;

/// The text without terminal colours.
pub fn without_colours(text: &str) -> Cow<'_, str> {
    match text.contains('\x1b') {
        true => Cow::Owned(strip_str(text).to_string()),
        false => Cow::Borrowed(text),
    }
}

/// A trace or span id as hex digits. Empty for an id of zeros, which stands for an unset id.
/// <https://www.w3.org/TR/trace-context/#trace-id>
pub fn hex_id(id: &[u8]) -> String {
    if id.iter().all(|byte| *byte == 0) { String::new() } else { hex(id) }
}

/// The bytes as lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)]);
        text.push(DIGITS[usize::from(byte & 15)]);
    }
    text
}
