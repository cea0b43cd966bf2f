//! What goes out.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::StatusCode;
use serde::Serialize;

/// A reply; serialises to payload format 2.0 of an HTTP API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    status_code: u16,
    headers: BTreeMap<&'static str, String>,
    body: String,
    is_base64_encoded: bool,
    /// None, but cargo-lambda's emulator refuses a reply that does not say so.
    cookies: [&'static str; 0],
}

/// The body of a response cannot be written as JSON.
#[derive(Debug, thiserror::Error)]
#[error("the reply could not be encoded")]
pub struct EncodeError(#[from] serde_json::Error);

impl Response {
    /// 200 with `body` as JSON. Fails only if `body` cannot be JSON, such as a map with odd keys.
    pub fn ok(body: &impl Serialize) -> Result<Self, EncodeError> {
        let body = serde_json::to_string(body)?;
        Ok(Self::json(StatusCode::OK, body))
    }

    /// 200 with a JSON body that has been written before.
    pub fn replayed(body: String) -> Self {
        Self::json(StatusCode::OK, body)
    }

    /// 200 with a text that a browser shows.
    pub fn html(body: &str) -> Self {
        let headers = BTreeMap::from([("content-type", "text/html; charset=utf-8".to_owned())]);
        Self { headers, ..Self::json(StatusCode::OK, body.to_owned()) }
    }

    /// 200 with a message of protobuf that says nothing.
    pub fn empty_protobuf() -> Self {
        Self::empty(StatusCode::OK).with_header("content-type", "application/x-protobuf".to_owned())
    }

    /// No body.
    pub(super) fn empty(status: StatusCode) -> Self {
        Self { headers: BTreeMap::new(), ..Self::json(status, String::new()) }
    }

    /// An array of one code, the shape in which the page expects every error.
    pub(super) fn code(status: StatusCode, code: &'static str) -> Self {
        Self::json(status, format!("[\"{code}\"]")) // codes are plain words: nothing to escape
    }

    /// The same reply with one more header.
    pub(crate) fn with_header(mut self, name: &'static str, value: String) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// The value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The same reply with another body.
    pub(super) fn with_body(self, body: String) -> Self {
        Self { body, ..self }
    }

    /// The same reply without a body. Its headers stay.
    pub(super) fn without_body(self) -> Self {
        Self { body: String::new(), is_base64_encoded: false, ..self }
    }

    /// 304, with the headers that caches need.
    pub(super) fn not_modified(mut self) -> Self {
        self.headers.remove("content-type");
        Self { status_code: StatusCode::NOT_MODIFIED.as_u16(), ..self.without_body() }
    }

    /// The same reply with its body in another coding, which is not text.
    pub(super) fn encoded(self, coding: &'static str, bytes: &[u8]) -> Self {
        let body = BASE64_STANDARD.encode(bytes);
        Self { body, is_base64_encoded: true, ..self }
            .with_header("content-encoding", coding.to_owned())
    }

    /// Bytes of the body on the wire.
    pub fn body_bytes(&self) -> usize {
        let padding = self.body.bytes().rev().take_while(|byte| *byte == b'=').count();
        match self.is_base64_encoded {
            true => self.body.len() / 4 * 3 - padding,
            false => self.body.len(),
        }
    }

    /// The status, as a number.
    pub fn status_code(&self) -> u16 {
        self.status_code
    }

    /// The text of the body.
    pub fn body(&self) -> &str {
        &self.body
    }

    fn json(status: StatusCode, body: String) -> Self {
        Self {
            status_code: status.as_u16(),
            headers: BTreeMap::from([("content-type", "application/json".to_owned())]),
            body,
            is_base64_encoded: false,
            cookies: [],
        }
    }
}
