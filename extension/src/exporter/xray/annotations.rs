//! Annotations, which X-Ray indexes, and metadata, which holds all other values.
//!
//! X-Ray indexes 50 annotations of a trace, so an attribute becomes one only if the exporter's list or
//! the span's `aws.xray.annotations` names it.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue},
    trace::v1::Span,
};
use serde_json::json;

use crate::exporter::xray::{
    attributes::{Attributes, Slot, text},
    json_value::{MetadataValue, to_json},
    limits::{MAX_BLOCK_BYTES, MAX_TEXT_CHARS},
};
use crate::otlp::any_value::{JsonValue, unique_keys};
use crate::text::hex_id;

/// Metadata namespace of attributes that name no other.
const DEFAULT: &str = "default";

/// Prefix of attributes whose name ends with a namespace and whose value is JSON for it.
const METADATA: &str = "aws.xray.metadata.";

/// Most values of one key and namespace, a bound of the search for a free key. Further ones are left out.
const MAX_SAME_KEY: usize = 100;

pub(super) type Annotations<'a> = BTreeMap<Cow<'a, str>, MetadataValue<'a>>;

pub(super) type Metadata<'a> = BTreeMap<Cow<'a, str>, BTreeMap<Cow<'a, str>, MetadataValue<'a>>>;

/// The attributes that become annotations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnotationFilter(Vec<String>);

impl Default for AnnotationFilter {
    fn default() -> Self {
        Self(["app.*", "enduser.id", "http.route", "user.id"].map(str::to_owned).into())
    }
}

impl AnnotationFilter {
    /// Parses a comma list of attributes; `app.*` matches every attribute that begins with `app.`.
    pub fn parse(list: &str) -> Self {
        let keys = list.split(',').map(str::trim).filter(|key| !key.is_empty());
        Self(keys.map(str::to_owned).collect())
    }

    fn matches(&self, key: &str) -> bool {
        self.0.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => key.starts_with(prefix),
            None => key == pattern,
        })
    }
}

impl fmt::Display for AnnotationFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

/// Adds the attributes that the filter or the span names, until there are `limit` annotations.
pub(super) fn annotate<'a>(
    annotations: &mut Annotations<'a>,
    attributes: &mut Attributes<'a>,
    filter: &AnnotationFilter,
    limit: usize,
) {
    let own = attributes.take_texts(Slot::AnnotationKeys, usize::MAX);
    let mut room = MAX_BLOCK_BYTES;
    for (index, name, value) in attributes.all() {
        if annotations.len() >= limit
            || !(filter.matches(name) || own.iter().any(|key| key == name))
        {
            continue;
        }
        let (key, Some(value)) = (key(name), MetadataValue::of_annotation(value)) else { continue };
        let bytes = key.len() + to_json(&value).len() + 4; // `"key":value,`
        if bytes > room || annotations.contains_key(&key) {
            continue;
        }
        room -= bytes;
        if !value.is_cut() {
            attributes.take_at(index);
        }
        annotations.insert(key, value);
    }
}

/// Every version of X-Ray accepts letters, digits and `_` in a key; other characters become `_`.
fn key(name: &str) -> Cow<'_, str> {
    // Cruddur's first version indexed the application's name as `app`.
    let name = if name == "app.name" { "app" } else { name };
    let legal = |char: char| char.is_ascii_alphanumeric() || char == '_';
    if name.len() <= MAX_TEXT_CHARS && !name.is_empty() && name.chars().all(legal) {
        return Cow::Borrowed(name);
    }
    let key: String = name
        .chars()
        .take(MAX_TEXT_CHARS)
        .map(|char| if legal(char) { char } else { '_' })
        .collect();
    Cow::Owned(if key.is_empty() { "_".to_owned() } else { key })
}

