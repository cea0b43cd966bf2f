//! What the caller of an invocation gets.

use std::collections::BTreeMap;
use std::io::Read;
use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use flate2::read::GzDecoder;
use serde_json::Value;

use crate::event::root_trace_id;

/// The function's reply, read the way API Gateway reads payload format 2.0.
#[derive(Clone, Debug)]
pub struct Reply {
    /// `statusCode`; 200 if the payload has none, as at the gateway.
    pub status: u16,
    /// Headers, names as the function wrote them in lower case.
    pub headers: BTreeMap<String, String>,
    /// `Set-Cookie` values.
    pub cookies: Vec<String>,
    /// The body as text, without base64 and gzip.
    pub body: String,
    /// Bytes of the body on the wire: without base64, with gzip.
    pub body_bytes: usize,
    /// The body as JSON; `null` if it is something else.
    pub json: Value,
    /// What the function posted, untouched.
    pub payload: Bytes,
    /// The invocation.
    pub request_id: String,
    /// The trace header that the Runtime API handed over, if any.
    pub trace_header: Option<String>,
    /// From the call of `invoke` to the reply, waiting and a cold start included.
    pub latency: Duration,
}

impl Reply {
    /// The trace header's `Root` as OpenTelemetry writes it.
    pub fn root_trace_id(&self) -> Option<String> {
        root_trace_id(self.trace_header.as_deref()?)
    }
}

/// An invocation without a reply. `request_id` tells which.
#[derive(Clone, Debug)]
pub struct InvokeError {
    /// The invocation.
    pub request_id: String,
    /// Why there is no reply.
    pub kind: FailureKind,
}

/// Why an invocation failed. The comment is the platform's `errorType`.
#[derive(Clone, Debug, PartialEq)]
pub enum FailureKind {
    /// The runtime posted an error; the payload is `{errorType, errorMessage, …}`.
    Function(Value),
    /// The function's time was over (`Sandbox.Timedout`).
    Timeout,
    /// The runtime's process ended (`Runtime.ExitError`).
    RuntimeExit,
    /// The same, since memory ran out (`Runtime.OutOfMemory`).
    OutOfMemory,
    /// An extension's process ended (`Extension.Crash`).
    ExtensionCrash,
    /// An extension called exit/error (`Extension.ExitError`).
    ExtensionExitError,
    /// The processes did not come up; the text is the `errorType`.
    Init(&'static str),
    /// The reply was over 6 MB (`Function.ResponseSizeTooLarge`).
    ResponseTooLarge,
    /// The reply's body broke off (`Runtime.TruncatedResponse`).
    TruncatedResponse,
}

impl FailureKind {
    /// `errorType` of platform events; none for a timeout.
    pub(crate) fn error_type(&self) -> Option<&'static str> {
        match self {
            FailureKind::Function(_) => Some("Function.Unknown"),
            FailureKind::Timeout => None,
            FailureKind::RuntimeExit => Some("Runtime.ExitError"),
            FailureKind::OutOfMemory => Some("Runtime.OutOfMemory"),
            FailureKind::ExtensionCrash => Some("Extension.Crash"),
            FailureKind::ExtensionExitError => Some("Extension.ExitError"),
            FailureKind::Init(error_type) => Some(error_type),
            FailureKind::ResponseTooLarge => Some("Function.ResponseSizeTooLarge"),
            FailureKind::TruncatedResponse => Some("Runtime.TruncatedResponse"),
        }
    }

    /// `status` of platform events.
    pub(crate) fn status(&self) -> &'static str {
        if *self == FailureKind::Timeout { "timeout" } else { "error" }
    }
}

/// What `invoke` hands back.
pub type Outcome = Result<Reply, InvokeError>;

/// Between the head and the body of a streamed reply.
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-response-streaming.html>
const STREAM_SEPARATOR: [u8; 8] = [0; 8];

/// The fields that the gateway takes from a payload, whole or streamed: status, headers, body.
pub(crate) struct GatewayReply {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) cookies: Vec<String>,
    pub(crate) body: Vec<u8>,
}

impl GatewayReply {
    /// Reads the payload; what is no reply object is itself the body of a 200.
    pub(crate) fn parse(payload: &[u8], streamed: bool) -> GatewayReply {
        if streamed {
            let separator = payload.windows(8).position(|bytes| bytes == STREAM_SEPARATOR);
            if let Some(at) = separator {
                let head = serde_json::from_slice(&payload[..at]).unwrap_or_default();
                let body = payload[at + 8..].to_vec();
                return GatewayReply::from_head(&head, body);
            }
        }
        let reply: Value = serde_json::from_slice(payload).unwrap_or_default();
        if reply.get("statusCode").is_none() {
            let body = payload.to_vec();
            return GatewayReply::from_head(&Value::Null, body);
        }
        let text = reply["body"].as_str().unwrap_or_default();
        let body = match reply["isBase64Encoded"] == true {
            true => BASE64_STANDARD.decode(text).unwrap_or_default(),
            false => text.as_bytes().to_vec(),
        };
        GatewayReply::from_head(&reply, body)
    }

    /// The body as text, as a client decodes it.
    pub(crate) fn text(&self) -> String {
        let is_gzip = self.headers.get("content-encoding").is_some_and(|coding| coding == "gzip");
        let mut text = Vec::new();
        match is_gzip && GzDecoder::new(self.body.as_slice()).read_to_end(&mut text).is_ok() {
            true => String::from_utf8_lossy(&text).into_owned(),
            false => String::from_utf8_lossy(&self.body).into_owned(),
        }
    }

    fn from_head(head: &Value, body: Vec<u8>) -> GatewayReply {
        let status = head["statusCode"].as_u64().and_then(|status| u16::try_from(status).ok());
        let mut headers = BTreeMap::new();
        // `lambda_http` writes all headers to `multiValueHeaders` and, for format 2.0, to `headers`.
        for (name, value) in head["headers"].as_object().into_iter().flatten() {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            headers.insert(name.to_ascii_lowercase(), value);
        }
        let cookies = head["cookies"].as_array().into_iter().flatten();
        let cookies = cookies.filter_map(|cookie| cookie.as_str().map(str::to_owned)).collect();
        GatewayReply { status: status.unwrap_or(200), headers, cookies, body }
    }
}
