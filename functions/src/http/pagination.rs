//! Pages of lists: `limit` and `cursor` in the query, and a `link` to the next page.
//!
//! A cursor is `base64url(position, checksum)`. It holds only what the page before showed, and its
//! checksum covers the route and the list, so it opens no other list. The checksum has no key, so a
//! client can make a cursor; it leads to another position in a list that the client may read
//! anyway. A malformed position is refused, because an engine would fail on it.

use std::num::IntErrorKind;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{ApiError, Request, Response};
use crate::domain::{PageRequest, digest, is_position};

/// Entries of a page, as many as the original's feeds show.
const DEFAULT_LIMIT: usize = 40;

/// Most entries of a page; who asks for more gets so many.
const MAX_LIMIT: usize = 100;

/// What every list reads from the query, beside the cursor.
pub const PAGED: &[&str] = &["limit"];

const CHECKSUM_BYTES: usize = 8;

/// Longest path and query of a list together, in bytes. A link repeats them with up to three bytes
/// for each, and the gateway accepts 10,240 bytes of headers in a response.
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html>
const MAX_URL_BYTES: usize = 3_000;

/// Characters that stay unescaped in a path or a query.
const ESCAPED_IN_QUERY: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'@');
const ESCAPED_IN_PATH: &AsciiSet = &ESCAPED_IN_QUERY.remove(b'/');

/// A list that comes in pages.
pub struct PagedList<'a> {
    /// Its route's path.
    pub route: &'static str,
    /// The list within its route: a user, a thread, a search. A cursor is valid for this list only.
    pub of: &'a str,
    /// What it reads from the query, and a link repeats.
    pub query: &'static [&'static str],
}

