//! Values of annotations and metadata: borrowed attributes, texts, or JSON.

use std::borrow::Cow;

use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value};
use serde::{Serialize, Serializer, ser::Error};

use crate::exporter::xray::limits::{MAX_TEXT_CHARS, cut};
use crate::otlp::any_value::JsonValue;

/// Serialises to JSON: bytes as hex digits, NaN and infinities as text.
#[derive(Clone, Debug)]
pub(super) enum MetadataValue<'a> {
    Any(&'a AnyValue),
    Text(Cow<'a, str>),
    Json(serde_json::Value),
}

impl<'a> MetadataValue<'a> {
    /// A text cut to [`MAX_TEXT_CHARS`], a finite number or a bool; `None` for other types.
    pub(super) fn of_annotation(value: &'a AnyValue) -> Option<Self> {
        match value.value.as_ref()? {
            Value::StringValue(text) => Some(Self::Text(cut(text, MAX_TEXT_CHARS))),
            Value::DoubleValue(number) if !number.is_finite() => None,
            Value::BoolValue(_) | Value::IntValue(_) | Value::DoubleValue(_) => {
                Some(Self::Any(value))
            }
            _ => None,
        }
    }

    /// Whether the value was too long for an annotation.
    pub(super) fn is_cut(&self) -> bool {
        matches!(self, Self::Text(Cow::Owned(_)))
    }
}

impl Serialize for MetadataValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Any(value) => JsonValue(value).serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Json(value) => value.serialize(serializer),
        }
    }
}

pub(super) fn to_json<S: Serialize + ?Sized>(value: &S) -> String {
    serde_json::to_string(value)
        .unwrap_or_else(|error| serde_json::Error::custom(error).to_string())
}
