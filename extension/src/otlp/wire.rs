//! Checks OTLP protobuf and walks its fields without decoding it.
//! <https://protobuf.dev/programming-guides/encoding/>
//!
//! Decoding a span would cost more CPU than all other steps together, and exporters forward the
//! received bytes anyway. [`check`] accepts exactly the messages that a full decoder accepts (a test
//! compares both on mutated messages), so no malformed payload is queued. [`fields`] then finds the
//! few fields that matter here.

use crate::otlp::schema::{FieldKind, KEY, Schema};

/// Deeper nesting is rejected: the limit of prost, the full decoder.
pub(super) const MAX_DEPTH: u32 = 100;

/// The bytes are not a message of the expected type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed protobuf: {0}")]
pub struct Malformed(pub(crate) &'static str);

/// A field's value, borrowed from the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// int32 to uint64, bool, enum.
    Varint(u64),
    Fixed64(u64),
    /// A string, bytes, a nested message, or packed numbers.
    Bytes(&'a [u8]),
    Fixed32(u32),
    /// A group, a deprecated form that OTLP does not use. Skipped as a whole.
    Group,
}

/// A field's number and value.
pub type Field<'a> = (u32, Value<'a>);

/// The fields of a message in order. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

pub fn fields(message: &[u8]) -> Fields<'_> {
    Fields { rest: message }
}

/// The bytes of each field `number` that holds bytes, in a checked message.
pub fn nested(message: &[u8], number: u32) -> impl Iterator<Item = &[u8]> {
    fields(message).flatten().filter_map(move |field| match field {
        (found, Value::Bytes(bytes)) if found == number => Some(bytes),
        _ => None,
    })
}

/// The number and the bytes of each field, its key included. Ends before the first error.
pub(super) fn raw_fields(message: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    let mut rest = message;
    std::iter::from_fn(move || {
        let before = rest;
        let (number, _) = (!before.is_empty()).then(|| next_field(&mut rest))?.ok()?;
        Some((number, &before[..before.len() - rest.len()]))
    })
}

/// Checks that the bytes are a message of this type, at every level. Unknown fields are accepted.
pub fn check(schema: &Schema, message: &[u8]) -> Result<(), Malformed> {
    check_texts(schema, message, &mut |_, _| {})
}

/// The same. `on_text` gets each text, and whether it is the key of an attribute or map entry.
pub(super) fn check_texts(
    schema: &Schema,
    message: &[u8],
    on_text: &mut impl FnMut(bool, &[u8]),
) -> Result<(), Malformed> {
    check_at(schema, message, 0, on_text)
}

fn check_at(
    schema: &Schema,
    message: &[u8],
    depth: u32,
    on_text: &mut impl FnMut(bool, &[u8]),
) -> Result<(), Malformed> {
    if depth > MAX_DEPTH {
        return Err(Malformed("nested too deeply"));
    }
    let is_key_value = schema.is_key_value();
    let mut rest = message;
    while !rest.is_empty() {
        let (number, value) = field(&mut rest, 0)?;
        match (schema.kind(number), value) {
            (FieldKind::Text | FieldKind::Texts, Value::Bytes(text)) => {
                // The ASCII check comes first because it is faster, and most texts are short ASCII.
                if !text.is_ascii() && std::str::from_utf8(text).is_err() {
                    return Err(Malformed("a string is not UTF-8"));
                }
                on_text(is_key_value && number == KEY, text);
            }
            (
                FieldKind::Message(schema) | FieldKind::Messages(schema) | FieldKind::Items(schema),
                Value::Bytes(message),
            ) => check_at(schema, message, depth + 1, on_text)?,
            (kind, value) => check_value(kind, value)?,
        }
    }
    Ok(())
}

