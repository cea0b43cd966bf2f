//! Keeps the readable part of a request that [`wire::check`](crate::otlp::wire::check) rejects.
//!
//! | damage | result |
//! |---|---|
//! | a string that is not UTF-8 | the invalid bytes become U+FFFD |
//! | a malformed span, log record, metric or data point | it is left out and counted |
//! | a metric without a well-formed data point | it is left out |
//! | damage outside of the items | the request stays malformed |

use crate::otlp::edit::{begin_message, end_message, push_message};
use crate::otlp::schema::{FieldKind, Schema};
use crate::otlp::wire::{MAX_DEPTH, Malformed, Value, check_value, next_field};

/// A request that passes the check.
#[derive(Debug, PartialEq, Eq)]
pub struct RepairedRequest {
    pub bytes: Vec<u8>,
    /// Number of malformed items, which are left out.
    pub dropped: u64,
    /// The first problem of an item.
    pub reason: Option<Malformed>,
}

/// Fails if the damage is not within items or strings.
pub fn repair(schema: &Schema, request: &[u8]) -> Result<RepairedRequest, Malformed> {
    let mut found = LeftOut::default();
    let mut bytes = Vec::with_capacity(request.len());
    rewrite(schema, request, 0, &mut bytes, &mut found)?;
    Ok(RepairedRequest { bytes, dropped: found.dropped, reason: found.reason })
}

#[derive(Default)]
struct LeftOut {
    kept: u64,
    dropped: u64,
    reason: Option<Malformed>,
}

/// `level` is the depth of the message within the request.
fn rewrite(
    schema: &Schema,
    message: &[u8],
    level: u32,
    out: &mut Vec<u8>,
    found: &mut LeftOut,
) -> Result<(), Malformed> {
    if level > MAX_DEPTH {
        return Err(Malformed("nested too deeply"));
    }
    let mut rest = message;
    while !rest.is_empty() {
        let before = rest;
        let (number, value) = next_field(&mut rest)?;
        match (schema.kind(number), value) {
            (FieldKind::Text | FieldKind::Texts, Value::Bytes(text)) => {
                push_message(out, number, String::from_utf8_lossy(text).as_bytes());
            }
            (FieldKind::Items(schema), Value::Bytes(item)) => {
                let (kept, dropped, start) = (found.kept, found.dropped, out.len());
                let result = rewrite_nested(number, schema, item, level, out, found);
                let is_emptied = found.dropped > dropped && found.kept == kept;
                found.kept = kept;
                match result {
                    Ok(()) if !is_emptied => found.kept += 1,
                    Ok(()) => out.truncate(start),
                    Err(error) => {
                        out.truncate(start);
                        found.dropped += 1;
                        found.reason.get_or_insert(error);
                    }
                }
            }
            (FieldKind::Message(schema) | FieldKind::Messages(schema), Value::Bytes(message)) => {
                rewrite_nested(number, schema, message, level, out, found)?;
            }
            (kind, value) => {
                check_value(kind, value)?;
                out.extend_from_slice(&before[..before.len() - rest.len()]);
            }
        }
    }
    Ok(())
}

