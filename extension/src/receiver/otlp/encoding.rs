//! The encoding and compression of request bodies.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use hyper::body::Incoming;

use crate::receiver::{
    body::{self, BodyBudget, Reservation},
    otlp::refusal::Refusal,
};

/// The encoding of the message, and of its reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Encoding {
    /// `application/x-protobuf`, or `application/protobuf` in requests.
    #[default]
    Protobuf,
    /// `application/json`
    Json,
}

/// The content type is missing or not a known one.
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

/// Reads and decompresses a body, with its reservation: at most `max_bytes` before and after.
pub(super) async fn read(
    request: Request<Incoming>,
    max_bytes: usize,
    room: &BodyBudget,
) -> Result<(Bytes, Reservation<'_>), Refusal> {
    let compression = request.headers().get(header::CONTENT_ENCODING).cloned();
    let (body, mut taken) = body::read(request, max_bytes, room).await?;
    let compression = compression.as_ref().map_or(&b"identity"[..], HeaderValue::as_bytes);
    match compression.to_ascii_lowercase().as_slice() {
        b"identity" => Ok((body, taken)),
        b"gzip" => {
            let plain = body::gunzip(&body, max_bytes)?;
            room.take(&mut taken, plain.len())?;
            Ok((plain, taken))
        }
        _ => Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send gzip or no encoding")),
    }
}
