//! Masks secrets in log lines, items and OTLP: values of fields, and the text after their names.
//!
//! A name counts if it is the last part of a path, in any case: `password`, `db.Password` and
//! `user[password]`, not `password_hash`. The value becomes [`MASK`], whatever its type or length.

mod text;

use std::borrow::Cow;

pub const MASK: &str = "***";

/// Rollbar's own list, with the headers and cookies that it lacks.
/// <https://github.com/rollbar/pyrollbar/blob/master/rollbar/__init__.py>
const NAMES: [&str; 26] = [
    "pw",
    "passwd",
    "password",
    "secret",
    "confirm_password",
    "confirmPassword",
    "password_confirmation",
    "passwordConfirmation",
    "access_token",
    "accessToken",
    "auth",
    "authentication",
    "authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
    "api_key",
    "api-key",
    "apikey",
    "client_secret",
    "clientSecret",
    "token",
    "session",
    "x-honeycomb-team",
    "x-rollbar-access-token",
    "x-amz-security-token",
];

#[derive(Clone, Debug)]
pub struct Scrubber {
    names: Vec<String>,
    /// For the first byte of a name, a bit for each length. It rejects most names, and each attribute of
    /// each span has one.
    lengths: Box<[u64; 256]>,
}

impl Scrubber {
    /// Masks the usual names and `further` ones.
    pub fn new(further: &[String]) -> Self {
        let names = NAMES.iter().map(|name| (*name).to_owned()).chain(further.iter().cloned());
        Self::of_names(names.collect())
    }

    /// Masks nothing if the names are `None`.
    pub fn configured(further: Option<&[String]>) -> Self {
        further.map_or_else(|| Self::of_names(Vec::new()), Self::new)
    }

    fn of_names(names: Vec<String>) -> Self {
        let mut lengths = Box::new([0; 256]);
        for (first, bit) in names.iter().filter_map(|name| first_and_length(name.as_bytes())) {
            lengths[first] |= bit;
        }
        Self { names, lengths }
    }

    pub fn is_on(&self) -> bool {
        !self.names.is_empty()
    }

    pub fn is_secret(&self, name: impl AsRef<[u8]>) -> bool {
        let name = name.as_ref();
        let length = name.iter().rposition(|byte| !b"[]".contains(byte)).map_or(0, |last| last + 1);
        let name = &name[..length];
        let start = name.iter().rposition(|byte| b".[".contains(byte)).map_or(0, |at| at + 1);
        let name = &name[start..];
        let is_possible =
            first_and_length(name).is_some_and(|(first, bit)| self.lengths[first] & bit != 0);
        is_possible && self.names.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name))
    }

    /// The JSON on one line with masked secrets. Order and spelling of all other parts stay, but
    /// for line ends and the blanks around colons. In text that is not JSON, only quoted parts and the
    /// values after quoted names are masked.
    pub fn json(&self, json: &str) -> String {
        let mut out = String::with_capacity(json.len());
        let mut rest = json;
        while let Some(start) = rest.find('"') {
            push_on_one_line(&mut out, &rest[..start]);
            let (string, after) = rest[start..].split_at(string_length(&rest[start..]));
            rest = after;
            let Some(value) = after.trim_start().strip_prefix(':') else {
                out.push_str(&self.string(string));
                continue;
            };
            out.push_str(string);
            out.push(':');
            rest = value.trim_start();
            if self.is_secret(&*unescaped(string)) {
                out.push_str("\"***\"");
                rest = &rest[value_length(rest)..];
            }
        }
        push_on_one_line(&mut out, rest);
        out
    }

    /// A JSON string with its quotes, masked as [text](Self::text).
    fn string<'a>(&self, string: &'a str) -> Cow<'a, str> {
        let plain = unescaped(string);
        match self.text(&plain) {
            Cow::Borrowed(_) => Cow::Borrowed(string),
            Cow::Owned(masked) => Cow::Owned(serde_json::Value::from(masked).to_string()),
        }
    }
}

/// The index and the bit of a name in [`Scrubber::lengths`]. `None` for an empty name.
fn first_and_length(name: &[u8]) -> Option<(usize, u64)> {
    let first = name.first()?.to_ascii_lowercase();
    Some((first.into(), 1 << name.len().min(63)))
}

/// Appends the tokens without the line ends between them.
fn push_on_one_line(out: &mut String, tokens: &str) {
    let pieces = tokens.split(['\n', '\r']);
    pieces.for_each(|piece| out.push_str(piece));
}

/// The text between a JSON string's quotes. With an invalid escape, all its escapes stay as they are.
fn unescaped(string: &str) -> Cow<'_, str> {
    let inner = string.strip_prefix('"').unwrap_or(string);
    let inner = inner.strip_suffix('"').unwrap_or(inner);
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    serde_json::from_str(string).map_or(Cow::Borrowed(inner), Cow::Owned)
}

