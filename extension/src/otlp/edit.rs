//! Edits a received request without decoding it. All functions expect a checked request.

use crate::otlp::wire::{Value, fields, nested, next_field, raw_fields};

/// The field of `ResourceSpans`, `ResourceLogs` and `ResourceMetrics` that holds the resource.
pub(super) const RESOURCE: u32 = 1;
/// The field of a request that holds the items by resource.
pub(crate) const RESOURCES: u32 = 1;
/// The field that holds a resource's scopes, and a scope's items.
pub(super) const CHILDREN: u32 = 2;
/// The field of a resource that holds its attributes.
pub(super) const ATTRIBUTES: u32 = 1;

/// Most resources of a request that get an attribute, so that millions of empty resources do not
/// become hundreds of megabytes. An SDK sends one resource, a collector a few.
const MAX_EDITED: usize = 10_000;

/// Splits a request into requests of at most `max_bytes` and a few bytes of field keys, and leaves out
/// items that `keep` rejects.
///
/// Each part repeats its resource and scope. A part is larger if a single item is, or if the repeated
/// resources would make all parts together many times the request's size.
pub fn regroup(
    request: &[u8],
    max_bytes: usize,
    mut keep: impl FnMut(&[u8]) -> bool,
) -> Vec<Vec<u8>> {
    let (mut requests, mut part) = (Vec::new(), Vec::new());
    for resource in nested(request, RESOURCES) {
        let resource_head = head(resource);
        for scope in nested(resource, CHILDREN) {
            let scope_head = head(scope);
            let mut items = Vec::new();
            for item in nested(scope, CHILDREN).filter(|item| keep(item)) {
                let used = part.len() + items.len();
                let heads = resource_head.len() + scope_head.len();
                if used > heads / 2 && used + heads + item.len() > max_bytes {
                    push_scope(&mut part, &resource_head, &scope_head, &items);
                    requests.push(std::mem::take(&mut part));
                    items.clear();
                }
                push_item(&mut items, item);
            }
            push_scope(&mut part, &resource_head, &scope_head, &items);
        }
    }
    requests.push(part);
    requests.retain(|request| !request.is_empty());
    requests
}

/// Splits a request into one for each resource.
pub fn by_resource(request: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    nested(request, RESOURCES).map(|resource| {
        let mut part = Vec::new();
        push_message(&mut part, RESOURCES, resource);
        part
    })
}

/// Adds the attribute to each resource without it, to `MAX_EDITED` resources at most. `None` if no
/// resource lacks it.
///
/// Each edited resource stays one field: Honeycomb's decoder reads the first one alone.
/// <https://github.com/honeycombio/husky/blob/main/otlp/traces_direct.go>
pub fn with_resource_attribute(request: &[u8], key: &str, text: &str) -> Option<Vec<u8>> {
    let lacks = |resource_spans: &[u8]| {
        let attributes = nested(resource_spans, RESOURCE).flat_map(|it| nested(it, ATTRIBUTES));
        !attributes.flat_map(|pair| nested(pair, 1)).any(|found| found == key.as_bytes())
    };
    if !nested(request, RESOURCES).any(lacks) {
        return None;
    }
    let mut added = Vec::new();
    push_text_attribute(&mut added, ATTRIBUTES, key, text);
    let mut edited = Vec::with_capacity(request.len() + added.len() + 16);
    let mut left = MAX_EDITED;
    for resource_spans in nested(request, RESOURCES) {
        if left > 0 && lacks(resource_spans) {
            left -= 1;
            push_message(&mut edited, RESOURCES, &with_resource(resource_spans, &added));
        } else {
            push_message(&mut edited, RESOURCES, resource_spans);
        }
    }
    Some(edited)
}

/// Appends encoded fields to the resource. Several resources become one, as decoders merge them.
fn with_resource(resource_spans: &[u8], added: &[u8]) -> Vec<u8> {
    let mut resource: Vec<u8> = nested(resource_spans, RESOURCE).flatten().copied().collect();
    resource.extend_from_slice(added);
    let mut edited = Vec::with_capacity(resource_spans.len() + added.len() + 16);
    push_message(&mut edited, RESOURCE, &resource);
    let others = raw_fields(resource_spans).filter(|(number, _)| *number != RESOURCE);
    others.for_each(|(_, raw)| edited.extend_from_slice(raw));
    edited
}

