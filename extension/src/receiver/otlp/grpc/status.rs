//! Answers of gRPC: a status in the trailers, or in the headers if no message comes before it.

use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use prost::Message;

use crate::receiver::answer::AnswerBody;
use crate::receiver::otlp::grpc::frame;
use crate::receiver::otlp::refusal::Refusal;
use crate::receiver::otlp::reply::RpcStatus;

pub(super) const MEDIA_TYPE: &str = "application/grpc";

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const STATUS_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// Bytes of a message that are percent-encoded, beside those that are not ASCII.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

/// The pause before a retry. The bytes of other requests are read in much less.
const RETRY_SECONDS: i64 = 1;

/// <https://grpc.io/docs/guides/status-codes/>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
}

impl Code {
    /// The code for a request that OTLP/HTTP answers with `status`. Clients retry `Unavailable` and
    /// `DeadlineExceeded`; `ResourceExhausted` they retry only with a `RetryInfo`.
    /// <https://opentelemetry.io/docs/specs/otlp/#failures>
    fn of(status: StatusCode) -> Self {
        match status {
            StatusCode::BAD_REQUEST => Self::InvalidArgument,
            StatusCode::REQUEST_TIMEOUT => Self::DeadlineExceeded,
            StatusCode::PAYLOAD_TOO_LARGE => Self::ResourceExhausted,
            StatusCode::NOT_FOUND | StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::Unimplemented,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Self::Unavailable,
            _ => Self::Internal,
        }
    }
}

/// `google.rpc.RetryInfo`
#[derive(PartialEq, prost::Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    delay: Option<Delay>,
}

/// `google.protobuf.Duration`
#[derive(PartialEq, prost::Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
}

/// Success, full or partial.
pub(super) fn accepted(message: &[u8]) -> Response<AnswerBody> {
    let trailers = HeaderMap::from_iter([(GRPC_STATUS, HeaderValue::from_static("0"))]);
    response(AnswerBody::with_trailers(frame::write(message), trailers))
}

pub(super) fn refused(refusal: &Refusal) -> Response<AnswerBody> {
    let code = Code::of(refusal.status);
    let mut response = response(AnswerBody::default());
    let headers = response.headers_mut();
    headers.insert(GRPC_STATUS, HeaderValue::from(code as u16));
    let message = utf8_percent_encode(&refusal.reason, ENCODED).to_string();
    if let Ok(message) = HeaderValue::from_str(&message) {
        headers.insert(GRPC_MESSAGE, message);
    }
    if code == Code::Unimplemented {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity,gzip"));
    }
    if code == Code::Unavailable
        && let Ok(details) = HeaderValue::from_str(&retry_info(code, refusal))
    {
        headers.insert(STATUS_DETAILS, details);
    }
    response
}

fn retry_info(code: Code, refusal: &Refusal) -> String {
    let retry = RetryInfo { delay: Some(Delay { seconds: RETRY_SECONDS }) };
    let status = RpcStatus::new(code as i32, refusal).with_detail("google.rpc.RetryInfo", &retry);
    BASE64_STANDARD_NO_PAD.encode(status.encode_to_vec())
}

fn response(body: AnswerBody) -> Response<AnswerBody> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_of_http_has_its_code() {
        let codes = [400, 404, 408, 413, 415, 429, 500, 503]
            .map(|status| Code::of(StatusCode::from_u16(status).unwrap()) as u16);

        assert_eq!(codes, [3, 12, 4, 8, 12, 14, 13, 14]);
    }

    #[test]
    fn a_reason_is_a_header_whatever_its_characters() {
        let refusal = Refusal::new(StatusCode::BAD_REQUEST, "100 % of „a\nb“");

        let response = refused(&refusal);

        let message = response.headers()[GRPC_MESSAGE].to_str().unwrap();
        assert_eq!(message, "100 %25 of %E2%80%9Ea%0Ab%E2%80%9C");
    }
}