impl PagedList<'_> {
    /// Which page is asked for.
    pub fn page(&self, request: &Request) -> Result<PageRequest, ApiError> {
        let limit = match request.query_parameter("limit") {
            None => DEFAULT_LIMIT,
            Some(text) => match text.parse::<usize>() {
                Ok(limit) if limit > 0 => limit.min(MAX_LIMIT),
                Err(error) if *error.kind() == IntErrorKind::PosOverflow => MAX_LIMIT,
                _ => return Err(ApiError::InvalidLimit),
            },
        };
        let cursor = request.query_parameter("cursor");
        let after = cursor.map(|cursor| self.open(cursor).ok_or(ApiError::InvalidCursor));
        let after = after.transpose()?;
        let bytes = request.path().len() + request.query().len();
        match bytes > MAX_URL_BYTES {
            true => Err(ApiError::UrlTooLong { bytes, max_bytes: MAX_URL_BYTES }),
            false => Ok(PageRequest { limit, after }),
        }
    }

    /// The reply with a link to the next page, if there is one.
    pub fn link(&self, reply: Response, request: &Request, next: Option<&str>) -> Response {
        let Some(position) = next else { return reply };
        let path = percent_decode_str(request.path()).decode_utf8_lossy();
        let path = utf8_percent_encode(&path, ESCAPED_IN_PATH).to_string();
        let known =
            self.query.iter().filter_map(|name| Some((name, request.query_parameter(name)?)));
        let query: String =
            known.map(|(name, value)| format!("{name}={}&", escaped(value))).collect();
        let cursor = self.seal(position);
        reply.with_header("link", format!("<{path}?{query}cursor={cursor}>; rel=\"next\""))
    }

    fn seal(&self, position: &str) -> String {
        let mut bytes = position.as_bytes().to_vec();
        bytes.extend(self.checksum(position));
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    fn open(&self, cursor: &str) -> Option<String> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (position, found) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM_BYTES)?)?;
        let position = std::str::from_utf8(position).ok()?;
        let fits = is_position(position) && self.checksum(position) == found;
        fits.then(|| position.to_owned())
    }

    fn checksum(&self, position: &str) -> [u8; CHECKSUM_BYTES] {
        let hash = digest::of(&[position, self.route, self.of].map(str::as_bytes));
        std::array::from_fn(|byte| hash[byte])
    }
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED_IN_QUERY).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn any_position()(micros in 0..253_402_207_199_999_999_i64, id: u128) -> String {
            let time = jiff::Timestamp::from_microsecond(micros).unwrap();
            crate::domain::position(time, uuid::Uuid::from_u128(id))
        }
    }

    fn list(of: &str) -> PagedList<'_> {
        PagedList { route: "/list", of, query: PAGED }
    }

    proptest! {
        #[test]
        fn a_cursor_opens_its_own_list_and_no_other(
            position in any_position(), whose: String, other: String,
        ) {
            let cursor = list(&whose).seal(&position);

            prop_assert_eq!(list(&whose).open(&cursor), Some(position));
            prop_assert_eq!(list(&other).open(&cursor).is_some(), whose == other);
            let elsewhere = PagedList { route: "/another", ..list(&whose) };
            prop_assert_eq!(elsewhere.open(&cursor), None);
        }

        #[test]
        fn a_damaged_cursor_is_none(position in any_position(), at: prop::sample::Index, byte: u8) {
            let mut damaged = list("").seal(&position).into_bytes();
            let at = at.index(damaged.len());
            prop_assume!(damaged[at] != byte);
            damaged[at] = byte;

            let damaged = String::from_utf8_lossy(&damaged);

            prop_assert_eq!(list("").open(&damaged), None);
        }
    }

    #[cfg(feature = "local")]
    #[test]
    fn a_link_is_bounded_because_a_longer_url_is_refused() {
        let list = PagedList { query: &["limit", "term"], ..list("") };
        let event = |query: &str| crate::test_support::Event::new("GET", "/list").query(query);
        let position = crate::domain::position(jiff::Timestamp::UNIX_EPOCH, uuid::Uuid::nil());
        for (query, is_accepted) in [
            (format!("term={}", "!".repeat(2_990)), true),
            (format!("term={}", "!".repeat(2_991)), false),
            (format!("limit={}1&term=a", "0".repeat(2_980)), true),
            (format!("limit={}1&term=a", "0".repeat(7_000)), false),
            (format!("term=a&x={}", "y".repeat(7_000)), false),
        ] {
            let request = event(&query).request();

            let page = list.page(&request);

            assert_eq!(page.is_ok(), is_accepted, "{query:.40}");
            match page {
                Ok(_) => {
                    let reply = list.link(Response::ok(&()).unwrap(), &request, Some(&position));
                    let link = serde_json::to_value(reply).unwrap()["headers"]["link"].take();
                    assert!(link.as_str().unwrap().len() < 9_300, "{link}");
                }
                Err(error) => assert_eq!(error.status_and_code().1, "url_too_long"),
            }
        }
    }

    #[cfg(feature = "local")]
    #[test]
    fn who_asks_for_more_than_fits_a_page_gets_a_full_one_however_much_it_is() {
        for (query, expected) in [
            ("", DEFAULT_LIMIT),
            ("limit=1", 1),
            ("limit=100", MAX_LIMIT),
            ("limit=101", MAX_LIMIT),
            ("limit=99999999999999999999", MAX_LIMIT),
        ] {
            let request = crate::test_support::Event::new("GET", "/").query(query).request();

            assert_eq!(list("").page(&request).unwrap().limit, expected, "{query}");
        }
    }

    #[test]
    fn a_forged_cursor_with_a_position_that_is_none_is_none() {
        for position in ["", "#", "x", "2026-11-20", &"x".repeat(2_000)] {
            let forged = list("").seal(position);

            assert_eq!(list("").open(&forged), None, "{position:.20}");
        }
    }

    #[test]
    fn what_was_never_a_cursor_is_none() {
        for text in ["", "AAAA", "%%%", "äöü", "bm90IGEgY3Vyc29yIGF0IGFsbA"] {
            assert_eq!(list("").open(text), None, "{text}");
        }
    }
}