/// Appends an item to the encoded items of a scope.
pub fn push_item(items: &mut Vec<u8>, item: &[u8]) {
    push_message(items, CHILDREN, item);
}

/// Appends a resource with one scope to a request, unless it has no items. `items` are encoded by
/// [`push_item`], the heads by [`head`].
pub(crate) fn push_scope(
    request: &mut Vec<u8>,
    resource_head: &[u8],
    scope_head: &[u8],
    items: &[u8],
) {
    if items.is_empty() {
        return;
    }
    let scope_bytes = scope_head.len() + items.len();
    let mut scope_key = Vec::new();
    push_key(&mut scope_key, CHILDREN, LENGTH_DELIMITED);
    push_varint(&mut scope_key, scope_bytes as u64);
    let resource_bytes = resource_head.len() + scope_key.len() + scope_bytes;
    push_key(request, RESOURCES, LENGTH_DELIMITED);
    push_varint(request, resource_bytes as u64);
    for part in [resource_head, &scope_key, scope_head, items] {
        request.extend_from_slice(part);
    }
}

/// A resource's or scope's own fields: its description and the schema's URL. Fields of other wire
/// types are left out; OTLP does not use them there.
pub fn head(message: &[u8]) -> Vec<u8> {
    let mut head = Vec::new();
    for (number, value) in fields(message).flatten() {
        if let (Value::Bytes(bytes), true) = (value, number != CHILDREN) {
            push_message(&mut head, number, bytes);
        }
    }
    head
}

/// Appends a message's fields without those of these numbers. Neighbours are copied in one piece.
pub fn push_fields_except(target: &mut Vec<u8>, message: &[u8], numbers: &[u32]) {
    let (mut rest, mut kept) = (message, message);
    while !rest.is_empty() {
        let before = rest;
        let Ok((number, _)) = next_field(&mut rest) else { return };
        if numbers.contains(&number) {
            target.extend_from_slice(&kept[..kept.len() - before.len()]);
            kept = rest;
        }
    }
    target.extend_from_slice(kept);
}

/// Appends an attribute with a text to a message whose field `number` holds attributes.
pub fn push_text_attribute(target: &mut Vec<u8>, number: u32, key: &str, text: &str) {
    let (mut value, mut attribute) = (Vec::new(), Vec::new());
    push_message(&mut value, 1, text.as_bytes());
    push_message(&mut attribute, 1, key.as_bytes());
    push_message(&mut attribute, 2, &value);
    push_message(target, number, &attribute);
}

/// Appends a field of 8 bytes.
pub fn push_fixed64(target: &mut Vec<u8>, number: u32, value: u64) {
    push_key(target, number, 1);
    target.extend_from_slice(&value.to_le_bytes());
}

/// Appends a field of 4 bytes.
pub fn push_fixed32(target: &mut Vec<u8>, number: u32, value: u32) {
    push_key(target, number, 5);
    target.extend_from_slice(&value.to_le_bytes());
}

/// Appends a field that holds bytes: a string or a nested message.
pub fn push_message(target: &mut Vec<u8>, number: u32, message: &[u8]) {
    push_key(target, number, LENGTH_DELIMITED);
    push_varint(target, message.len() as u64);
    target.extend_from_slice(message);
}

/// Begins a field whose bytes are appended later. Returns the position for [`end_message`].
pub(super) fn begin_message(target: &mut Vec<u8>, number: u32) -> usize {
    push_key(target, number, LENGTH_DELIMITED);
    target.push(0); // the length, if it is less than 128
    target.len()
}

/// Sets the length of a field to the bytes appended since [`begin_message`].
pub(super) fn end_message(target: &mut Vec<u8>, start: usize) {
    let mut length = Vec::new();
    push_varint(&mut length, (target.len() - start) as u64);
    target.splice(start - 1..start, length);
}

const LENGTH_DELIMITED: u8 = 2;

pub(super) fn push_key(target: &mut Vec<u8>, number: u32, wire_type: u8) {
    push_varint(target, u64::from(number) << 3 | u64::from(wire_type));
}

