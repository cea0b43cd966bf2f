//! Translates OTLP/JSON to protobuf, in one pass over the bytes and without a message in between.
//! <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>, <https://protobuf.dev/programming-guides/json/>
//!
//! Everything legal in ProtoJSON is accepted, and some forms that real senders use:
//!
//! | input | result |
//! |---|---|
//! | a field in lowerCamelCase or snake_case | the same field |
//! | `null` | an absent field; an empty value in a list of values; nothing in a list of items |
//! | an unknown field, an unknown name of an enum | it is skipped |
//! | a name twice | protobuf's rule: the last scalar counts, lists concatenate, messages merge |
//! | `NaN` and infinities without quotes | the same number |
//! | half a surrogate pair, bytes that are not UTF-8, an invalid escape | U+FFFD |
//! | a malformed span, log record, metric or data point | it is left out and counted |
//! | other damage | the request is refused |
//!
//! Translated requests pass [`wire::check`](crate::otlp::wire::check). They are at most four times as
//! large as the JSON: the number `0` becomes 8 bytes in a list of bounds.

mod reader;
mod scalar;
mod printer;

use std::fmt::Write;

use crate::otlp::edit::{begin_message, end_message, push_message};
use crate::otlp::json::reader::{JsonProblem, JsonReader};
use crate::otlp::schema::{FieldKind, Schema, camel_case};
use crate::otlp::wire::MAX_DEPTH;

pub use crate::otlp::json::printer::to_json;

/// The prefixes of the fields that `scopeSpans` and the like replaced.
const BEFORE_SCOPES: [&str; 2] = ["instrumentationLibrary", "instrumentation_library"];

/// The field's path, the reason and the position of a malformed value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MalformedJson(String);

/// A request in protobuf.
#[derive(Debug, PartialEq, Eq)]
pub struct TranslatedRequest {
    pub bytes: Vec<u8>,
    /// Number of malformed items, which are left out.
    pub dropped: u64,
    /// The first problem of an item.
    pub reason: Option<MalformedJson>,
}

/// Fails if the damage is outside of the items, or if no item is left.
pub fn to_protobuf(schema: &Schema, json: &[u8]) -> Result<TranslatedRequest, MalformedJson> {
    let mut translation = Translation {
        reader: JsonReader::new(json),
        out: Vec::with_capacity(json.len() / 2),
        path: Vec::new(),
        kept: 0,
        dropped: 0,
        reason: None,
    };
    let result = translation.message(schema, 0).and_then(|()| match translation.reader.peek() {
        None => Ok(()),
        Some(_) => Err("more follows after the request"),
    });
    result.map_err(|reason| translation.malformed(reason))?;
    let Translation { out: bytes, kept, dropped, reason, .. } = translation;
    match reason {
        Some(reason) if kept == 0 => Err(reason),
        reason => Ok(TranslatedRequest { bytes, dropped, reason }),
    }
}

/// A field, and the index in its list.
type PathSegment = (&'static str, Option<usize>);

struct Translation<'a> {
    reader: JsonReader<'a>,
    out: Vec<u8>,
    /// The fields around the current value. After an error, those around the malformed value.
    path: Vec<PathSegment>,
    kept: u64,
    dropped: u64,
    reason: Option<MalformedJson>,
}

