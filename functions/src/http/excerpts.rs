//! The parts of a request that log lines, spans and errors repeat: bounded, and without texts that
//! users type.

/// Longest part of a URL or a header that is repeated, in bytes. One request must not fill a log.
const MAX_BYTES: usize = 1024;

/// Longest value of `limit` and of `cursor` that is repeated, in bytes. Both are shorter.
const MAX_VALUE_BYTES: usize = 128;

/// By <https://opentelemetry.io/docs/specs/semconv/registry/attributes/url/>.
const MASK: &str = "REDACTED";

/// The first 1,024 bytes of a text, or a few less at a character boundary.
pub fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_BYTES)]
}

/// A query with its names, and with the values of `limit` and `cursor`. Other values are masked,
/// because they are search terms or may be secrets.
pub fn masked_query(query: &str) -> String {
    let masked = cut(query).split('&').map(|pair| match pair.split_once('=') {
        Some((name, value)) if is_plain(name, value) => pair.to_owned(),
        Some((name, _)) => format!("{name}={MASK}"),
        None if pair.is_empty() => String::new(),
        None => MASK.to_owned(),
    });
    let masked = masked.collect::<Vec<_>>().join("&");
    cut(&masked).to_owned()
}

fn is_plain(name: &str, value: &str) -> bool {
    let is_cursor = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    value.len() <= MAX_VALUE_BYTES
        && match name {
            "limit" => value.bytes().all(|byte| byte.is_ascii_digit()),
            "cursor" => value.bytes().all(is_cursor),
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_values_of_limit_and_cursor_are_repeated() {
        for (query, expected) in [
            ("", ""),
            ("term=a+b%20c&limit=2", "term=REDACTED&limit=2"),
            ("limit=secret&limit=", "limit=REDACTED&limit="),
            ("cursor=eyJ0b2tlbiI6MX0", "cursor=eyJ0b2tlbiI6MX0"),
            ("cursor=two%20words", "cursor=REDACTED"),
            ("a=1&access_token=s3cret&b=2", "a=REDACTED&access_token=REDACTED&b=REDACTED"),
            ("X-Amz-Signature=ab%3D=cd", "X-Amz-Signature=REDACTED"),
            ("secret", "REDACTED"),
            ("&&=&", "&&=REDACTED&"),
            ("Term=a", "Term=REDACTED"),
        ] {
            assert_eq!(masked_query(query), expected);
        }
    }

    proptest! {
        #[test]
        fn no_text_and_no_query_is_repeated_beyond_the_bound(text in ".{0,3000}") {
            prop_assert!(cut(&text).len() <= MAX_BYTES && text.starts_with(cut(&text)));
            prop_assert!(cut(&text).len() + 4 > text.len().min(MAX_BYTES));
            prop_assert!(masked_query(&text).len() <= MAX_BYTES);
            prop_assert!(masked_query(&"&".repeat(text.len())).len() <= MAX_BYTES);
        }
    }
}