pub(super) fn push_varint(target: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        target.push(number as u8 | 0x80);
        number >>= 7;
    }
    target.push(number as u8);
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::{
        collector::trace::v1::ExportTraceServiceRequest,
        common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
        resource::v1::Resource,
        trace::v1::{ResourceSpans, ScopeSpans, Span},
    };
    use prost::Message;

    use super::*;

    fn text(key: &str, text: &str) -> KeyValue {
        let value = any_value::Value::StringValue(text.into());
        let value = Some(AnyValue { value: Some(value) });
        KeyValue { key: key.into(), value, ..KeyValue::default() }
    }

    fn resource(attributes: Vec<KeyValue>, names: &[&str]) -> ResourceSpans {
        let spans = names.iter().map(|name| Span { name: (*name).into(), ..Span::default() });
        let scope =
            InstrumentationScope { name: "scope".into(), ..InstrumentationScope::default() };
        ResourceSpans {
            resource: Some(Resource { attributes, ..Resource::default() }),
            scope_spans: vec![ScopeSpans {
                scope: Some(scope),
                spans: spans.collect(),
                schema_url: "scope's".into(),
            }],
            schema_url: "resource's".into(),
        }
    }

    fn encode(resource_spans: Vec<ResourceSpans>) -> Vec<u8> {
        ExportTraceServiceRequest { resource_spans }.encode_to_vec()
    }

    fn decode(request: &[u8]) -> Vec<ResourceSpans> {
        ExportTraceServiceRequest::decode(request).unwrap().resource_spans
    }

    #[test]
    fn a_request_is_cut_between_spans_and_each_part_says_where_they_came_from() {
        let names = ["1", "2", "3"].map(|name| name.repeat(40));
        let names = names.each_ref().map(String::as_str);
        let request = encode(vec![resource(vec![text("a", "1")], &names)]);

        let parts = regroup(&request, 100, |_| true);

        let expected = names.map(|name| vec![resource(vec![text("a", "1")], &[name])]);
        assert_eq!(parts.iter().map(|part| decode(part)).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_request_that_fits_stays_one_and_loses_only_what_is_not_kept() {
        let request =
            encode(vec![resource(vec![], &["keep", "drop"]), resource(vec![], &["drop"])]);

        let parts = regroup(&request, 1_000, |span| nested(span, 5).all(|name| name == b"keep"));

        assert_eq!(parts.len(), 1);
        assert_eq!(decode(&parts[0]), [resource(vec![], &["keep"])]);
    }

    #[test]
    fn an_attribute_is_added_where_it_is_missing_and_nowhere_else() {
        let named = resource(vec![text("service.name", "own")], &["x"]);
        let without = ResourceSpans { resource: None, ..resource(vec![], &["z"]) };
        let request = encode(vec![named.clone(), resource(vec![text("a", "1")], &["y"]), without]);

        let edited = with_resource_attribute(&request, "service.name", "given").unwrap();

        let expected = [
            named.clone(),
            resource(vec![text("a", "1"), text("service.name", "given")], &["y"]),
            resource(vec![text("service.name", "given")], &["z"]),
        ];
        assert_eq!(decode(&edited), expected);
        let resources = |it| nested(it, RESOURCE).count();
        assert_eq!(nested(&edited, RESOURCES).map(resources).collect::<Vec<_>>(), [1, 1, 1]);
        assert!(with_resource_attribute(&encode(vec![named]), "service.name", "given").is_none());
    }

    #[test]
    fn a_request_of_very_many_resources_grows_by_a_bounded_number_of_attributes() {
        let request = [RESOURCES as u8 * 8 + 2, 0].repeat(1_000_000); // empty ones

        let edited = with_resource_attribute(&request, "service.name", "given").unwrap();

        let named = decode(&edited).iter().filter(|it| it.resource.is_some()).count();
        assert_eq!((decode(&edited).len(), named), (1_000_000, MAX_EDITED));
        assert!(edited.len() < request.len() + 40 * MAX_EDITED, "{}", edited.len());
    }

    #[test]
    fn a_large_resource_with_many_items_is_not_repeated_for_each() {
        let names = ["item"; 1_000];
        let request = encode(vec![resource(vec![text("a", &"x".repeat(10_000))], &names)]);

        let parts = regroup(&request, 10_100, |_| true);

        let found = |part: &Vec<u8>| decode(part)[0].scope_spans[0].spans.len();
        assert_eq!(parts.iter().map(found).sum::<usize>(), names.len());
        let bytes: usize = parts.iter().map(Vec::len).sum();
        assert!(bytes < 4 * request.len(), "{bytes} of {}", request.len());
    }
}
