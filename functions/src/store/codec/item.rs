//! Items as typed values.

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::store::{Item, Key, StoreError, keys};

/// An item outside of the index, with the fields of `attributes`.
pub(in crate::store) fn with_attributes(
    key: Key,
    expires_at: Option<Timestamp>,
    attributes: &impl Serialize,
) -> Result<Item, StoreError> {
    // Cut to the second, so an item is hidden up to a second early and never a moment late.
    let expires_at_seconds = expires_at.map(Timestamp::as_second);
    match serde_json::to_value(attributes) {
        Ok(Value::Object(attributes)) => {
            Ok(Item { key, listing: None, expires_at_seconds, attributes })
        }
        Ok(other) => Err(corrupt(&key, format!("attributes became {other}"))),
        Err(error) => Err(corrupt(&key, error)),
    }
}

/// An item that says all by its key.
pub(in crate::store) fn key_only(key: Key, expires_at: Option<Timestamp>) -> Item {
    let expires_at_seconds = expires_at.map(Timestamp::as_second);
    Item { key, listing: None, expires_at_seconds, attributes: Map::new() }
}

/// The fields of an item.
pub(in crate::store) fn attributes<T: DeserializeOwned>(item: Item) -> Result<T, StoreError> {
    serde_json::from_value(Value::Object(item.attributes)).map_err(|error| {
        // A value in quotation marks may be a text of a user, so the reason ends before it.
        let reason = error.to_string();
        corrupt(&item.key, reason.split('"').next().unwrap_or_default())
    })
}

/// What the key says, by `parse`.
pub(in crate::store) fn parsed_key<T>(
    item: &Item,
    parse: impl FnOnce(&Key) -> Option<T>,
) -> Result<T, StoreError> {
    parse(&item.key).ok_or_else(|| corrupt(&item.key, "the key of something else"))
}

pub(in crate::store) fn corrupt(key: &Key, reason: impl ToString) -> StoreError {
    StoreError::Corrupt { key: keys::without_word(key), reason: reason.to_string() }
}