/// The attributes, events and links that no other field covers. `covered_events` are indexes.
pub(super) fn metadata<'a>(
    span: &'a Span,
    attributes: &Attributes<'a>,
    covered_events: &[usize],
) -> Metadata<'a> {
    let mut metadata = Metadata::new();
    let untaken: Vec<_> = attributes.untaken().collect();
    let keys = unique_keys(untaken.iter().map(|(name, _)| *name));
    for ((name, value), key) in untaken.into_iter().zip(keys) {
        match name.strip_prefix(METADATA).and_then(|namespace| namespaced(namespace, value)) {
            Some((namespace, entries)) => {
                for (key, value) in entries {
                    add(&mut metadata, namespace, key, MetadataValue::Json(value));
                }
            }
            None => add(&mut metadata, DEFAULT, key, MetadataValue::Any(value)),
        }
    }
    // One key per event, so that trimming can omit a large event alone.
    let events = span.events.iter().enumerate();
    for (index, event) in events.filter(|(index, _)| !covered_events.contains(index)) {
        let attributes = fields(&event.attributes);
        let event = json!({
            "name": event.name, "time_unix_nano": event.time_unix_nano, "attributes": attributes,
        });
        add_default(&mut metadata, format!("otel.events.{index}"), MetadataValue::Json(event));
    }
    for (index, link) in span.links.iter().enumerate() {
        let mut fields = json!({ "attributes": fields(&link.attributes) });
        for (key, id) in [("trace_id", &link.trace_id), ("span_id", &link.span_id)] {
            let id = hex_id(id);
            if !id.is_empty() {
                fields[key] = id.into();
            }
        }
        let link = fields;
        add_default(&mut metadata, format!("otel.links.{index}"), MetadataValue::Json(link));
    }
    metadata
}

pub(super) fn add_default<'a>(
    metadata: &mut Metadata<'a>,
    key: impl Into<Cow<'a, str>>,
    value: MetadataValue<'a>,
) {
    add(metadata, DEFAULT, key, value);
}

/// A second value of a key gets the key `key#2`.
fn add<'a>(
    metadata: &mut Metadata<'a>,
    namespace: &'a str,
    key: impl Into<Cow<'a, str>>,
    value: MetadataValue<'a>,
) {
    let entries = metadata.entry(Cow::Borrowed(namespace)).or_default();
    let key = key.into();
    let numbered = (2..MAX_SAME_KEY).map(|number| Cow::Owned(format!("{key}#{number}")));
    let mut keys = std::iter::once(key.clone()).chain(numbered);
    if let Some(free) = keys.find(|key| !entries.contains_key(key)) {
        entries.insert(free, value);
    }
}

/// The members of a JSON object; any other JSON value gets the key `value`. `None` if the namespace is
/// empty or reserved by X-Ray, or if the text is not JSON.
fn namespaced<'a>(
    namespace: &'a str,
    value: &AnyValue,
) -> Option<(&'a str, serde_json::Map<String, serde_json::Value>)> {
    if namespace.is_empty() || namespace.starts_with("AWS.") {
        return None;
    }
    match serde_json::from_str(text(value)?).ok()? {
        serde_json::Value::Object(members) => Some((namespace, members)),
        other => Some((namespace, [("value".to_owned(), other)].into_iter().collect())),
    }
}