impl Translation<'_> {
    /// Appends the fields of an object. `depth` is bounded by [`MAX_DEPTH`], and so is the recursion.
    fn message(&mut self, schema: &Schema, depth: u32) -> Result<(), JsonProblem> {
        if depth > MAX_DEPTH {
            return Err("is nested too deeply");
        }
        self.reader.expect(b'{', "is not an object")?;
        let mut is_first = true;
        while self.reader.has_next(&mut is_first, b'}')? {
            let name = self.reader.text()?;
            self.reader.expect(b':', "a colon is missing")?;
            let Some((number, name, kind)) = schema.named(&name) else {
                if BEFORE_SCOPES.iter().any(|prefix| name.starts_with(prefix)) {
                    return Err("has a field of OTLP before 0.16: update the sender");
                }
                self.reader.skip_value()?;
                continue;
            };
            self.path.push((name, None));
            if !self.reader.take_null() {
                self.field(number, kind, depth)?;
            }
            self.path.pop();
        }
        Ok(())
    }

    fn field(&mut self, number: u32, kind: FieldKind, depth: u32) -> Result<(), JsonProblem> {
        match kind {
            FieldKind::Message(schema) => self.nested(number, schema, depth),
            FieldKind::Messages(_) | FieldKind::Items(_) | FieldKind::Texts => {
                self.list(|this| this.element(number, kind, depth))
            }
            FieldKind::Uint64s | FieldKind::Fixed64s | FieldKind::Doubles => {
                let start = begin_message(&mut self.out, number);
                self.list(|this| scalar::push_number(&mut this.out, kind, &mut this.reader))?;
                end_message(&mut self.out, start);
                Ok(())
            }
            _ => scalar::push_field(&mut self.out, number, kind, &mut self.reader),
        }
    }

    fn list(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<(), JsonProblem>,
    ) -> Result<(), JsonProblem> {
        self.reader.expect(b'[', "is not a list")?;
        let mut is_first = true;
        let segment = self.path.len() - 1;
        let mut index = 0;
        while self.reader.has_next(&mut is_first, b']')? {
            self.path[segment].1 = Some(index);
            element(self)?;
            index += 1;
        }
        Ok(())
    }

    fn element(&mut self, number: u32, kind: FieldKind, depth: u32) -> Result<(), JsonProblem> {
        match kind {
            FieldKind::Messages(_) if self.reader.take_null() => {
                push_message(&mut self.out, number, b"");
                Ok(())
            }
            FieldKind::Messages(schema) => self.nested(number, schema, depth),
            FieldKind::Items(_) if self.reader.take_null() => Ok(()),
            FieldKind::Items(schema) => self.item(number, schema, depth),
            kind => scalar::push_field(&mut self.out, number, kind, &mut self.reader),
        }
    }

    fn nested(&mut self, number: u32, schema: &Schema, depth: u32) -> Result<(), JsonProblem> {
        let start = begin_message(&mut self.out, number);
        self.message(schema, depth + 1)?;
        end_message(&mut self.out, start);
        Ok(())
    }

    /// Leaves out an item that is malformed or whose own items all are. Fails if the end of the item is not
    /// found.
    fn item(&mut self, number: u32, schema: &Schema, depth: u32) -> Result<(), JsonProblem> {
        let (kept, dropped) = (self.kept, self.dropped);
        let (start, length, path) = (self.reader.position(), self.out.len(), self.path.len());
        let result = self.nested(number, schema, depth);
        let is_emptied = self.dropped > dropped && self.kept == kept;
        self.kept = kept;
        match result {
            Ok(()) if !is_emptied => self.kept += 1,
            Ok(()) => self.out.truncate(length),
            Err(reason) => {
                self.dropped += 1;
                if self.reason.is_none() {
                    self.reason = Some(self.malformed(reason));
                }
                self.out.truncate(length);
                self.reader.reset(start);
                self.reader.skip_value()?;
                self.path.truncate(path);
            }
        }
        Ok(())
    }

    fn malformed(&self, reason: JsonProblem) -> MalformedJson {
        let mut text = String::new();
        for (name, index) in &self.path {
            let dot = if text.is_empty() { "" } else { "." };
            text.push_str(dot);
            text.extend(camel_case(name).map(char::from));
            // Writing to a string cannot fail.
            let _ = index.map_or(Ok(()), |index| write!(text, "[{index}]"));
        }
        let subject = if text.is_empty() { "the request" } else { &text };
        MalformedJson(format!("{subject}: {reason} (byte {})", self.reader.position()))
    }
}

#[cfg(test)]
mod tests;
