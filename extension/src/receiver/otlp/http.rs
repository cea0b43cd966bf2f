//! The OTLP/HTTP receiver: `POST /v1/traces`, `/v1/logs` and `/v1/metrics`, in protobuf or JSON,
//! plain or gzip.
//! <https://github.com/open-telemetry/opentelemetry-proto/blob/main/docs/specification.md>
//!
//! A refused request is answered 4xx, 503, or 500 after a panic of the pipeline.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;

use crate::otlp::payload::SignalKind;
use crate::receiver::otlp::encoding::Encoding;
use crate::receiver::otlp::intake::OtlpReceiver;
use crate::receiver::otlp::refusal::{MalformedItems, Refusal};
use crate::receiver::otlp::{encoding, reply};

/// Answers a request.
pub async fn handle(receiver: &OtlpReceiver, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let encoding = Encoding::of(request.headers()).ok();
    let outcome = accept(receiver, request, encoding).await;
    receiver.count(&outcome).await;
    let encoding = encoding.unwrap_or_default();
    match &outcome {
        Ok(None) => reply::accepted(encoding),
        Ok(Some(malformed)) => reply::partly_accepted(malformed, encoding),
        Err(refusal) => reply::refused(refusal, encoding),
    }
}

async fn accept(
    receiver: &OtlpReceiver,
    request: Request<Incoming>,
    encoding: Option<Encoding>,
) -> Result<Option<MalformedItems>, Refusal> {
    let path = request.uri().path();
    let named = |kind: &SignalKind| path.strip_prefix("/v1/") == Some(kind.name());
    let kind = SignalKind::OTLP.into_iter().find(named).ok_or_else(|| {
        let reason = "this receiver takes /v1/traces, /v1/logs and /v1/metrics";
        Refusal::new(StatusCode::NOT_FOUND, reason)
    })?;
    if request.method() != Method::POST {
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "use POST"));
    }
    let encoding = encoding.ok_or_else(|| {
        let reason = "send application/x-protobuf or application/json";
        Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason)
    })?;
    let (bytes, _room) = encoding::read(request, receiver.max_body_bytes, &receiver.room).await?;
    match encoding {
        Encoding::Protobuf => receiver.enqueue(kind, bytes).await,
        Encoding::Json => receiver.enqueue_json(kind, &bytes).await,
    }
}
