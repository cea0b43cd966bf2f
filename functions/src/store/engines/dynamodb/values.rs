//! Items as DynamoDB has them: a flat map of typed attributes.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Map, Value};

use crate::store::{Item, Key, StoreError};

/// The attributes that hold the keys and the expiry; no item may use these names for its own.
/// The name of the index behind [`crate::store::Index::Listing`].
pub(super) const LISTING: &str = "listing";

pub(super) const PARTITION: &str = "pk";
pub(super) const SORT: &str = "sk";
pub(super) const LISTING_PARTITION: &str = "listing_pk";
pub(super) const LISTING_SORT: &str = "listing_sk";
pub(super) const EXPIRY: &str = "ttl";

/// An item or a key in DynamoDB's own shape.
pub(super) type AttributeMap = HashMap<String, AttributeValue>;

/// The item with all of its attributes.
pub(super) fn from_item(item: &Item) -> AttributeMap {
    let mut attributes: AttributeMap =
        item.attributes.iter().map(|(name, value)| (name.clone(), from_json(value))).collect();
    attributes.extend(from_key(&item.key));
    if let Some(listing) = &item.listing {
        attributes.insert(LISTING_PARTITION.to_owned(), text(&listing.partition));
        attributes.insert(LISTING_SORT.to_owned(), text(&listing.sort));
    }
    if let Some(seconds) = item.expires_at_seconds {
        attributes.insert(EXPIRY.to_owned(), number(seconds));
    }
    attributes
}

/// The key alone.
pub(super) fn from_key(key: &Key) -> AttributeMap {
    let key = [(PARTITION, &key.partition), (SORT, &key.sort)];
    HashMap::from(key.map(|(name, value)| (name.to_owned(), text(value))))
}

/// The item back. Fails for what [`from_item`] does not make.
pub(super) fn to_item(mut attributes: AttributeMap) -> Result<Item, StoreError> {
    let mut take = |name: &str| match attributes.remove(name) {
        Some(AttributeValue::S(value)) => Some(value),
        _ => None,
    };
    let key = Key {
        partition: take(PARTITION).unwrap_or_default(),
        sort: take(SORT).unwrap_or_default(),
    };
    let listing = take(LISTING_PARTITION).zip(take(LISTING_SORT));
    let corrupt = |reason: String| StoreError::Corrupt { key: key.clone(), reason };
    let expires_at_seconds = match attributes.remove(EXPIRY) {
        None => None,
        Some(AttributeValue::N(seconds)) => {
            Some(seconds.parse().map_err(|_| corrupt(format!("it expires at {seconds}")))?)
        }
        Some(other) => return Err(corrupt(format!("it expires at {other:?}"))),
    };
    let attributes = attributes
        .into_iter()
        .map(|(name, value)| Ok((name, to_json(value).map_err(corrupt)?)))
        .collect::<Result<Map<_, _>, _>>()?;
    let listing = listing.map(|(partition, sort)| Key { partition, sort });
    Ok(Item { key, listing, expires_at_seconds, attributes })
}

/// A text.
pub(super) fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

/// A number; DynamoDB takes them as text.
pub(super) fn number(value: i64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// Any value of an attribute.
pub(super) fn from_json(value: &Value) -> AttributeValue {
    match value {
        Value::Null => AttributeValue::Null(true),
        Value::Bool(value) => AttributeValue::Bool(*value),
        Value::Number(value) => AttributeValue::N(value.to_string()),
        Value::String(value) => text(value),
        Value::Array(values) => AttributeValue::L(values.iter().map(from_json).collect()),
        Value::Object(map) => AttributeValue::M(
            map.iter().map(|(name, value)| (name.clone(), from_json(value))).collect(),
        ),
    }
}

fn to_json(value: AttributeValue) -> Result<Value, String> {
    Ok(match value {
        AttributeValue::Null(_) => Value::Null,
        AttributeValue::Bool(value) => Value::Bool(value),
        AttributeValue::N(digits) => {
            Value::Number(digits.parse().map_err(|_| format!("{digits:?} is no number"))?)
        }
        AttributeValue::S(value) => Value::String(value),
        AttributeValue::L(values) => {
            Value::Array(values.into_iter().map(to_json).collect::<Result<_, _>>()?)
        }
        AttributeValue::M(map) => Value::Object(
            map.into_iter()
                .map(|(name, value)| Ok((name, to_json(value)?)))
                .collect::<Result<_, String>>()?,
        ),
        other => return Err(format!("{other:?} is nothing that is written here")),
    })
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_map, prelude::*};

    use super::*;

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    prop_compose! {
        fn any_key()(partition: String, sort: String) -> Key { Key { partition, sort } }
    }

    prop_compose! {
        fn any_item()(
            key in any_key(),
            listing in proptest::option::of(any_key()),
            expires_at_seconds: Option<i64>,
            // Longer than the names that are taken.
            attributes in btree_map("[a-z]{11,20}", any_value(), 0..5),
        ) -> Item {
            Item { key, listing, expires_at_seconds, attributes: attributes.into_iter().collect() }
        }
    }

    proptest! {
        #[test]
        fn an_item_comes_back_as_it_was(item in any_item()) {
            prop_assert_eq!(to_item(from_item(&item)).unwrap(), item);
        }
    }

    #[test]
    fn what_is_never_written_here_is_corrupt() {
        let odd = [
            (EXPIRY, text("tomorrow")),
            (EXPIRY, AttributeValue::N("1.5".to_owned())),
            ("bytes", AttributeValue::Ss(Vec::new())),
        ];
        for (name, value) in odd {
            let error = to_item(HashMap::from([(name.to_owned(), value)])).unwrap_err();

            assert_eq!(error.kind(), "corrupt", "{name}");
        }
    }
}
