//! Translates single JSON values to protobuf fields.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::otlp::edit::{push_key, push_message, push_varint};
use crate::otlp::json::reader::{JsonProblem, JsonReader};
use crate::otlp::schema::FieldKind;

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const FIXED32: u8 = 5;

/// Accepts base64 with and without padding, as ProtoJSON requires.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Appends the field, even with the default value: fields with presence need it, and so does a repeated
/// field whose last value counts. An unknown name of an enum is skipped, like an unknown field.
pub(super) fn push_field(
    out: &mut Vec<u8>,
    number: u32,
    kind: FieldKind,
    reader: &mut JsonReader<'_>,
) -> Result<(), JsonProblem> {
    match kind {
        FieldKind::Text | FieldKind::Texts => {
            push_message(out, number, reader.text()?.as_bytes());
        }
        FieldKind::Bytes => push_message(out, number, &base64(&reader.text()?)?),
        FieldKind::Id => push_message(out, number, &unhex(&reader.text()?)?),
        FieldKind::Enum(names) if reader.peek() == Some(b'"') => {
            let text = reader.text()?;
            let named = names.number(&text).map(|value| value as i32);
            if let Some(value) = named.or_else(|| integer(&text).ok()) {
                push_key(out, number, VARINT);
                push_varint(out, i64::from(value) as u64);
            }
        }
        FieldKind::Fixed32 => {
            push_key(out, number, FIXED32);
            out.extend_from_slice(&number_of::<u32>(reader)?.to_le_bytes());
        }
        FieldKind::Fixed64 | FieldKind::Sfixed64 | FieldKind::Double => {
            push_key(out, number, FIXED64);
            push_number(out, kind, reader)?;
        }
        _ => {
            push_key(out, number, VARINT);
            push_number(out, kind, reader)?;
        }
    }
    Ok(())
}

/// Appends a number without the field's key, as it stands in a packed list.
pub(super) fn push_number(
    out: &mut Vec<u8>,
    kind: FieldKind,
    reader: &mut JsonReader<'_>,
) -> Result<(), JsonProblem> {
    match kind {
        FieldKind::Fixed64 | FieldKind::Fixed64s => {
            out.extend_from_slice(&number_of::<u64>(reader)?.to_le_bytes());
        }
        FieldKind::Sfixed64 => out.extend_from_slice(&number_of::<i64>(reader)?.to_le_bytes()),
        FieldKind::Double | FieldKind::Doubles => {
            let value: f64 = number_text(reader)?.parse().map_err(|_| "is not a number")?;
            out.extend_from_slice(&value.to_le_bytes());
        }
        FieldKind::Bool => push_varint(out, u64::from(boolean(reader)?)),
        FieldKind::Uint32 => push_varint(out, u64::from(number_of::<u32>(reader)?)),
        FieldKind::Uint64s => push_varint(out, number_of::<u64>(reader)?),
        FieldKind::Int64 => push_varint(out, number_of::<i64>(reader)? as u64),
        FieldKind::Sint32 => {
            let value = number_of::<i32>(reader)?;
            push_varint(out, u64::from((value << 1 ^ value >> 31) as u32));
        }
        FieldKind::Int32 | FieldKind::Enum(_) => {
            push_varint(out, i64::from(number_of::<i32>(reader)?) as u64);
        }
        _ => return Err("is not a number"),
    }
    Ok(())
}

fn boolean(reader: &mut JsonReader<'_>) -> Result<bool, JsonProblem> {
    let literal = reader.literal().unwrap_or_default();
    literal.parse().map_err(|_| "is neither true nor false")
}

fn number_of<T: TryFrom<i128>>(reader: &mut JsonReader<'_>) -> Result<T, JsonProblem> {
    integer(&number_text(reader)?)
}

/// A number, or the text of a quoted one.
fn number_text<'a>(reader: &mut JsonReader<'a>) -> Result<Cow<'a, str>, JsonProblem> {
    match reader.peek() {
        Some(b'"') => reader.text(),
        Some(b'{' | b'[') => Err("is not a number"),
        _ => Ok(Cow::Borrowed(reader.literal()?)),
    }
}

/// An integer in any notation: `42`, `42.0` or `4.2e1`.
fn integer<T: TryFrom<i128>>(text: &str) -> Result<T, JsonProblem> {
    let value: i128 = match text.parse::<i64>() {
        Ok(value) => value.into(),
        Err(_) => match text.parse() {
            Ok(value) => value,
            Err(_) => match text.parse::<f64>() {
                Ok(value) if value.fract() == 0.0 => value as i128,
                Ok(_) => return Err("is not an integer"),
                Err(_) => return Err("is not a number"),
            },
        },
    };
    T::try_from(value).map_err(|_| "is out of range")
}

/// Decodes either alphabet, with or without padding.
fn base64(text: &str) -> Result<Vec<u8>, JsonProblem> {
    let standard = |byte: u8| match byte {
        b'-' => b'+',
        b'_' => b'/',
        byte => byte,
    };
    let standard: Vec<u8> = text.bytes().map(standard).collect();
    BASE64.decode(standard).map_err(|_| "is not base64")
}

fn unhex(text: &str) -> Result<Vec<u8>, JsonProblem> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let byte = |pair: &[u8]| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?);
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
    bytes.ok_or("is not hex")
}
