//! Reads JSON values from bytes, without building them.
//!
//! Texts are read leniently, because a bad character should not cost its neighbours: half surrogate
//! pairs, bytes that are not UTF-8 and invalid escapes become U+FFFD.

use std::borrow::Cow;

use memchr::memchr2;

/// The reason why a value cannot be read.
pub(super) type JsonProblem = &'static str;

#[derive(Debug)]
pub(super) struct JsonReader<'a> {
    json: &'a [u8],
    at: usize,
}

impl<'a> JsonReader<'a> {
    pub(super) fn new(json: &'a [u8]) -> Self {
        Self { json, at: 0 }
    }

    /// The offset in bytes.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Goes back to an earlier [`Self::position`].
    pub(super) fn reset(&mut self, position: usize) {
        self.at = position;
    }

    /// The next byte that is not white space. It is not consumed.
    pub(super) fn peek(&mut self) -> Option<u8> {
        let rest = self.json.get(self.at..)?;
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        self.at += rest.iter().position(|byte| !is_space(byte))?;
        Some(self.json[self.at])
    }

    pub(super) fn expect(&mut self, byte: u8, otherwise: JsonProblem) -> Result<(), JsonProblem> {
        if self.peek() != Some(byte) {
            return Err(otherwise);
        }
        self.at += 1;
        Ok(())
    }

    /// Whether another value follows in a list or object. Consumes the comma before it, or the end.
    pub(super) fn has_next(&mut self, is_first: &mut bool, end: u8) -> Result<bool, JsonProblem> {
        if self.peek() == Some(end) {
            self.at += 1;
            return Ok(false);
        }
        if !std::mem::take(is_first) {
            self.expect(b',', "a comma is missing")?;
        }
        Ok(true)
    }

    /// Consumes the value `null`, if it is next.
    pub(super) fn take_null(&mut self) -> bool {
        let is_null = self.peek() == Some(b'n') && self.json[self.at..].starts_with(b"null");
        self.at += if is_null { 4 } else { 0 };
        is_null
    }

    /// A number, `true`, `false`, or anything else without quotes and brackets.
    pub(super) fn literal(&mut self) -> Result<&'a str, JsonProblem> {
        self.peek();
        let rest = &self.json[self.at..];
        let is_part =
            |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'+' | b'-');
        let length = rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len());
        if length == 0 {
            return Err("a value is missing");
        }
        self.at += length;
        std::str::from_utf8(&rest[..length]).map_err(|_| "a value is missing")
    }

    pub(super) fn text(&mut self) -> Result<Cow<'a, str>, JsonProblem> {
        self.expect(b'"', "is not a text")?;
        let start = self.at;
        let mut decoded: Option<Vec<u8>> = None;
        let mut chunk = start;
        while self.seek_quote_or_escape()? == b'\\' {
            let decoded = decoded.get_or_insert_default();
            decoded.extend_from_slice(&self.json[chunk..self.at]);
            let character = self.escaped();
            decoded.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            chunk = self.at;
        }
        let last = &self.json[chunk..self.at];
        self.at += 1;
        Ok(match decoded {
            None => String::from_utf8_lossy(last),
            Some(mut decoded) => {
                decoded.extend_from_slice(last);
                Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
            }
        })
    }

    /// Skips a value of any depth. Checks that texts and brackets end.
    pub(super) fn skip_value(&mut self) -> Result<(), JsonProblem> {
        let mut open = Vec::new();
        loop {
            match self.peek().ok_or("the end is missing")? {
                b'"' => {
                    self.at += 1;
                    while self.seek_quote_or_escape()? == b'\\' {
                        self.at += 2;
                    }
                    self.at += 1;
                }
                b'{' => {
                    open.push(b'}');
                    self.at += 1;
                }
                b'[' => {
                    open.push(b']');
                    self.at += 1;
                }
                byte if open.last() == Some(&byte) => {
                    open.pop();
                    self.at += 1;
                }
                b',' | b':' if !open.is_empty() => {
                    self.at += 1;
                    continue;
                }
                _ => drop(self.literal()?),
            }
            if open.is_empty() {
                return Ok(());
            }
        }
    }

    /// Moves to the quote that ends a text, or to an escape before it.
    fn seek_quote_or_escape(&mut self) -> Result<u8, JsonProblem> {
        let rest = self.json.get(self.at..).unwrap_or_default();
        self.at += memchr2(b'"', b'\\', rest).ok_or("the end of a text is missing")?;
        Ok(self.json[self.at])
    }

    /// Consumes an escape.
    fn escaped(&mut self) -> char {
        let kind = self.json.get(self.at + 1).copied();
        self.at += 2;
        match kind {
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(kind @ (b'"' | b'\\' | b'/')) => char::from(kind),
            Some(b'u') => self.utf_16(),
            _ => char::REPLACEMENT_CHARACTER,
        }
    }

    /// Consumes the hex digits after `\u`, and a second escape if both are a surrogate pair.
    fn utf_16(&mut self) -> char {
        let Some(first) = self.hex_digits() else { return char::REPLACEMENT_CHARACTER };
        let after_first = self.at;
        if (0xd800..0xdc00).contains(&first) && self.json[self.at..].starts_with(b"\\u") {
            self.at += 2;
            if let Some(second @ 0xdc00..0xe000) = self.hex_digits() {
                let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
            }
            self.at = after_first;
        }
        char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER)
    }

    fn hex_digits(&mut self) -> Option<u32> {
        let digits = self.json.get(self.at..self.at + 4)?;
        let value = digits
            .iter()
            .try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))?;
        self.at += 4;
        Some(value)
    }
}
