//! Reads X-Ray's answer to an OTLP call.
//!
//! | answer | consequence |
//! |---|---|
//! | success | the spans that a partial success rejects are counted |
//! | 400 that names the trace segment destination | Transaction Search is off: the endpoint is closed |
//! | 403 that denies the role | the endpoint is closed |
//! | 404 or 405 | there is no such endpoint, as at an emulator: it is closed |
//! | signature, token or clock | the batch is kept |
//! | 429, 5xx, throttled | the batch is kept for the time that X-Ray asks for |
//! | another 4xx | the pipeline sends the batch in parts and drops the refused part |

use std::{borrow::Cow, time::SystemTime};

use http::StatusCode;
use serde_json::Value as Json;
use tracing::warn;

use crate::client::aws::status_by_code;
use crate::client::http::{HttpReply, readable, retry_after};
use crate::delivery::error::ExportError;
use crate::otlp::partial_success;
use crate::otlp::wire::{self, Value};

/// Switches Transaction Search on, for all traces of an account and Region.
const OPEN_COMMAND: &str = "aws xray update-trace-segment-destination --destination CloudWatchLogs";

/// Why X-Ray did not take a call.
#[derive(Debug)]
pub(crate) enum OtlpRefusal {
    /// X-Ray takes no OTLP from this account or role, but may take segments.
    Closed(ExportError),
    Failed(ExportError),
}

/// The number of spans that a partial success rejected. Logs the reason.
pub(super) fn rejected_spans(reply: &HttpReply, now: SystemTime) -> Result<u64, OtlpRefusal> {
    if !reply.status.is_success() {
        return Err(refusal(reply, now));
    }
    let foreign = |_| OtlpRefusal::Failed(ExportError::ForeignReply(readable(&reply.body)));
    let Some(rejected) = partial_success::read(&reply.body).map_err(foreign)? else { return Ok(0) };
    let reason = readable(rejected.reason.as_bytes());
    warn!("X-Ray rejected {} spans of a call: {reason}", rejected.count);
    Ok(rejected.count)
}

fn refusal(reply: &HttpReply, now: SystemTime) -> OtlpRefusal {
    let body = AwsErrorBody::read(reply);
    let (code, text) = (body.code.as_ref(), body.message.as_ref());
    let status = status_by_code(code, reply.status, text);
    let message = readable(format!("{code} {text}").trim().as_bytes());
    let error = |advice: &str| ExportError::Status {
        status,
        message: format!("{message}{advice}"),
        retry_after: retry_after(&reply.headers, now),
    };
    match status {
        StatusCode::BAD_REQUEST if names_destination(text) => OtlpRefusal::Closed(error(&format!(
            "; `{OPEN_COMMAND}` switches Transaction Search on for the whole account and Region"
        ))),
        StatusCode::FORBIDDEN if is_access_denied(code, text) => OtlpRefusal::Closed(error(
            "; the function's role needs xray:PutSpans and xray:PutSpansForIndexing",
        )),
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            OtlpRefusal::Closed(error("; the endpoint has no /v1/traces"))
        }
        _ => OtlpRefusal::Failed(error("")),
    }
}

/// Whether the traces of the account go to X-Ray's own store, which takes segments only.
fn names_destination(text: &str) -> bool {
    let text: String = text.chars().filter(|char| char.is_ascii_alphabetic()).collect();
    text.to_ascii_lowercase().contains("tracesegmentdestination")
}

/// Whether the role lacks a permission. A wrong signature, token or clock also gets 403.
fn is_access_denied(code: &str, text: &str) -> bool {
    let is_identity = ["signature", "security token", "expired", "credential", "clock"];
    let lower = text.to_ascii_lowercase();
    lower.contains("not authorized to perform")
        || (code.starts_with("AccessDenied") || lower.contains("accessdenied"))
            && !is_identity.iter().any(|word| lower.contains(word))
}

/// An error in any of the forms that AWS's services use. Both texts may be empty.
struct AwsErrorBody<'a> {
    /// Such as `AccessDeniedException`.
    code: Cow<'a, str>,
    message: Cow<'a, str>,
}

impl<'a> AwsErrorBody<'a> {
    fn read(reply: &'a HttpReply) -> Self {
        let json: Json = serde_json::from_slice(&reply.body).unwrap_or_default();
        let text = |names: [&str; 3]| names.into_iter().find_map(|name| json.get(name)?.as_str());
        let in_header = reply.headers.get("x-amzn-errortype").and_then(|it| it.to_str().ok());
        let code = in_header.or_else(|| text(["__type", "code", "Code"])).unwrap_or_default();
        let code = code.split(':').next().unwrap_or_default();
        let code = code.rsplit('#').next().unwrap_or_default().to_owned();
        let message = match text(["message", "Message", "errorMessage"]) {
            Some(message) => Cow::Owned(message.to_owned()),
            None => status_message(&reply.body)
                .map_or_else(|| String::from_utf8_lossy(&reply.body), Cow::Borrowed),
        };
        Self { code: code.into(), message }
    }
}

/// The message of a `google.rpc.Status` in protobuf: code (1), message (2), details (3).
fn status_message(body: &[u8]) -> Option<&str> {
    let mut message = None;
    for field in wire::fields(body) {
        match field.ok()? {
            (1, Value::Varint(_)) | (3, Value::Bytes(_)) => {}
            (2, Value::Bytes(text)) => message = Some(std::str::from_utf8(text).ok()?),
            _ => return None,
        }
    }
    message
}

#[cfg(test)]
mod tests;
