//! Secrets in plain text, such as messages, queries, headers and embedded JSON.
//!
//! | text before the secret | end of the secret |
//! |---|---|
//! | `name=`, also as `%3D`, as in queries | at a blank, `&`, `#` or `"` |
//! | `name:`, also as `%3A` | at a blank or `"` |
//! | the same, and then a quote, also as `\"` | at the quote that belongs to it |
//! | the same, and then a bracket | at its counterpart |
//! | `Authorization:`, `Cookie:`, `Set-Cookie:` | at the end of the line, or at the next `"` if one stands directly before the name |
//! | `scheme://user:`, or `scheme://` without a password | at the last `@` of the authority |
//!
//! After a quoted name, `,`, `}` and `]` end an unquoted secret as well. After `Bearer`, `Basic` or
//! `Token` the next word is masked too. In doubt, more text is masked rather than less.

use std::{borrow::Cow, ops::Range};

use memchr::{memchr3, memchr3_iter};
use percent_encoding::percent_decode_str;

use crate::scrub::{MASK, Scrubber, value_length};

/// Headers whose values have blanks.
const HEADERS: [&str; 3] = ["authorization", "cookie", "set-cookie"];

/// Words that stand before the secret itself.
const SCHEMES: [&str; 3] = ["Bearer", "Basic", "Token"];

impl Scrubber {
    /// The text with masked secrets, in linear time.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if !self.is_on() {
            return Cow::Borrowed(text);
        }
        let (mut out, mut copied, mut name_from) = (String::new(), 0, 0);
        for sign in signs(text) {
            let before = name_from;
            name_from = sign.end;
            let start = sign.end + gap(&text[sign.end..]);
            if start < copied {
                continue; // within a value that is masked
            }
            let secret = match text[sign.clone()] == *":" && text[sign.end..].starts_with("//") {
                true => user_info(text, sign.end + 2),
                false => self.value(text, before, sign, start),
            };
            let Some(FoundSecret { place, quote }) = secret.filter(|it| !it.place.is_empty())
            else {
                continue;
            };
            let until_there = &text[copied..place.start];
            [until_there, quote, MASK, quote].into_iter().for_each(|it| out.push_str(it));
            copied = place.end;
        }
        if copied == 0 {
            return Cow::Borrowed(text);
        }
        out.push_str(&text[copied..]);
        Cow::Owned(out)
    }

    /// Whether [`text`](Self::text) masks anything in this UTF-8.
    pub fn has_secret(&self, text: &[u8]) -> bool {
        memchr3(b'=', b':', b'%', text).is_some()
            && str::from_utf8(text).is_ok_and(|text| matches!(self.text(text), Cow::Owned(_)))
    }

    /// The value after a sign, if the name before the sign is a secret's. The name begins at `from` or
    /// later, the value at `start`.
    fn value<'a>(
        &self,
        text: &'a str,
        from: usize,
        sign: Range<usize>,
        start: usize,
    ) -> Option<FoundSecret<'a>> {
        let before = text[from..sign.start].trim_end_matches([' ', '\t']);
        let bare = before.trim_end_matches(['"', '\'', '\\']);
        let in_name = |c: char| is_word(c) || "%\\".contains(c);
        let name = &bare[bare.trim_end_matches(in_name).len()..];
        let place = from + bare.len() - name.len();
        // A path in code, such as `a::b`, does not name a value.
        let is_path = text[..place].ends_with("::") || text[sign.end..].starts_with(':');
        if is_path || !self.any_is_secret(name) {
            return None;
        }
        let (quote, value) = (&before[bare.len()..], &text[start..]);
        let at = |range: Range<usize>| start + range.start..start + range.end;
        if let Some(quoted) = quoted(value) {
            return Some(FoundSecret { place: at(quoted), quote: "" });
        }
        let length = if value.starts_with(['{', '[']) {
            value_length(value)
        } else if &text[sign.clone()] == ":" && is_header(name) {
            let is_quoted = quote.is_empty() && text[..place].ends_with('"');
            until(value, |c| c == '\n' || (is_quoted && c == '"'))
        } else {
            let in_query = &text[sign] != ":";
            let ends = |c: char| match c {
                '&' | '#' => in_query,
                ',' | '}' | ']' => !quote.is_empty(),
                _ => c == '"' || c.is_whitespace(),
            };
            let first = until(value, ends);
            let is_scheme = SCHEMES.iter().any(|it| it.eq_ignore_ascii_case(&value[..first]));
            let next = first + gap(&value[first..]);
            if is_scheme { next + until(&value[next..], ends) } else { first }
        };
        Some(FoundSecret { place: at(0..length), quote })
    }

    /// Whether the name is a secret's, also without its escapes.
    fn any_is_secret(&self, name: &str) -> bool {
        let last = |name: &str| {
            let last = name.rsplit(|c| !is_word(c)).next().unwrap_or_default();
            self.is_secret(last.trim_start_matches('-'))
        };
        if last(name) || !name.contains(['%', '\\']) {
            return last(name);
        }
        let decoded = percent_decode_str(name).decode_utf8_lossy();
        let unescaped = serde_json::from_str::<String>(&format!("\"{decoded}\""));
        last(decoded.trim_end_matches(['"', '\'', ' '])) || unescaped.is_ok_and(|it| last(&it))
    }
}

