//! Cuts the longest values of a message until it fits into a limit, and then leaves out its last ones.

use std::borrow::Cow;

use crate::otlp::edit::{begin_message, end_message, push_message};
use crate::otlp::schema::{FieldKind, Schema};
use crate::otlp::wire::{Value, next_field};

/// Most bytes of a text, tried in this order: the beginning of a query or message still identifies it.
const MAX_TEXT_BYTES: [usize; 4] = [4_096, 1_024, 256, 64];

/// Bytes of the keys and lengths around the values that were left out, at most.
const MARGIN: usize = 64;

/// The message with its texts cut to the largest size at which it has at most `max_bytes`. If it is too large
/// with texts of 64 bytes, attributes and other repeated parts without room are left out. `None` if that does
/// not suffice. Expects a checked message.
pub fn cut_to<'a>(schema: &Schema, message: &'a [u8], max_bytes: usize) -> Option<Cow<'a, [u8]>> {
    if message.len() <= max_bytes {
        return Some(Cow::Borrowed(message));
    }
    let whole = MAX_TEXT_BYTES.map(|most| (most, usize::MAX));
    let parts = (MAX_TEXT_BYTES[3], max_bytes.saturating_sub(MARGIN));
    whole.into_iter().chain([parts]).find_map(|(most, room)| {
        let mut out = Vec::with_capacity(max_bytes);
        push_cut(schema, message, most, room, &mut out);
        (out.len() <= max_bytes).then_some(Cow::Owned(out))
    })
}

/// `most` bounds each text. A repeated message is left out if `out` would have more bytes than `room`.
fn push_cut(schema: &Schema, message: &[u8], most: usize, room: usize, out: &mut Vec<u8>) {
    let mut rest = message;
    while !rest.is_empty() {
        let before = rest;
        let Ok((number, value)) = next_field(&mut rest) else { return };
        match (schema.kind(number), value) {
            (FieldKind::Text | FieldKind::Texts, Value::Bytes(text)) => {
                push_message(out, number, beginning(text, most));
            }
            (FieldKind::Bytes, Value::Bytes(bytes)) => {
                push_message(out, number, &bytes[..bytes.len().min(most)]);
            }
            (
                kind @ (FieldKind::Message(schema)
                | FieldKind::Messages(schema)
                | FieldKind::Items(schema)),
                Value::Bytes(message),
            ) => {
                let before = out.len();
                let start = begin_message(out, number);
                push_cut(schema, message, most, room, out);
                end_message(out, start);
                if out.len() > room && !matches!(kind, FieldKind::Message(_)) {
                    out.truncate(before);
                }
            }
            _ => out.extend_from_slice(&before[..before.len() - rest.len()]),
        }
    }
}

/// At most so many bytes of a text, cut between characters.
fn beginning(text: &[u8], most: usize) -> &[u8] {
    let text = std::str::from_utf8(text).unwrap_or_default();
    &text.as_bytes()[..text.floor_char_boundary(most)]
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::{
        common::v1::{AnyValue, KeyValue, any_value},
        trace::v1::{Span, span::Event},
    };
    use prost::Message;

    use super::*;
    use crate::otlp::schema::SPAN;

    fn attribute(key: &str, text: &str) -> KeyValue {
        let value = Some(any_value::Value::StringValue(text.to_owned()));
        KeyValue { key: key.to_owned(), value: Some(AnyValue { value }), ..KeyValue::default() }
    }

    #[test]
    fn the_longest_texts_are_cut_between_characters_and_short_ones_stay() {
        let span = Span {
            trace_id: vec![1; 16],
            name: "short".to_owned(),
            attributes: vec![attribute("a", "short"), attribute("b", &"é".repeat(10_000))],
            events: vec![Event { name: "x".repeat(5_000), ..Event::default() }],
            ..Span::default()
        };
        let bytes = span.encode_to_vec();

        let cut = Span::decode(&*cut_to(&SPAN, &bytes, 9_000).unwrap()).unwrap();

        assert_eq!((&cut.trace_id, &cut.name), (&span.trace_id, &span.name));
        assert_eq!(cut.attributes, [attribute("a", "short"), attribute("b", &"é".repeat(2_048))]);
        assert_eq!(cut.events[0].name, "x".repeat(4_096));
        let smaller = cut_to(&SPAN, &bytes, 3_000).unwrap();
        assert_eq!(Span::decode(&*smaller).unwrap().events[0].name.len(), 1_024);
    }

    #[test]
    fn a_message_that_fits_stays_and_one_of_many_short_texts_loses_the_last_ones() {
        let attributes: Vec<_> = (0..1_000).map(|n| attribute(&n.to_string(), "value")).collect();
        let span = Span { name: "name".to_owned(), attributes, ..Span::default() };
        let bytes = span.encode_to_vec();

        assert!(matches!(cut_to(&SPAN, &bytes, bytes.len()), Some(Cow::Borrowed(_))));
        let half = cut_to(&SPAN, &bytes, bytes.len() / 2).unwrap();
        let cut = Span::decode(&*half).unwrap();
        assert!((450..500).contains(&cut.attributes.len()), "{}", cut.attributes.len());
        assert_eq!(cut.attributes, span.attributes[..cut.attributes.len()]);
        assert_eq!(cut.name, "name");
        let name = Span { name: "x".repeat(64), ..Span::default() }.encode_to_vec();
        assert_eq!(cut_to(&SPAN, &name, 60), None);
    }
}
