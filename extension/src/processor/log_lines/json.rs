//! JSON objects with undecoded values, read and written with their fields in order.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::otlp::log_level::LogLevel;

/// A JSON object's fields in order, with undecoded values.
#[derive(Debug)]
pub(crate) struct JsonFields<'a>(pub(crate) Vec<(Cow<'a, str>, &'a str)>);

impl<'a> JsonFields<'a> {
    /// `None` if the text is not an object.
    pub(crate) fn read(json: &'a str) -> Option<Self> {
        // Most lines are plain text, and an error costs an allocation.
        let is_object = json.trim_ascii_start().starts_with('{');
        is_object.then(|| serde_json::from_str(json).ok()).flatten()
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| *value)
    }

    /// Whether the field holds a trace or span id.
    pub(crate) fn has_id(&self, key: &str) -> bool {
        self.get(key).is_some_and(|id| !is_unset_id(id))
    }

    pub(crate) fn text(&self, key: &str) -> Option<Cow<'a, str>> {
        text_of(self.get(key)?)
    }

    /// The level, under the names that loggers use.
    pub(crate) fn level(&self) -> Option<LogLevel> {
        let value = ["level", "severity", "levelname"].iter().find_map(|key| self.get(key))?;
        match text_of(value) {
            Some(name) => LogLevel::parse(&name),
            None => serde_json::from_str(value).ok().map(LogLevel::from_number),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for JsonFields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct JsonKey<'a>(#[serde(borrow)] Cow<'a, str>);
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = JsonFields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<JsonFields<'de>, M::Error> {
                let mut fields = Vec::new();
                while let Some(JsonKey(key)) = map.next_key()? {
                    fields.push((key, map.next_value::<&RawValue>()?.get()));
                }
                Ok(JsonFields(fields))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// The text of a JSON string; `None` for other JSON.
pub(crate) fn text_of(json: &str) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct JsonText<'a>(#[serde(borrow)] Cow<'a, str>);
    let is_string = json.starts_with('"');
    is_string.then(|| serde_json::from_str(json).ok().map(|JsonText(text)| text)).flatten()
}

/// Whether a value is null or an empty string.
pub(crate) fn is_empty(value: &str) -> bool {
    ["null", "\"\""].contains(&value)
}

/// Whether a trace or span id is empty or of zeros, as loggers write the id of no span.
pub(crate) fn is_unset_id(value: &str) -> bool {
    is_empty(value) || value.trim_matches('"').bytes().all(|digit| digit == b'0')
}

/// Bytes of most lines.
const USUAL_BYTES: usize = 512;

/// The JSON of an object, field by field.
#[derive(Debug)]
pub(crate) struct JsonObject(Vec<u8>);

impl JsonObject {
    pub(crate) fn new() -> Self {
        let mut json = Vec::with_capacity(USUAL_BYTES);
        json.push(b'{');
        Self(json)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 1
    }

    /// The bytes written so far.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds a field whose value is JSON.
    pub(crate) fn raw(&mut self, key: &str, value: &str) {
        self.key(key);
        self.0.extend_from_slice(value.as_bytes());
    }

    pub(crate) fn add(&mut self, key: &str, value: &impl Serialize) {
        self.key(key);
        let start = self.0.len();
        if serde_json::to_writer(&mut self.0, value).is_err() {
            self.0.truncate(start);
            self.0.extend_from_slice(b"null");
        }
    }

    fn key(&mut self, key: &str) {
        if !self.is_empty() {
            self.0.push(b',');
        }
        // Fails for no text.
        let _ = serde_json::to_writer(&mut self.0, key);
        self.0.push(b':');
    }

    /// Appends the fields of another unfinished object.
    pub(crate) fn extend(&mut self, other: &Self) {
        if !other.is_empty() {
            self.0.push(b',');
            self.0.extend_from_slice(&other.0[1..]);
        }
    }

    /// The finished object.
    pub(crate) fn end(mut self) -> String {
        self.0.push(b'}');
        String::from_utf8(self.0).unwrap_or_default() // all parts are UTF-8
    }
}

/// Bytes of `\u0000`.
const LONGEST_ESCAPE: usize = 6;

/// The beginning of a text that takes at most this many bytes as a JSON string, without its quotes.
pub(crate) fn cut(text: &str, bytes: usize) -> &str {
    if text.len().saturating_mul(LONGEST_ESCAPE) <= bytes {
        return text;
    }
    let mut left = bytes;
    for (index, char) in text.char_indices() {
        let length = match char {
            '"' | '\\' | '\n' | '\r' | '\t' | '\x08' | '\x0c' => 2,
            '\x00'..='\x1f' => LONGEST_ESCAPE,
            char => char.len_utf8(),
        };
        match left.checked_sub(length) {
            Some(rest) => left = rest,
            None => return &text[..index],
        }
    }
    text
}
