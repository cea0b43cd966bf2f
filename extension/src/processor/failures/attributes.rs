//! The attributes of spans and records that items show.

use std::{collections::BTreeMap, sync::Arc};

use opentelemetry_proto::tonic::common::v1::KeyValue;
use prost::Message as _;

use crate::otlp::any_value::{text, unique_keys};
use crate::otlp::payload::XRAY_HEADER_KEY;
use crate::otlp::wire::nested;
use crate::processor::failures::kept_text::cut;
use crate::processor::failures::truncate::cut_to;

pub(super) type Texts = BTreeMap<String, String>;

/// Prefixes of the attributes that are kept; all others are dropped.
const KEPT_PREFIXES: [&str; 17] = [
    "app.user_",
    "aws.lambda.",
    "client.",
    "cloud.",
    XRAY_HEADER_KEY,
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

/// Most attributes that are kept: well above the number in the semantic conventions.
pub(super) const MAX_ATTRIBUTES: usize = 100;

/// The attributes of a span or record, and those of its resource, which are shared.
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

    /// The value of the first key that is set; `None` if that value is empty.
    pub(super) fn first(&self, keys: &[&str]) -> Option<&str> {
        keys.iter().find_map(|key| self.get(key)).filter(|text| !text.is_empty())
    }
}

/// Decodes the first [`MAX_ATTRIBUTES`] kept attributes of encoded `KeyValue`s.
pub(super) fn kept<'a>(attributes: impl Iterator<Item = &'a [u8]>) -> Texts {
    let is_kept = |pair: &&[u8]| {
        let key = nested(pair, 1).last().unwrap_or_default();
        KEPT_PREFIXES.iter().any(|prefix| key.starts_with(prefix.as_bytes()))
    };
    // Decoding succeeds, because the receiver has checked the message.
    let decoded = attributes.filter(is_kept).filter_map(|pair| KeyValue::decode(pair).ok());
    texts(decoded.take(MAX_ATTRIBUTES))
}

/// All attributes as truncated texts.
pub(super) fn texts(attributes: impl Iterator<Item = KeyValue>) -> Texts {
    let attributes: Vec<_> = attributes.collect();
    let keys = unique_keys(attributes.iter().map(|attribute| attribute.key.as_str()));
    let values = attributes.iter().map(|attribute| cut(&text(attribute.value.as_ref())));
    keys.iter().map(|key| cut_to(key, 255)).zip(values).collect::<BTreeMap<_, _>>()
}

/// The text of an attribute; empty if it is missing.
pub(super) fn attribute(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    found.map(|found| text(found.value.as_ref()).into_owned()).unwrap_or_default()
}