fn rewrite_nested(
    number: u32,
    schema: &Schema,
    message: &[u8],
    level: u32,
    out: &mut Vec<u8>,
    found: &mut LeftOut,
) -> Result<(), Malformed> {
    let start = begin_message(out, number);
    rewrite(schema, message, level + 1, out, found)?;
    end_message(out, start);
    Ok(())
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::otlp::edit::regroup;
    use crate::otlp::schema::{METRICS_REQUEST, TRACES_REQUEST};
    use crate::otlp::wire::check;

    /// Field 2 of a `KeyValue`: an `AnyValue` with this text.
    fn text(text: &[u8]) -> Vec<u8> {
        let (mut value, mut pair) = (Vec::new(), Vec::new());
        push_message(&mut value, 1, text);
        push_message(&mut pair, 1, b"key");
        push_message(&mut pair, 2, &value);
        pair
    }

    fn span(name: &[u8], attribute: &[u8]) -> Vec<u8> {
        let mut span = Vec::new();
        push_message(&mut span, 5, name);
        push_message(&mut span, 9, attribute);
        span
    }

    fn request(spans: &[Vec<u8>]) -> Vec<u8> {
        let (mut scope, mut resource, mut request) = (Vec::new(), Vec::new(), Vec::new());
        spans.iter().for_each(|span| push_message(&mut scope, 2, span));
        push_message(&mut resource, 2, &scope);
        push_message(&mut request, 1, &resource);
        request
    }

    fn names(request: &[u8]) -> Vec<(String, String)> {
        let request = ExportTraceServiceRequest::decode(request).unwrap();
        let spans = request.resource_spans.into_iter().flat_map(|it| it.scope_spans);
        let value = |span: &opentelemetry_proto::tonic::trace::v1::Span| {
            format!("{:?}", span.attributes[0].value.as_ref().unwrap().value)
        };
        spans.flat_map(|it| it.spans).map(|span| (span.name.clone(), value(&span))).collect()
    }

    #[test]
    fn invalid_bytes_of_a_string_become_the_replacement_character_at_any_depth() {
        let cut_emoji = text(b"smile \xf0\x9f\x98");
        let request = request(&[span(b"good", &text(b"x")), span(b"caf\xe9", &cut_emoji)]);
        assert!(check(&TRACES_REQUEST, &request).is_err());

        let repaired = repair(&TRACES_REQUEST, &request).unwrap();

        assert_eq!(check(&TRACES_REQUEST, &repaired.bytes), Ok(()));
        let text = |text: &str| format!("Some(StringValue({text:?}))");
        let expected =
            [("good".to_owned(), text("x")), ("caf\u{fffd}".to_owned(), text("smile \u{fffd}"))];
        assert_eq!((names(&repaired.bytes), repaired.dropped), (expected.to_vec(), 0));
    }

    #[test]
    fn a_malformed_span_is_left_out_and_counted_and_its_neighbours_live() {
        let bad_type = [&span(b"bad", &text(b"x"))[..], &[0x28, 1]].concat(); // the name as a number
        let cut_off = [&span(b"bad", &text(b"x"))[..], &[0x4a, 9, 1]].concat();
        let good = || span(b"good", &text(b"x"));
        let request = request(&[good(), bad_type, good(), cut_off]);

        let repaired = repair(&TRACES_REQUEST, &request).unwrap();

        assert_eq!(check(&TRACES_REQUEST, &repaired.bytes), Ok(()));
        assert_eq!((names(&repaired.bytes).len(), repaired.dropped), (2, 2));
        assert_eq!(repaired.reason, Some(Malformed("a field is of another type")));
    }

    #[test]
    fn a_malformed_data_point_costs_itself_and_a_metric_without_any_other_point() {
        /// A gauge (5) in a metric in a request.
        fn metrics(points: &[&[u8]]) -> Vec<u8> {
            let (mut gauge, mut metric) = (Vec::new(), Vec::new());
            points.iter().for_each(|point| push_message(&mut gauge, 1, point));
            push_message(&mut metric, 5, &gauge);
            request(&[metric])
        }
        let (good, bad): (&[u8], &[u8]) = (&[0x31, 1, 0, 0, 0, 0, 0, 0, 0], &[0x30, 1]);

        let repaired = repair(&METRICS_REQUEST, &metrics(&[good, bad, good])).unwrap();
        let emptied = repair(&METRICS_REQUEST, &metrics(&[bad])).unwrap();

        assert_eq!((repaired.bytes, repaired.dropped), (metrics(&[good, good]), 1));
        assert_eq!((emptied.bytes, emptied.dropped), (request(&[]), 1));
    }

    #[test]
    fn damage_outside_of_the_items_is_not_repaired() {
        let good = request(&[span(b"good", &text(b"x"))]);

        assert!(repair(&TRACES_REQUEST, &good[..good.len() - 1]).is_err());
        assert!(repair(&TRACES_REQUEST, b"\xff\xff\xff\xff garbage").is_err());
    }

    #[test]
    fn a_good_request_stays_as_it_is() {
        let good = request(&[span(b"good", &text(b"x")), span("é".as_bytes(), &text(b""))]);

        let repaired = repair(&TRACES_REQUEST, &good).unwrap();

        assert_eq!(repaired, RepairedRequest { bytes: good, dropped: 0, reason: None });
    }

    proptest! {
        #[test]
        fn a_repaired_request_passes_the_check(
            spans in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..24), 0..6)
        ) {
            let request = request(&spans);

            let repaired = repair(&TRACES_REQUEST, &request).unwrap();

            prop_assert_eq!(check(&TRACES_REQUEST, &repaired.bytes), Ok(()));
            let parts = regroup(&repaired.bytes, usize::MAX, |_| true);
            let kept: usize = parts.iter().map(|part| crate::otlp::wire::nested(part, 1)
                .flat_map(|it| crate::otlp::wire::nested(it, 2))
                .flat_map(|it| crate::otlp::wire::nested(it, 2)).count()).sum();
            prop_assert_eq!(kept as u64 + repaired.dropped, spans.len() as u64);
        }
    }
}
