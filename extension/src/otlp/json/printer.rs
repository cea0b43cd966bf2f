//! Prints a protobuf request as OTLP/JSON.

use std::fmt::Write;

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::Value as Json;

use crate::otlp::schema::{FieldKind, Schema, camel_case};
use crate::otlp::wire::{Value, fields, varints};
use crate::text::hex;

/// The fields that are present, in the order of their numbers. Expects a checked request.
pub fn to_json(schema: &Schema, request: &[u8]) -> String {
    let mut json = String::new();
    print_message(schema, request, &mut json);
    json
}

fn print_message(schema: &Schema, message: &[u8], json: &mut String) {
    let start = json.len();
    for (number, name, kind) in schema.fields() {
        let values = fields(message).flatten().filter(|(found, _)| *found == number);
        let values: Vec<Value<'_>> = values.map(|(_, value)| value).collect();
        let Some(last) = values.last() else { continue };
        json.push(if json.len() == start { '{' } else { ',' });
        json.push('"');
        json.extend(camel_case(name).map(char::from));
        json.push_str("\":");
        match kind {
            FieldKind::Messages(_)
            | FieldKind::Items(_)
            | FieldKind::Texts
            | FieldKind::Uint64s
            | FieldKind::Fixed64s
            | FieldKind::Doubles => print_list(kind, &values, json),
            // Decoders merge the occurrences of a message.
            FieldKind::Message(_) => {
                let merged = values.iter().flat_map(|value| bytes(*value)).copied();
                print_value(kind, Value::Bytes(&merged.collect::<Vec<_>>()), json);
            }
            kind => print_value(kind, *last, json),
        }
    }
    json.push_str(if json.len() == start { "{}" } else { "}" });
}

fn print_list(kind: FieldKind, values: &[Value<'_>], json: &mut String) {
    json.push('[');
    let mut separator = "";
    for value in values {
        for value in unpacked(kind, *value) {
            json.push_str(separator);
            separator = ",";
            print_value(kind, value, json);
        }
    }
    json.push(']');
}

/// The numbers of a packed field, or the value itself.
fn unpacked(kind: FieldKind, value: Value<'_>) -> Vec<Value<'_>> {
    match (kind, value) {
        (FieldKind::Uint64s, Value::Bytes(packed)) => {
            varints(packed).flatten().map(Value::Varint).collect()
        }
        (FieldKind::Fixed64s | FieldKind::Doubles, Value::Bytes(packed)) => {
            let (chunks, _) = packed.as_chunks();
            chunks.iter().map(|chunk| Value::Fixed64(u64::from_le_bytes(*chunk))).collect()
        }
        (_, value) => vec![value],
    }
}

fn print_value(kind: FieldKind, value: Value<'_>, json: &mut String) {
    let printed = match (kind, value) {
        (
            FieldKind::Message(schema) | FieldKind::Messages(schema) | FieldKind::Items(schema),
            Value::Bytes(message),
        ) => {
            print_message(schema, message, json);
            return;
        }
        (FieldKind::Text | FieldKind::Texts, Value::Bytes(text)) => {
            Json::from(String::from_utf8_lossy(text))
        }
        (FieldKind::Bytes, Value::Bytes(bytes)) => BASE64_STANDARD.encode(bytes).into(),
        (FieldKind::Id, Value::Bytes(id)) => hex(id).into(),
        (FieldKind::Bool, Value::Varint(value)) => (value != 0).into(),
        (FieldKind::Int32 | FieldKind::Enum(_), Value::Varint(value)) => (value as i32).into(),
        (FieldKind::Uint32, Value::Varint(value)) => (value as u32).into(),
        (FieldKind::Sint32, Value::Varint(value)) => {
            let value = value as u32;
            ((value >> 1) as i32 ^ -((value & 1) as i32)).into()
        }
        (FieldKind::Int64, Value::Varint(value)) => (value as i64).to_string().into(),
        (FieldKind::Uint64s, Value::Varint(value)) => value.to_string().into(),
        (FieldKind::Fixed32, Value::Fixed32(value)) => value.into(),
        (FieldKind::Fixed64 | FieldKind::Fixed64s, Value::Fixed64(value)) => {
            value.to_string().into()
        }
        (FieldKind::Sfixed64, Value::Fixed64(value)) => (value as i64).to_string().into(),
        (FieldKind::Double | FieldKind::Doubles, Value::Fixed64(bits)) => {
            let value = f64::from_bits(bits);
            let text = if value.is_nan() {
                "NaN"
            } else if value > 0.0 {
                "Infinity"
            } else {
                "-Infinity"
            };
            serde_json::Number::from_f64(value).map_or_else(|| text.into(), Json::Number)
        }
        _ => Json::Null,
    };
    // Writing to a string cannot fail.
    let _ = write!(json, "{printed}");
}

fn bytes<'a>(value: Value<'a>) -> &'a [u8] {
    match value {
        Value::Bytes(bytes) => bytes,
        _ => &[],
    }
}
