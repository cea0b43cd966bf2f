//! Masks secrets in received requests, and drops attributes, so that no destination gets them.
//!
//! | part of a request | masked |
//! |---|---|
//! | the value of an attribute or map entry whose key names a secret or is in the [filter](AttributeFilter) | as a whole |
//! | any other text, such as a URL, a message or a span's name | by [`Scrubber::text`] |
//!
//! Values of bytes stay as they are.

use bytes::Bytes;

use crate::otlp::edit::{begin_message, end_message, push_message};
use crate::otlp::filter::attributes::AttributeFilter;
use crate::otlp::filter::destinations::FilteredAt;
use crate::otlp::filter::request::TelemetryFilter;
use crate::otlp::payload::{Payload, ServerSpan, SignalKind};
use crate::otlp::schema::{FieldKind, KEY, Schema};
use crate::otlp::wire::{Malformed, Value, check_texts, nested, next_field};
use crate::scrub::{MASK, Scrubber};

/// A checked message.
#[derive(Debug)]
pub struct ReadRequest {
    pub payload: Payload,
    pub servers: Vec<ServerSpan>,
    /// Whether a destination may leave out an item.
    pub is_filtered: bool,
}

/// Checks a message as [`Payload::read`] does, masks its secrets, and drops attributes. Without any of them it
/// is not copied.
pub fn read_masked(
    kind: SignalKind,
    bytes: Bytes,
    scrubber: &Scrubber,
    filter: &TelemetryFilter,
) -> Result<ReadRequest, Malformed> {
    let rules = AttributeRules { scrubber, filter: &filter.attributes };
    let (schema, mut is_changed) = (kind.schema()?, false);
    // One walk for all: it meets some 70 fields in each span.
    check_texts(schema, &bytes, &mut |is_key, text| {
        is_changed = is_changed
            || is_key && (scrubber.is_secret(text) || filter.attributes.changes(text))
            || scrubber.has_secret(text);
    })?;
    let mut matched = FilteredAt::NOWHERE;
    let (payload, servers) = Payload::of_checked(kind, bytes, |span, kind| {
        matched |= filter.spans.matches(span, kind);
    });
    let has_levels = kind == SignalKind::Logs && filter.levels.is_on();
    let is_filtered = !matched.is_nowhere() || has_levels;
    if !is_changed {
        return Ok(ReadRequest { payload, servers, is_filtered });
    }
    let mut masked = Vec::with_capacity(payload.bytes.len());
    mask(schema, &payload.bytes, &rules, &mut masked);
    let payload = Payload { bytes: masked.into(), ..payload };
    Ok(ReadRequest { payload, servers, is_filtered })
}

struct AttributeRules<'a> {
    scrubber: &'a Scrubber,
    filter: &'a AttributeFilter,
}

impl AttributeRules<'_> {
    /// Whether a message is an attribute or map entry whose value is masked.
    fn masks(&self, schema: &Schema, message: &[u8]) -> bool {
        let is_masked = |key| self.scrubber.is_secret(key) || self.filter.masks(key);
        schema.is_key_value() && nested(message, KEY).last().is_some_and(is_masked)
    }

    fn drops(&self, schema: &Schema, message: &[u8]) -> bool {
        let is_dropped = |key| self.filter.drops(key);
        schema.is_key_value() && nested(message, KEY).last().is_some_and(is_dropped)
    }
}

/// The value's field in `KeyValue`, and the text's in `AnyValue`.
const VALUE: u32 = 2;
const STRING_VALUE: u32 = 1;

fn mask(schema: &Schema, message: &[u8], rules: &AttributeRules<'_>, out: &mut Vec<u8>) {
    if rules.masks(schema, message) {
        push_message(out, KEY, nested(message, KEY).last().unwrap_or_default());
        let start = begin_message(out, VALUE);
        push_message(out, STRING_VALUE, MASK.as_bytes());
        end_message(out, start);
        return;
    }
    let mut rest = message;
    while !rest.is_empty() {
        let before = rest;
        // The receiver has checked the message.
        let Ok((number, value)) = next_field(&mut rest) else { return };
        match (schema.kind(number), value) {
            (FieldKind::Text | FieldKind::Texts, Value::Bytes(text)) => {
                push_message(out, number, rules.scrubber.text(utf8(text)).as_bytes());
            }
            (FieldKind::Messages(schema), Value::Bytes(message))
                if rules.drops(schema, message) => {}
            (
                FieldKind::Message(schema) | FieldKind::Messages(schema) | FieldKind::Items(schema),
                Value::Bytes(message),
            ) => {
                let start = begin_message(out, number);
                mask(schema, message, rules, out);
                end_message(out, start);
            }
            _ => out.extend_from_slice(&before[..before.len() - rest.len()]),
        }
    }
}

