//! The OTLP/HTTP receiver: `POST /v1/traces`, `/v1/logs` and `/v1/metrics`, in protobuf or JSON,
//! plain or gzip.
//! <https://github.com/open-telemetry/opentelemetry-proto/blob/main/docs/specification.md>
//!
//! JSON is translated to protobuf ([`crate::receiver::otlp::intake`] takes no other). A refused request is
//! answered 4xx, 503, or 500 after a panic of the pipeline.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
    trace::v1::ExportTraceServiceRequest,
};
use prost::Message;

use crate::otlp::payload::SignalKind;
use crate::receiver::otlp::encoding::Encoding;
use crate::receiver::otlp::intake::OtlpReceiver;
use crate::receiver::otlp::refusal::{MalformedItems, Refusal};
use crate::receiver::otlp::{encoding, reply};

/// Most objects in a JSON request, since two bytes of JSON become hundreds when decoded: 60 MB at worst.
/// A batch of 512 spans, OpenTelemetry's default, has some 20,000 objects.
const MAX_JSON_OBJECTS: usize = 100_000;

/// Answers a request.
pub async fn handle(receiver: &OtlpReceiver, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let encoding = Encoding::of(request.headers()).ok();
    let outcome = accept(receiver, request, encoding).await;
    receiver.count(&outcome).await;
    let encoding = encoding.unwrap_or_default();
    match &outcome {
        Ok(None) => reply::accepted(encoding),
        Ok(Some(malformed)) => reply::partly_accepted(malformed),
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
    let malformed = |reason: String| Refusal::new(StatusCode::BAD_REQUEST, reason);
    let bytes = match encoding {
        Encoding::Protobuf => bytes,
        Encoding::Json => {
            if bytes.iter().filter(|byte| **byte == b'{').count() > MAX_JSON_OBJECTS {
                let reason = format!("more than {MAX_JSON_OBJECTS} objects, send protobuf");
                return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, reason));
            }
            to_protobuf(kind, &bytes).map_err(|error| malformed(error.to_string()))?
        }
    };
    receiver.enqueue(kind, bytes).await
}

/// Translates JSON to protobuf. Also fails if the decoder would drop a field without an error.
pub fn to_protobuf(kind: SignalKind, json: &[u8]) -> serde_json::Result<Bytes> {
    let protobuf = match kind {
        SignalKind::Traces => {
            serde_json::from_slice::<ExportTraceServiceRequest>(json)?.encode_to_vec()
        }
        SignalKind::Logs => {
            serde_json::from_slice::<ExportLogsServiceRequest>(json)?.encode_to_vec()
        }
        SignalKind::Metrics => {
            let request = serde_json::from_slice::<ExportMetricsServiceRequest>(json)?;
            if let Some(problem) = crate::receiver::otlp::dropped::emptied(&request, json) {
                return Err(serde::de::Error::custom(problem));
            }
            request.encode_to_vec()
        }
        SignalKind::Lines | SignalKind::Failures => return Ok(Bytes::copy_from_slice(json)),
    };
    crate::receiver::otlp::dropped::check_names(json)?;
    Ok(protobuf.into())
}
