//! Items as DynamoDB has them: a flat map of typed attributes.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::Value;

use crate::store::{Item, Key};

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

/// The item back. Values of types that are not written here are left out. The reader of the item then
/// reports it as corrupt, and only that item is left out of a list.
pub(super) fn to_item(mut attributes: AttributeMap) -> Item {
    let mut take = |name: &str| match attributes.remove(name) {
        Some(AttributeValue::S(value)) => Some(value),
        _ => None,
    };
    let key = Key {
        partition: take(PARTITION).unwrap_or_default(),
        sort: take(SORT).unwrap_or_default(),
    };
    let listing = take(LISTING_PARTITION).zip(take(LISTING_SORT));
    let expires_at_seconds = match attributes.remove(EXPIRY) {
        Some(AttributeValue::N(seconds)) => seconds.parse().ok(),
        _ => None,
    };
    let attributes = attributes.into_iter();
    let attributes = attributes.filter_map(|(name, value)| Some((name, to_json(value)?))).collect();
    let listing = listing.map(|(partition, sort)| Key { partition, sort });
    Item { key, listing, expires_at_seconds, attributes }
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

fn to_json(value: AttributeValue) -> Option<Value> {
    Some(match value {
        AttributeValue::Null(_) => Value::Null,
        AttributeValue::Bool(value) => Value::Bool(value),
        AttributeValue::N(digits) => Value::Number(digits.parse().ok()?),
        AttributeValue::S(value) => Value::String(value),
        AttributeValue::L(values) => {
            Value::Array(values.into_iter().map(to_json).collect::<Option<_>>()?)
        }
        AttributeValue::M(map) => Value::Object(
            map.into_iter()
                .map(|(name, value)| Some((name, to_json(value)?)))
                .collect::<Option<_>>()?,
        ),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_map, prelude::*};
    use serde_json::Map;

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
            prop_assert_eq!(to_item(from_item(&item)), item);
        }
    }

    #[test]
    fn values_that_are_never_written_here_are_left_out() {
        let written = HashMap::from(
            [
                (PARTITION, text("p")),
                (SORT, text("s")),
                (EXPIRY, text("tomorrow")),
                ("bytes", AttributeValue::Ss(Vec::new())),
                ("nested", AttributeValue::L(vec![AttributeValue::Ss(Vec::new())])),
                ("said", text("Hello")),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );

        let item = to_item(written);

        let kept = Map::from_iter([("said".to_owned(), Value::from("Hello"))]);
        assert_eq!((item.expires_at_seconds, item.attributes), (None, kept));
        assert_eq!(item.key, Key { partition: "p".to_owned(), sort: "s".to_owned() });
    }
}
