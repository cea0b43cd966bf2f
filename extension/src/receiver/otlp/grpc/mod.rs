//! The OTLP/gRPC receiver: Export of traces, logs and metrics, plain or gzip, without gRPC's streams and
//! reflection.
//! <https://opentelemetry.io/docs/specs/otlp/#otlpgrpc>
//!
//! An answer to a request that is not gRPC is plain HTTP, since its client would take the status 200 of
//! gRPC for a success.

pub mod frame;
mod status;

use http::{HeaderMap, Method, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;

use self::frame::FrameError;
use crate::otlp::payload::SignalKind;
use crate::receiver::answer::AnswerBody;
use crate::receiver::body;
use crate::receiver::otlp::encoding::Encoding;
use crate::receiver::otlp::intake::OtlpReceiver;
use crate::receiver::otlp::refusal::{MalformedItems, Refusal};
use crate::receiver::otlp::reply;

/// Answers a request.
pub async fn handle(receiver: &OtlpReceiver, request: Request<Incoming>) -> Response<AnswerBody> {
    if let Err(refusal) = check(&request) {
        let encoding = Encoding::of(request.headers()).unwrap_or_default();
        let answer = reply::refused(&refusal, encoding).map(AnswerBody::from);
        receiver.count(&Err(refusal)).await;
        return answer;
    }
    let outcome = accept(receiver, request).await;
    receiver.count(&outcome).await;
    match &outcome {
        Ok(malformed) => status::accepted(&reply::message(malformed.as_ref())),
        Err(refusal) => status::refused(refusal),
    }
}

/// Fails if the request is not gRPC.
fn check(request: &Request<Incoming>) -> Result<(), Refusal> {
    let refusal = |status, reason| Err(Refusal::new(status, reason));
    if !is_grpc(request.headers()) {
        let reason = "this port takes OTLP/gRPC; CRUDDUR_OTLP_LISTEN names the port of OTLP/HTTP";
        return refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason);
    }
    if request.version() != Version::HTTP_2 {
        return refusal(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "gRPC needs HTTP/2");
    }
    if request.method() != Method::POST {
        return refusal(StatusCode::METHOD_NOT_ALLOWED, "use POST");
    }
    Ok(())
}

/// Whether the messages are protobuf, which is gRPC's default.
fn is_grpc(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = value.and_then(|value| value.split(';').next()).unwrap_or_default();
    matches!(
        media_type.trim().to_ascii_lowercase().as_str(),
        status::MEDIA_TYPE | "application/grpc+proto"
    )
}

async fn accept(
    receiver: &OtlpReceiver,
    request: Request<Incoming>,
) -> Result<Option<MalformedItems>, Refusal> {
    let kind = kind(request.uri().path()).ok_or_else(|| {
        let reason = "this receiver has the services of OTLP for traces, logs and metrics";
        Refusal::new(StatusCode::NOT_FOUND, reason)
    })?;
    let encoding = request.headers().get("grpc-encoding").cloned();
    let max_bytes = receiver.max_body_bytes;
    let max_body_bytes = max_bytes.saturating_add(frame::HEADER_BYTES);
    let (body, mut room) = body::read(request, max_body_bytes, &receiver.room).await?;
    let frame = frame::read(body, max_bytes)?;
    if !frame.is_compressed {
        return receiver.enqueue(kind, frame.message).await;
    }
    let message = match encoding.as_ref().map(|encoding| encoding.as_bytes()) {
        Some(b"gzip") => body::gunzip(&frame.message, max_bytes)?,
        None | Some(b"identity") => {
            let reason = "the message is compressed, but grpc-encoding names no compression";
            return Err(Refusal::new(StatusCode::BAD_REQUEST, reason));
        }
        Some(_) => {
            let reason = "send gzip or no compression";
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason));
        }
    };
    receiver.room.take(&mut room, message.len())?;
    receiver.enqueue(kind, message).await
}

/// The signal of a method's path, such as
/// `/opentelemetry.proto.collector.trace.v1.TraceService/Export`.
fn kind(path: &str) -> Option<SignalKind> {
    match path.strip_prefix("/opentelemetry.proto.collector.")?.strip_suffix("Service/Export")? {
        "trace.v1.Trace" => Some(SignalKind::Traces),
        "logs.v1.Logs" => Some(SignalKind::Logs),
        "metrics.v1.Metrics" => Some(SignalKind::Metrics),
        _ => None,
    }
}

impl From<FrameError> for Refusal {
    fn from(error: FrameError) -> Self {
        let status = match error {
            FrameError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error.to_string())
    }
}
