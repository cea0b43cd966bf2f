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

/// The bytes as lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
