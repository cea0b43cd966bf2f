//! Lists of headers, `name=value,…` with percent-encoded values.

use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use crate::client::secret;
use crate::settings::Reader;

/// The header of Honeycomb's key.
pub const TEAM: &str = "x-honeycomb-team";

/// The headers in a variable. An invalid entry is skipped and reported.
pub fn read_headers(
    reader: &mut Reader<'_>,
    variable: &'static str,
) -> Vec<(HeaderName, HeaderValue)> {
    let list = reader.get(variable).unwrap_or_default();
    let mut headers = Vec::new();
    for entry in list.split(',').filter(|entry| !entry.trim().is_empty()) {
        match parse_header(entry) {
            Ok(header) => headers.push(header),
            Err(reason) => reader.reject(variable, reason),
        }
    }
    headers
}

/// The headers of a list without an invalid entry.
pub fn parse_headers(list: &str) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    list.split(',').filter(|entry| !entry.trim().is_empty()).map(parse_header).collect()
}

/// The value of the header `key` in a list.
pub fn header_value(list: &str, key: &str) -> Option<Result<String, String>> {
    list.split(',').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case(key).then(|| decoded(value))
    })
}

/// The name is not part of an error: it is part of a value that has a comma.
fn parse_header(entry: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) =
        entry.split_once('=').ok_or("has an entry that is ignored: not name=value")?;
    let name = decoded(name).ok().and_then(|name| name.parse().ok());
    let name = name.ok_or("has an entry that is ignored: no header may have its name")?;
    let value = decoded(value).and_then(|value| secret::key(&value));
    Ok((name, value.map_err(|reason| format!("has an entry that is ignored: its value {reason}"))?))
}

/// As in W3C's baggage: <https://www.w3.org/TR/baggage/#value>
fn decoded(text: &str) -> Result<String, String> {
    let text = percent_decode_str(text.trim()).decode_utf8();
    text.map(String::from).map_err(|_| "is not UTF-8".to_owned())
}
