//! OTLP replies: the response message, or a `google.rpc.Status`.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use prost::Message;
use serde_json::json;

use crate::otlp::payload::SignalKind;
use crate::receiver::otlp::encoding::Encoding;
use crate::receiver::otlp::refusal::{MalformedItems, Refusal};

/// `google.rpc.Status`; over HTTP, clients ignore `code` by the specification.
#[derive(PartialEq, prost::Message)]
pub(super) struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Detail>,
}

/// `google.protobuf.Any`
#[derive(PartialEq, prost::Message)]
struct Detail {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes, tag = "2")]
    value: Vec<u8>,
}

impl RpcStatus {
    pub(super) fn new(code: i32, refusal: &Refusal) -> Self {
        Self { code, message: refusal.reason.to_string(), details: Vec::new() }
    }

    pub(super) fn with_detail(mut self, name: &str, detail: &impl Message) -> Self {
        let type_url = format!("type.googleapis.com/{name}");
        self.details.push(Detail { type_url, value: detail.encode_to_vec() });
        self
    }
}

/// `Export…ServiceResponse`, whose fields have the same numbers for each signal.
#[derive(PartialEq, prost::Message)]
struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(PartialEq, prost::Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

/// The response message; without malformed items it is empty.
pub(super) fn message(malformed: Option<&MalformedItems>) -> Vec<u8> {
    let partial_success = malformed.map(|malformed| {
        let rejected = i64::try_from(malformed.count).unwrap_or(i64::MAX);
        PartialSuccess { rejected, error_message: malformed.to_string() }
    });
    ExportResponse { partial_success }.encode_to_vec()
}

/// Success for all items but the malformed ones.
pub(super) fn partly_accepted(
    malformed: &MalformedItems,
    encoding: Encoding,
) -> Response<Full<Bytes>> {
    let body = match encoding {
        Encoding::Protobuf => message(Some(malformed)),
        Encoding::Json => {
            let rejected = match malformed.kind {
                SignalKind::Metrics => "rejectedDataPoints",
                SignalKind::Logs => "rejectedLogRecords",
                _ => "rejectedSpans",
            };
            // ProtoJSON writes 64 bits as text.
            let count = malformed.count.to_string();
            let partial = json!({ rejected: count, "errorMessage": malformed.to_string() });
            json!({ "partialSuccess": partial }).to_string().into()
        }
    };
    response(StatusCode::OK, encoding, body.into())
}

/// Full success: the response message of each kind without `partial_success`.
pub(super) fn accepted(encoding: Encoding) -> Response<Full<Bytes>> {
    let body = match encoding {
        Encoding::Protobuf => Bytes::new(),
        Encoding::Json => Bytes::from_static(b"{}"),
    };
    response(StatusCode::OK, encoding, body)
}

/// A 4xx or 5xx with the reason.
pub(super) fn refused(refusal: &Refusal, encoding: Encoding) -> Response<Full<Bytes>> {
    let body = match encoding {
        Encoding::Protobuf => RpcStatus::new(0, refusal).encode_to_vec(),
        Encoding::Json => json!({ "message": refusal.reason }).to_string().into(),
    };
    let mut response = response(refusal.status, encoding, body.into());
    if refusal.status == StatusCode::METHOD_NOT_ALLOWED {
        // RFC 9110 requires the list of methods.
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

fn response(status: StatusCode, encoding: Encoding, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let media_type = HeaderValue::from_static(encoding.media_type());
    response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    response
}