/// Bytes of the JSON string at the beginning, quotes included; all bytes if it does not end.
fn string_length(json: &str) -> usize {
    let mut escaped = false;
    for (index, byte) in json.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return index + 1,
            _ => {}
        }
    }
    json.len()
}

/// Bytes of the JSON value at the beginning; all bytes if it does not end.
fn value_length(json: &str) -> usize {
    let (mut depth, mut index) = (0_usize, 0);
    while let Some(byte) = json.as_bytes().get(index) {
        match byte {
            b'"' => {
                index += string_length(&json[index..]);
                if depth == 0 {
                    return index;
                }
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' | b',' if depth == 0 => return index,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return index + 1;
                }
            }
            _ => {}
        }
        index += 1;
    }
    json.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn scrubber() -> Scrubber {
        Scrubber::new(&["pin".to_owned()])
    }

    #[test]
    fn a_secret_field_is_masked_whatever_it_holds() {
        for secret in [r#""a \" b""#, "12.5e3", "null", "true", r#"{"a":["}",{}]}"#, "[[1],[2]]"] {
            let json = format!(r#"{{"a":[1,{{"Password": {secret} , "b":"]"}}],"c":2}}"#);

            let masked: Value = serde_json::from_str(&scrubber().json(&json)).unwrap();

            assert_eq!(masked, json!({"a": [1, {"Password": "***", "b": "]"}], "c": 2}), "{json}");
        }
    }

    #[test]
    fn names_count_in_any_case_and_only_as_the_last_part_of_a_path() {
        for (name, expected) in [
            ("password", true),
            ("Authorization", true),
            ("http.request.header.set-cookie", true),
            ("PIN", true),
            ("stripe.api_key", true),
            ("apiKey", true),
            ("http.request.header.api-key", true),
            ("oauth[client_secret]", true),
            ("clientSecret", true),
            ("api_key_id", false),
            ("password_hash", false),
            ("token.count", false),
            ("user[password]", true),
            ("user[token][]", true),
            ("token[count]", false),
            ("", false),
        ] {
            assert_eq!(scrubber().is_secret(name), expected, "{name}");
        }
    }

    #[test]
    fn an_escaped_name_hides_nothing() {
        assert_eq!(scrubber().json(r#"{"pass\u0077ord":"x"}"#), r#"{"pass\u0077ord":"***"}"#);
    }

    #[test]
    fn queries_are_masked_in_texts_and_in_fields() {
        let text = "GET /a?token=abc&b=1#c https://x/?access_token=d%20e f=token ?pw=";

        let expected = "GET /a?token=***&b=1#c https://x/?access_token=*** f=token ?pw=";
        assert_eq!(scrubber().text(text), expected);
        let go = r#"{"url":"/a?b=1\u0026token=abc\"","c":"a\u0026b=1"}"#;
        assert_eq!(scrubber().json(go), r#"{"url":"/a?b=1&token=***\"","c":"a\u0026b=1"}"#);
    }

    #[test]
    fn json_within_a_field_is_masked_as_well() {
        let json = r#"{"body":"{\"password\":\"p4ss\"}","n":"\ud800 token: x"}"#;

        let expected = r#"{"body":"{\"password\":\"***\"}","n":"\\ud800 token: ***"}"#;
        assert_eq!(scrubber().json(json), expected);
    }

    #[test]
    fn json_comes_out_on_one_line() {
        assert_eq!(scrubber().json("{\n\"a\" :\r\n\"b\\n\" }"), r#"{"a":"b\n" }"#);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            let key = prop_oneof![any::<String>(), Just("token".to_owned())];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(key, inner, 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    /// The plain way to do it, on the tree.
    fn masked(value: Value, scrubber: &Scrubber) -> Value {
        match value {
            Value::Object(fields) => {
                let mask = |(key, value): (String, Value)| {
                    let secret = scrubber.is_secret(&key);
                    let value = if secret { MASK.into() } else { masked(value, scrubber) };
                    (key, value)
                };
                Value::Object(fields.into_iter().map(mask).collect())
            }
            Value::Array(items) => items.into_iter().map(|item| masked(item, scrubber)).collect(),
            Value::String(text) => scrubber.text(&text).into_owned().into(),
            other => other,
        }
    }

    proptest! {
        #[test]
        fn on_the_text_is_what_it_is_on_the_tree(json in any_json(), pretty: bool) {
            let text = if pretty {
                serde_json::to_string_pretty(&json).unwrap()
            } else {
                json.to_string()
            };

            let scrubbed = scrubber().json(&text);

            prop_assert!(!scrubbed.contains('\n'));
            let scrubbed: Value = serde_json::from_str(&scrubbed).unwrap();
            prop_assert_eq!(scrubbed, masked(json, &scrubber()));
        }

        #[test]
        fn nothing_that_is_no_json_panics(text: String) {
            scrubber().json(&text);
            scrubber().text(&text);
        }
    }
}
