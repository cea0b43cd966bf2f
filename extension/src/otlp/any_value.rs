//! Attribute values as JSON and as text.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value};
use serde::{Serialize, Serializer};

use crate::text::{hex, without_colours};

/// Most values of a list that its text shows.
const MAX_SHOWN_VALUES: usize = 20;

/// Serialises to JSON: texts without terminal colours, bytes as hex digits, NaN and infinities as
/// text, and each key of a map once.
pub(crate) struct JsonValue<'a>(pub(crate) &'a AnyValue);

impl Serialize for JsonValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.value.as_ref() {
            Some(Value::StringValue(text)) => serializer.serialize_str(&without_colours(text)),
            Some(Value::BoolValue(value)) => serializer.serialize_bool(*value),
            Some(Value::IntValue(number)) => serializer.serialize_i64(*number),
            Some(Value::DoubleValue(number)) if number.is_finite() => {
                serializer.serialize_f64(*number)
            }
            Some(Value::DoubleValue(number)) => serializer.serialize_str(non_finite(*number)),
            Some(Value::BytesValue(bytes)) => serializer.serialize_str(&hex(bytes)),
            Some(Value::ArrayValue(array)) => {
                serializer.collect_seq(array.values.iter().map(JsonValue))
            }
            Some(Value::KvlistValue(list)) => {
                let keys = unique_keys(list.values.iter().map(|entry| entry.key.as_str()));
                let values = list.values.iter().map(|entry| entry.value.as_ref().map(JsonValue));
                serializer.collect_map(keys.into_iter().zip(values))
            }
            // An index into a table that only profiles have.
            Some(Value::StringValueStrindex(_)) | None => serializer.serialize_none(),
        }
    }
}

/// As ProtoJSON writes it: <https://protobuf.dev/programming-guides/json/>
fn non_finite(number: f64) -> &'static str {
    match number {
        f64::INFINITY => "Infinity",
        f64::NEG_INFINITY => "-Infinity",
        _ => "NaN",
    }
}

/// The keys in order, each once: the second `key` becomes `key#2`, so that both values are kept.
pub(crate) fn unique_keys<'a>(keys: impl Iterator<Item = &'a str>) -> Vec<Cow<'a, str>> {
    let keys: Vec<_> = keys.collect();
    let mut counts: HashMap<&str, usize> = keys.iter().map(|key| (*key, 0)).collect();
    if counts.len() == keys.len() {
        return keys.into_iter().map(Cow::Borrowed).collect();
    }
    let known: HashSet<&str> = counts.keys().copied().collect();
    let unique = |key: &'a str| {
        let count = counts.entry(key).or_default();
        *count += 1;
        if *count == 1 {
            return Cow::Borrowed(key);
        }
        let mut numbered = format!("{key}#{count}");
        while known.contains(numbered.as_str()) {
            *count += 1;
            numbered = format!("{key}#{count}");
        }
        Cow::Owned(numbered)
    };
    keys.into_iter().map(unique).collect()
}

/// A text as it is, the first values of a list joined by commas, anything else as JSON. Empty without a
/// value.
pub(crate) fn text(value: Option<&AnyValue>) -> Cow<'_, str> {
    match value.and_then(|any| Some((any, any.value.as_ref()?))) {
        None => Cow::Borrowed(""),
        Some((_, Value::StringValue(text))) => Cow::Borrowed(text),
        Some((_, Value::ArrayValue(list))) => {
            let shown = list.values.iter().take(MAX_SHOWN_VALUES);
            Cow::Owned(shown.map(|value| text(Some(value))).collect::<Vec<_>>().join(", "))
        }
        Some((any, _)) => {
            let json = serde_json::to_string(&JsonValue(any)).unwrap_or_default();
            Cow::Owned(json.trim_matches('"').to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_key_gets_a_number_that_no_other_key_has() {
        for (keys, expected) in [
            (vec!["a", "b"], vec!["a", "b"]),
            (vec!["a", "a", "b", "a"], vec!["a", "a#2", "b", "a#3"]),
            (vec!["a", "a", "a#2", "a"], vec!["a", "a#3", "a#2", "a#4"]),
            (vec!["a#2", "a", "a#2", "a"], vec!["a#2", "a", "a#2#2", "a#3"]),
            (vec!["", ""], vec!["", "#2"]),
        ] {
            assert_eq!(unique_keys(keys.into_iter()), expected);
        }
    }
}
