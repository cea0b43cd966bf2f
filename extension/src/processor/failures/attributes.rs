//! What attributes tell of a request and of who served it.

use std::{collections::BTreeMap, sync::Arc};

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use prost::Message as _;

use crate::{
    otlp::wire::nested,
    processor::failures::{item::Texts, kept_text::cut, truncate::cut_to},
};

/// Attributes that tell something to whoever reads an item; no other is kept, whatever it holds.
const TOLD: [&str; 17] = [
    "app.user_",
    "aws.lambda.",
    "client.",
    "cloud.",
    "cruddur.xray_header",
    "enduser.",
    "error.type",
    "faas.",
    "http.",
    "net.",
    "process.runtime.name",
    "server.",
    "service.",
    "telemetry.sdk.language",
    "url.",
    "user.",
    "user_agent.",
];

/// Most attributes that are kept. Our choice, well above the conventions' own number.
pub(super) const MAX_FACTS: usize = 100;

/// A span's or record's own attributes, and those of its resource, which all of it share.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct SelectedAttributes {
    pub(super) resource: Arc<Texts>,
    pub(super) own: Texts,
}

impl SelectedAttributes {
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        let found = self.own.get(key).or_else(|| self.resource.get(key));
        found.map(String::as_str)
    }

    /// The value of the first attribute that is there, unless it is empty.
    pub(super) fn first(&self, keys: &[&str]) -> Option<&str> {
        keys.iter().find_map(|key| self.get(key)).filter(|text| !text.is_empty())
    }
}

/// Those of encoded `KeyValue`s that are told.
pub(super) fn told<'a>(attributes: impl Iterator<Item = &'a [u8]>) -> Texts {
    let is_told = |pair: &&[u8]| {
        let key = nested(pair, 1).last().unwrap_or_default();
        TOLD.iter().any(|prefix| key.starts_with(prefix.as_bytes()))
    };
    // The receiver has checked them: they decode.
    let decoded = attributes.filter(is_told).filter_map(|pair| KeyValue::decode(pair).ok());
    texts(decoded.take(MAX_FACTS))
}

/// All of them as texts, cut.
pub(super) fn texts(attributes: impl Iterator<Item = KeyValue>) -> Texts {
    let pair = |it: KeyValue| (cut_to(&it.key, 255), cut(&text(it.value.as_ref())));
    attributes.map(pair).collect::<BTreeMap<_, _>>()
}

/// The text of an attribute; empty if it is not there.
pub(super) fn attribute(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    found.map(|found| text(found.value.as_ref())).unwrap_or_default()
}

/// A value as text; the values of a list with commas between them. Maps and bytes say nothing.
pub(super) fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        Some(any_value::Value::BoolValue(it)) => it.to_string(),
        Some(any_value::Value::IntValue(it)) => it.to_string(),
        Some(any_value::Value::DoubleValue(it)) => it.to_string(),
        Some(any_value::Value::ArrayValue(list)) => {
            let texts: Vec<_> = list.values.iter().take(20).map(|it| text(Some(it))).collect();
            texts.join(", ")
        }
        _ => String::new(),
    }
}