struct FoundSecret<'a> {
    place: Range<usize>,
    /// Quotes for the mask: an unquoted value may be replaced where text needs quotes.
    quote: &'a str,
}

/// The signs that may assign a value to a name.
fn signs(text: &str) -> impl Iterator<Item = Range<usize>> {
    memchr3_iter(b'=', b':', b'%', text.as_bytes()).filter_map(|at| {
        if text.as_bytes()[at] != b'%' {
            return Some(at..at + 1);
        }
        let code = text.get(at + 1..at + 3)?;
        let is_sign = ["3D", "3A"].iter().any(|known| known.eq_ignore_ascii_case(code));
        is_sign.then_some(at..at + 3)
    })
}

/// Bytes between a sign and its value, the rest of `=>` among them.
fn gap(text: &str) -> usize {
    until(text, |c| ![' ', '\t', '=', '>'].contains(&c))
}

/// Bytes before the first such character, and before the backslashes of a `"`.
fn until(text: &str, ends: impl Fn(char) -> bool) -> usize {
    match text.find(ends) {
        Some(end) if text[end..].starts_with('"') => text[..end].trim_end_matches('\\').len(),
        Some(end) => end,
        None => text.len(),
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-.[]".contains(c)
}

fn is_header(name: &str) -> bool {
    let last = name.rsplit(|c: char| !c.is_ascii_alphabetic() && c != '-').next();
    last.is_some_and(|last| HEADERS.iter().any(|known| known.eq_ignore_ascii_case(last)))
}

/// The quoted text at the beginning, without its quotes, which may be escaped, or within `Some(…)` or
/// `b'…'`. Without an end, it is the rest.
fn quoted(value: &str) -> Option<Range<usize>> {
    let inner = value.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "_(&".contains(c));
    let wrapper = &value[..value.len() - inner.len()];
    if !(["", "b", "r", "u"].contains(&wrapper) || wrapper.ends_with(['(', '&'])) {
        return None;
    }
    let text = inner.trim_start_matches('\\');
    let quote = text.chars().next().filter(|first| ['"', '\''].contains(first))?;
    let (escapes, start) = (inner.len() - text.len(), value.len() - text.len() + 1);
    let mut backslashes = 0;
    for (index, c) in value[start..].char_indices() {
        match c {
            '\\' => backslashes += 1,
            // Each level of escaping doubles the backslashes and adds one.
            _ if c == quote
                && (backslashes <= escapes || backslashes % (2 * (escapes + 1)) == escapes) =>
            {
                return Some(start..start + index - backslashes.min(escapes));
            }
            _ => backslashes = 0,
        }
    }
    Some(start..value.len())
}

/// The password in a URL whose authority begins there; a user without one may be a token.
fn user_info(text: &str, start: usize) -> Option<FoundSecret<'_>> {
    let authority = &text[start..];
    let authority = &authority[..until(authority, |c| "/?#\"'<>".contains(c) || c.is_whitespace())];
    let user_info = &authority[..authority.rfind('@')?];
    let password = user_info.find(':').map_or(0, |colon| colon + 1);
    Some(FoundSecret { place: start + password..start + user_info.len(), quote: "" })
}

#[cfg(test)]
mod tests;
