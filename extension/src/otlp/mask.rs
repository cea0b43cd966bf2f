//! Masks secrets in received requests, so that no destination gets them.
//!
//! | part of a request | masked |
//! |---|---|
//! | the value of an attribute or map entry whose key names a secret | as a whole |
//! | any other text, such as a URL, a message or a span's name | by [`Scrubber::text`] |
//!
//! Values of bytes stay as they are.

use bytes::Bytes;

use crate::otlp::edit::{begin_message, end_message, push_message};
use crate::otlp::payload::{Payload, ServerSpan, SignalKind};
use crate::otlp::schema::{FieldKind, KEY, Schema};
use crate::otlp::wire::{Malformed, Value, check_texts, nested, next_field};
use crate::scrub::{MASK, Scrubber};

/// Checks a message as [`Payload::read`] does, and masks its secrets. Without secrets it is not copied.
pub fn read_masked(
    kind: SignalKind,
    bytes: Bytes,
    scrubber: &Scrubber,
) -> Result<(Payload, Vec<ServerSpan>), Malformed> {
    let (schema, mut has_secret) = (kind.schema()?, false);
    // One walk for both: it meets some 70 fields in each span.
    check_texts(schema, &bytes, &mut |is_key, text| {
        has_secret = has_secret || is_key && scrubber.is_secret(text) || scrubber.has_secret(text);
    })?;
    let (payload, servers) = Payload::of_checked(kind, bytes);
    if !has_secret {
        return Ok((payload, servers));
    }
    let mut masked = Vec::with_capacity(payload.bytes.len());
    mask(schema, &payload.bytes, scrubber, &mut masked);
    Ok((Payload { bytes: masked.into(), ..payload }, servers))
}

/// Whether a message is an attribute or map entry whose key names a secret.
fn names_secret(schema: &Schema, message: &[u8], scrubber: &Scrubber) -> bool {
    schema.is_key_value() && nested(message, KEY).last().is_some_and(|key| scrubber.is_secret(key))
}

/// The value's field in `KeyValue`, and the text's in `AnyValue`.
const VALUE: u32 = 2;
const STRING_VALUE: u32 = 1;

fn mask(schema: &Schema, message: &[u8], scrubber: &Scrubber, out: &mut Vec<u8>) {
    if names_secret(schema, message, scrubber) {
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
                push_message(out, number, scrubber.text(utf8(text)).as_bytes());
            }
            (
                FieldKind::Message(schema) | FieldKind::Messages(schema) | FieldKind::Items(schema),
                Value::Bytes(message),
            ) => {
                let start = begin_message(out, number);
                mask(schema, message, scrubber, out);
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

    /// The masked request as JSON.
    fn masked_json(kind: SignalKind, json: &str, scrubber: &Scrubber) -> String {
        let schema = kind.schema().unwrap();
        let bytes = to_protobuf(schema, json.as_bytes()).unwrap().bytes;
        let masked = read_masked(kind, bytes.into(), scrubber).unwrap().0;
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

            let same = read_masked(kind, bytes.clone(), &Scrubber::configured(None)).unwrap().0;

            assert_eq!(same.bytes.as_ptr(), bytes.as_ptr());
        }
        let json = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"a: b=c","attributes":[{"key":"token.count","value":{"intValue":"1"}}]}]}]}]}"#;
        let bytes =
            to_protobuf(SignalKind::Traces.schema().unwrap(), json.as_bytes()).unwrap().bytes;
        let bytes = Bytes::from(bytes);
        let same = read_masked(SignalKind::Traces, bytes.clone(), &Scrubber::new(&[])).unwrap().0;
        assert_eq!(same.bytes.as_ptr(), bytes.as_ptr());
    }
}
