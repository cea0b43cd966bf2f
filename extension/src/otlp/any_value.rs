//! Attribute values as JSON and as text.

use std::borrow::Cow;

use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value};
use serde::{Serialize, Serializer};

use crate::text::{hex, without_colours};

/// Most values of a list that its text shows.
const MAX_SHOWN_VALUES: usize = 20;

/// Serialises to JSON: texts without terminal colours, bytes as hex digits, NaN and infinities as text.
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
            Some(Value::DoubleValue(number)) => serializer.collect_str(number),
            Some(Value::BytesValue(bytes)) => serializer.serialize_str(&hex(bytes)),
            Some(Value::ArrayValue(array)) => {
                serializer.collect_seq(array.values.iter().map(JsonValue))
            }
            Some(Value::KvlistValue(list)) => {
                let entries = list.values.iter();
                serializer.collect_map(
                    entries.map(|entry| (&entry.key, entry.value.as_ref().map(JsonValue))),
                )
            }
            // An index into a table that only profiles have.
            Some(Value::StringValueStrindex(_)) | None => serializer.serialize_none(),
        }
    }
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
