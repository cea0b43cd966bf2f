//! Fields of a body.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A text. A value of another type counts as empty, and with `#[serde(default)]` so does a missing
/// one.
#[derive(Debug, Default)]
pub struct TextField(String);

impl TextField {
    /// What was written; empty for nothing.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for TextField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Value::deserialize(deserializer)? {
            Value::String(text) => Self(text),
            _ => Self::default(),
        })
    }
}

/// For `deserialize_with`: a field that is there, null included. With `#[serde(default)]`, one that
/// is not is `None`.
pub fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}