fn utf8(text: &[u8]) -> &str {
    std::str::from_utf8(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use crate::otlp::json::{to_json, to_protobuf};

    use super::*;

    fn read(kind: SignalKind, bytes: Bytes, scrubber: &Scrubber) -> Payload {
        read_masked(kind, bytes, scrubber, &TelemetryFilter::default()).unwrap().payload
    }

    /// The masked request as JSON.
    fn masked_json(kind: SignalKind, json: &str, scrubber: &Scrubber) -> String {
        let schema = kind.schema().unwrap();
        let bytes = to_protobuf(schema, json.as_bytes()).unwrap().bytes;
        let masked = read(kind, bytes.into(), scrubber);
        assert!(Payload::read(kind, masked.bytes.clone()).is_ok());
        to_json(schema, &masked.bytes)
    }

    const CASES: [(SignalKind, &str); 3] = [
        (
            SignalKind::Traces,
            r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"db.password","value":{"intValue":"5"}}]},"scopeSpans":[{"spans":[{"name":"GET /a?token=s3cret","attributes":[{"key":"url.full","value":{"stringValue":"https://u:s3cret@h/?b=1"}},{"key":"http.request.header.authorization","value":{"arrayValue":{"values":[{"stringValue":"s3cret"}]}}}],"events":[{"name":"e","attributes":[{"key":"exception.message","value":{"stringValue":"password=s3cret"}}]}],"links":[{"attributes":[{"key":"token","value":{"bytesValue":"czNjcmV0"}}]}],"status":{"message":"Bearer: token=s3cret"}}]}]}]}"#,
        ),
        (
            SignalKind::Logs,
            r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"kvlistValue":{"values":[{"key":"user","value":{"kvlistValue":{"values":[{"key":"password","value":{"stringValue":"s3cret"}}]}}},{"key":"api_key","value":{"stringValue":"s3cret"}}]}}}]}]}]}"#,
        ),
        (
            SignalKind::Metrics,
            r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m","gauge":{"dataPoints":[{"attributes":[{"key":"secret","value":{"stringValue":"s3cret"}}],"exemplars":[{"filteredAttributes":[{"key":"pin","value":{"stringValue":"s3cret"}}],"asInt":"1"}],"asInt":"1"}]}}]}]}]}"#,
        ),
    ];

    #[test]
    fn secrets_are_masked_anywhere_in_a_request_and_the_rest_stays() {
        let scrubber = Scrubber::new(&["pin".to_owned()]);
        for (kind, json) in CASES {
            let masked = masked_json(kind, json, &scrubber);

            assert!(!masked.contains("s3cret") && !masked.contains("czNjcmV0"), "{masked}");
            assert!(masked.contains("***"), "{masked}");
        }
        let masked = masked_json(SignalKind::Traces, CASES[0].1, &scrubber);
        for part in [
            r#"{"key":"db.password","value":{"stringValue":"***"}}"#,
            r#""name":"GET /a?token=***""#,
            "https://u:***@h/?b=1",
            r#"{"key":"http.request.header.authorization","value":{"stringValue":"***"}}"#,
        ] {
            assert!(masked.contains(part), "{part}: {masked}");
        }
    }

    #[test]
    fn a_secret_in_the_key_of_an_attribute_is_masked() {
        let json = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"key":"GET /a?token=s3cret","value":{"intValue":"5"}}]}]}]}]}"#;

        let masked = masked_json(SignalKind::Traces, json, &Scrubber::new(&[]));

        assert!(
            masked.contains(r#"{"key":"GET /a?token=***","value":{"intValue":"5"}}"#),
            "{masked}"
        );
    }

    #[test]
    fn without_secrets_or_with_masking_off_the_bytes_are_the_same() {
        for (kind, json) in CASES {
            let schema = kind.schema().unwrap();
            let bytes = to_protobuf(schema, json.as_bytes()).unwrap().bytes;
            let bytes = Bytes::from(bytes);

            let same = read(kind, bytes.clone(), &Scrubber::configured(None));

            assert_eq!(same.bytes.as_ptr(), bytes.as_ptr());
        }
        let json = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"a: b=c","attributes":[{"key":"token.count","value":{"intValue":"1"}}]}]}]}]}"#;
        let bytes =
            to_protobuf(SignalKind::Traces.schema().unwrap(), json.as_bytes()).unwrap().bytes;
        let bytes = Bytes::from(bytes);
        let same = read(SignalKind::Traces, bytes.clone(), &Scrubber::new(&[]));
        assert_eq!(same.bytes.as_ptr(), bytes.as_ptr());
    }
}
