//! Reading a request's body within its limits.

use std::io::Read;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::time::timeout;

use super::reply::Refusal;
use crate::receiver::BODY_TIMEOUT;

/// How the message is written; the reply is written the same way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Encoding {
    /// `application/x-protobuf`
    #[default]
    Protobuf,
    /// `application/json`
    Json,
}

/// The content type is neither of the two.
#[derive(Debug)]
pub(super) struct UnknownEncoding;

impl Encoding {
    /// From the header `content-type`, whose parameters do not matter.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, UnknownEncoding> {
        let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = value.and_then(|value| value.split(';').next()).unwrap_or_default();
        match media_type.trim().to_ascii_lowercase().as_str() {
            "application/x-protobuf" | "application/protobuf" => Ok(Self::Protobuf),
            "application/json" => Ok(Self::Json),
            _ => Err(UnknownEncoding),
        }
    }

    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }
}

/// The body, decompressed. At most `max_bytes`, before and after.
pub(super) async fn read(request: Request<Incoming>, max_bytes: usize) -> Result<Bytes, Refusal> {
    let too_large =
        || Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, format!("more than {max_bytes} bytes"));
    let compression = request.headers().get(header::CONTENT_ENCODING).cloned();
    let body = timeout(BODY_TIMEOUT, Limited::new(request.into_body(), max_bytes).collect())
        .await
        .map_err(|_| Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"))?
        .map_err(|error| match error.downcast_ref::<LengthLimitError>() {
            Some(_) => too_large(),
            None => Refusal::new(StatusCode::BAD_REQUEST, format!("the body broke off: {error}")),
        })?
        .to_bytes();
    let compression = compression.as_ref().map_or(&b"identity"[..], HeaderValue::as_bytes);
    match compression.to_ascii_lowercase().as_slice() {
        b"identity" => Ok(body),
        b"gzip" => {
            let mut plain = Vec::new();
            MultiGzDecoder::new(&body[..])
                .take(max_bytes as u64 + 1)
                .read_to_end(&mut plain)
                .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, format!("gzip: {error}")))?;
            if plain.len() > max_bytes { Err(too_large()) } else { Ok(plain.into()) }
        }
        _ => Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send gzip or no encoding")),
    }
}