/// Checks a value that is neither a text nor a message.
#[inline]
pub(super) fn check_value(kind: FieldKind, value: Value<'_>) -> Result<(), Malformed> {
    match (kind, value) {
        (FieldKind::Unknown, _)
        | (
            FieldKind::Bool
            | FieldKind::Int32
            | FieldKind::Int64
            | FieldKind::Sint32
            | FieldKind::Uint32
            | FieldKind::Enum(_)
            | FieldKind::Uint64s,
            Value::Varint(_),
        )
        | (
            FieldKind::Fixed64
            | FieldKind::Sfixed64
            | FieldKind::Double
            | FieldKind::Fixed64s
            | FieldKind::Doubles,
            Value::Fixed64(_),
        )
        | (FieldKind::Fixed32, Value::Fixed32(_))
        | (FieldKind::Bytes | FieldKind::Id, Value::Bytes(_)) => Ok(()),
        (FieldKind::Uint64s, Value::Bytes(packed)) => {
            varints(packed).find_map(Result::err).map_or(Ok(()), Err)
        }
        (FieldKind::Fixed64s | FieldKind::Doubles, Value::Bytes(packed))
            if packed.len() % 8 == 0 =>
        {
            Ok(())
        }
        _ => Err(Malformed("a field is of another type")),
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = field(&mut self.rest, 0);
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// Reads the first field, and moves `rest` behind it.
#[inline]
pub(super) fn next_field<'a>(rest: &mut &'a [u8]) -> Result<Field<'a>, Malformed> {
    field(rest, 0)
}

// A span has some 70 fields, most of a few bytes: a function call for each would double their cost.
#[inline(always)]
fn field<'a>(rest: &mut &'a [u8], depth: u32) -> Result<Field<'a>, Malformed> {
    let (number, wire_type) = key(rest)?;
    let value = match wire_type {
        0 => Value::Varint(varint(rest)?),
        1 => Value::Fixed64(u64::from_le_bytes(fixed(rest)?)),
        2 => {
            let length = varint(rest)?;
            Value::Bytes(usize::try_from(length).ok().and_then(|n| split(rest, n)).ok_or(CUT)?)
        }
        3 => skip_group(rest, number, depth + 1)?,
        5 => Value::Fixed32(u32::from_le_bytes(fixed(rest)?)),
        4 => return Err(Malformed("a group ends that did not begin")),
        _ => return Err(Malformed("a field of no known wire type")),
    };
    Ok((number, value))
}

const CUT: Malformed = Malformed("cut off");

#[inline]
fn key(rest: &mut &[u8]) -> Result<(u32, u8), Malformed> {
    let key = u32::try_from(varint(rest)?).map_err(|_| Malformed("a field number too large"))?;
    match key >> 3 {
        0 => Err(Malformed("a field numbered 0")),
        number => Ok((number, (key & 7) as u8)),
    }
}

fn skip_group<'a>(rest: &mut &'a [u8], group: u32, depth: u32) -> Result<Value<'a>, Malformed> {
    if depth > MAX_DEPTH {
        return Err(Malformed("nested too deeply"));
    }
    loop {
        let mut ahead = *rest;
        match key(&mut ahead)? {
            (number, 4) if number == group => {
                *rest = ahead;
                return Ok(Value::Group);
            }
            _ => drop(field(rest, depth)?),
        }
    }
}

/// The numbers of a packed field. Ends after the first error.
pub(super) fn varints(mut packed: &[u8]) -> impl Iterator<Item = Result<u64, Malformed>> {
    std::iter::from_fn(move || {
        let number = (!packed.is_empty()).then(|| varint(&mut packed))?;
        if number.is_err() {
            packed = &[];
        }
        Some(number)
    })
}

#[inline]
fn varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    match **rest {
        [byte, ref tail @ ..] if byte < 0x80 => {
            *rest = tail;
            Ok(u64::from(byte))
        }
        _ => long_varint(rest),
    }
}

fn long_varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0;
    for (index, &byte) in rest.iter().take(10).enumerate() {
        // The tenth byte has room for one bit only.
        if index == 9 && byte > 1 {
            return Err(Malformed("a number of more than 64 bits"));
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *rest = &rest[index + 1..];
            return Ok(value);
        }
    }
    Err(if rest.len() < 10 { CUT } else { Malformed("a number of more than 64 bits") })
}

#[inline]
fn fixed<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Malformed> {
    let bytes = split(rest, N).and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or(CUT)
}

#[inline]
fn split<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(head)
}

#[cfg(test)]
mod tests;
