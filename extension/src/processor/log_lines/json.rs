//! JSON objects with undecoded values, read and written with their fields in order.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

use crate::otlp::log_level::LogLevel;

/// A JSON object's fields in order, with undecoded values.
#[derive(Debug)]
pub(crate) struct JsonFields<'a>(pub(crate) Vec<(Cow<'a, str>, &'a str)>);

impl<'a> JsonFields<'a> {
    pub(crate) fn get(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| *value)
    }

    /// Whether the field holds a trace or span id.
    pub(crate) fn has_id(&self, key: &str) -> bool {
        self.get(key).is_some_and(|id| !is_unset_id(id))
    }

    pub(crate) fn text(&self, key: &str) -> Option<String> {
        serde_json::from_str(self.get(key)?).ok()
    }

    /// The level, under the names that loggers use.
    pub(crate) fn level(&self) -> Option<LogLevel> {
        let value = ["level", "severity", "levelname"].iter().find_map(|key| self.get(key))?;
        match serde_json::from_str(value).ok()? {
            Value::String(name) => LogLevel::parse(&name),
            Value::Number(number) => number.as_f64().map(LogLevel::from_number),
            _ => None,
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

/// Whether a value is null or an empty string.
pub(crate) fn is_empty(value: &str) -> bool {
    ["null", "\"\""].contains(&value)
}

/// Whether a trace or span id is empty or of zeros, as loggers write the id of no span.
pub(crate) fn is_unset_id(value: &str) -> bool {
    is_empty(value) || value.trim_matches('"').bytes().all(|digit| digit == b'0')
}

#[derive(Debug)]
pub(crate) struct JsonObject(pub(crate) String);

impl JsonObject {
    pub(crate) fn new() -> Self {
        Self("{".to_owned())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.len() == 1
    }

    pub(crate) fn raw(&mut self, key: &str, value: &str) {
        if !self.is_empty() {
            self.0.push(',');
        }
        self.0.push_str(&quoted(key));
        self.0.push(':');
        self.0.push_str(value);
    }

    pub(crate) fn add(&mut self, key: &str, value: &impl Serialize) {
        let value = serde_json::to_string(value);
        self.raw(key, value.as_deref().unwrap_or("null"));
    }

    /// Appends the fields of another unfinished object.
    pub(crate) fn extend(&mut self, other: &Self) {
        if !other.is_empty() {
            self.0.push(',');
            self.0.push_str(&other.0[1..]);
        }
    }

    pub(crate) fn end(&mut self) {
        self.0.push('}');
    }
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned())
}

/// The beginning of a text that takes at most this many bytes as a JSON string, without its quotes.
pub(crate) fn cut(text: &str, bytes: usize) -> &str {
    let mut left = bytes;
    for (index, char) in text.char_indices() {
        let length = match char {
            '"' | '\\' | '\n' | '\r' | '\t' | '\x08' | '\x0c' => 2,
            '\x00'..='\x1f' => 6,
            char => char.len_utf8(),
        };
        match left.checked_sub(length) {
            Some(rest) => left = rest,
            None => return &text[..index],
        }
    }
    text
}