fn fields(attributes: &[KeyValue]) -> serde_json::Value {
    let value = |attribute: &KeyValue| {
        let value =
            attribute.value.as_ref().and_then(|value| serde_json::to_value(JsonValue(value)).ok());
        value.unwrap_or_default()
    };
    let keys = unique_keys(attributes.iter().map(|attribute| attribute.key.as_str()));
    keys.into_iter().map(Cow::into_owned).zip(attributes.iter().map(value)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::exporter::xray::tests::attributes;

    fn both(given: Value, filter: &AnnotationFilter, left: usize) -> (Value, Value) {
        let (list, mut annotations) = (attributes(given), Annotations::new());
        let (mut attributes, span) = (Attributes::new(&list), Span::default());
        annotate(&mut annotations, &mut attributes, filter, left);
        let metadata = metadata(&span, &attributes, &[]);
        (serde_json::to_value(annotations).unwrap(), serde_json::to_value(metadata).unwrap())
    }

    #[test]
    fn named_attributes_become_annotations_and_the_others_metadata() {
        let given = json!({
            "app.name": "cruddur", "app.result_length": 5, "http.route": "/a", "x.y": 1.5,
            "app.list": ["no", "scalar"],
        });
        assert_eq!(
            both(given, &AnnotationFilter::default(), 50),
            (
                json!({ "app": "cruddur", "app_result_length": 5, "http_route": "/a" }),
                json!({ "default": { "x.y": 1.5, "app.list": ["no", "scalar"] } })
            )
        );
    }

    #[test]
    fn a_span_may_name_further_annotations() {
        let given = json!({ "aws.xray.annotations": ["x.y"], "x.y": true, "z": 1 });
        assert_eq!(
            both(given, &AnnotationFilter::default(), 50),
            (json!({ "x_y": true }), json!({ "default": { "z": 1 } }))
        );
    }

    #[test]
    fn the_list_may_be_another_and_a_long_text_is_whole_in_metadata_only() {
        let long = "é".repeat(300);
        let given = json!({ "app.name": "cruddur", "a b": long });
        let (annotations, metadata) = both(given, &AnnotationFilter::parse(" a b ,,"), 50);
        assert_eq!(annotations, json!({ "a_b": "é".repeat(250) }));
        assert_eq!(metadata, json!({ "default": { "app.name": "cruddur", "a b": long } }));
    }

    #[test]
    fn there_are_no_more_annotations_than_are_left() {
        let given: Value = (0..60).map(|n| (format!("app.{n}"), json!(n))).collect();
        let (annotations, metadata) = both(given, &AnnotationFilter::default(), 7);
        assert_eq!(annotations.as_object().unwrap().len(), 7);
        assert_eq!(metadata["default"].as_object().unwrap().len(), 53);
    }

    #[test]
    fn events_and_links_have_keys_of_their_own() {
        use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
        let event = |name: &str| Event { name: name.to_owned(), ..Event::default() };
        let span = Span {
            events: vec![event("a"), event("b"), event("c")],
            links: vec![Link { span_id: vec![1; 8], ..Link::default() }],
            ..Span::default()
        };

        let metadata = metadata(&span, &Attributes::new(&[]), &[1]);

        let metadata = serde_json::to_value(metadata).unwrap();
        assert_eq!(metadata["default"]["otel.events.0"]["name"], "a");
        assert_eq!(metadata["default"]["otel.events.2"]["name"], "c");
        assert_eq!(metadata["default"]["otel.links.0"]["span_id"], "01".repeat(8));
        assert_eq!(metadata["default"].as_object().unwrap().len(), 3);
    }

    #[test]
    fn values_of_one_name_are_all_kept() {
        use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
        let mut list = attributes(json!({
            "aws.xray.metadata.default": r#"{"order":"of the namespace","otel.events.0":"x"}"#,
            "order": "of the attribute",
        }));
        list.extend(attributes(json!({ "order": 3 })));
        let twice = || [attributes(json!({ "a": 1 })), attributes(json!({ "a": 2 }))].concat();
        let span = Span {
            events: vec![Event { attributes: twice(), ..Event::default() }],
            links: vec![Link { trace_id: vec![0; 16], span_id: vec![0; 8], ..Link::default() }],
            ..Span::default()
        };

        let metadata = serde_json::to_value(metadata(&span, &Attributes::new(&list), &[])).unwrap();

        let metadata = &metadata["default"];
        assert_eq!(metadata["order"], "of the namespace");
        let members = metadata.as_object().unwrap().iter();
        let order: Vec<_> = members.filter(|(key, _)| key.starts_with("order#")).collect();
        assert_eq!(order.len(), 2, "{metadata}");
        assert!(order.iter().any(|(_, value)| **value == 3), "{metadata}");
        assert_eq!(metadata["otel.events.0"], "x");
        assert_eq!(metadata["otel.events.0#2"]["attributes"], json!({ "a": 1, "a#2": 2 }));
        assert_eq!(metadata["otel.links.0"], json!({ "attributes": {} }), "ids of zeros are unset");
    }

    #[test]
    fn a_key_of_a_map_that_is_there_twice_is_a_member_once() {
        use opentelemetry_proto::tonic::common::v1::{KeyValueList, any_value};
        let values = [attributes(json!({ "x": 1 })), attributes(json!({ "x": 2 }))].concat();
        let map = any_value::Value::KvlistValue(KeyValueList { values });
        let json = to_json(&MetadataValue::Any(&AnyValue { value: Some(map) }));

        assert_eq!(json, r#"{"x":1,"x#2":2}"#);
    }

    #[test]
    fn metadata_may_have_a_namespace_of_its_own() {
        let given = json!({
            "aws.xray.metadata.crud": r#"{"id":7}"#, "aws.xray.metadata.list": "[1]",
            "aws.xray.metadata.AWS.x": "{}", "aws.xray.metadata.bad": "{",
        });
        let expected = json!({
            "crud": { "id": 7 }, "list": { "value": [1] },
            "default": { "aws.xray.metadata.AWS.x": "{}", "aws.xray.metadata.bad": "{" },
        });
        assert_eq!(both(given, &AnnotationFilter::default(), 50), (json!({}), expected));
    }
}
