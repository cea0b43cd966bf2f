//! The OTLP/HTTP receiver: `POST /v1/traces`, `/v1/logs` and `/v1/metrics`, in protobuf or JSON,
//! plain or gzip.
//! <https://github.com/open-telemetry/opentelemetry-proto/blob/main/docs/specification.md>
//!
//! A request is checked at every level ([`crate::otlp::wire`]), then kept as protobuf bytes: the
//! received ones, or the translated JSON. A refused request is answered 4xx or 503 and not enqueued.
//! Malformed items are left out, counted, and answered as a partial success ([`crate::otlp::repair`]).
//! After a panic of the pipeline the answer is 500.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
    trace::v1::ExportTraceServiceRequest,
};
use prost::Message;

use crate::otlp::payload::{Payload, ServerSpan, SignalKind};
use crate::otlp::repair::repair;
use crate::otlp::wire::Malformed;
use crate::pipeline::PipelineHandle;
use crate::processor::{Processor, xray_header};
use crate::receiver::body::BodyBudget;
use crate::receiver::otlp::encoding::Encoding;
use crate::receiver::otlp::refusal::{MalformedItems, Refusal};
use crate::receiver::otlp::{encoding, reply};

/// Most objects in a JSON request, since two bytes of JSON become hundreds when decoded: 60 MB at worst.
/// A batch of 512 spans, OpenTelemetry's default, has some 20,000 objects.
const MAX_JSON_OBJECTS: usize = 100_000;

#[derive(Debug)]
pub struct OtlpReceiver {
    pub pipeline: PipelineHandle,
    pub invocations: Processor,
    /// The `service.name` of resources without one.
    pub service_name: String,
    /// The largest body, before and after decompression.
    pub max_body_bytes: usize,
    pub room: BodyBudget,
    /// Whether spans get X-Ray's header; see [`xray_header`].
    pub adds_xray_header: bool,
}

impl OtlpReceiver {
    pub async fn handle(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let encoding = Encoding::of(request.headers());
        match self.accept(request, encoding.as_ref().ok().copied()).await {
            Ok(None) => reply::accepted(encoding.unwrap_or_default()),
            Ok(Some(malformed)) => {
                let reply = reply::partly_accepted(&malformed);
                self.pipeline.refused(malformed.counted()).await;
                reply
            }
            Err(refusal) => {
                self.pipeline.refused(refusal.counted()).await;
                reply::refused(&refusal, encoding.unwrap_or_default())
            }
        }
    }

    async fn accept(
        &self,
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
        let (bytes, _room) = encoding::read(request, self.max_body_bytes, &self.room).await?;
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
        let (signal, servers, malformed_items) =
            read_payload(kind, bytes).map_err(|error| malformed(error.to_string()))?;
        let stopped = |_| {
            // A status that clients do not retry, since a retry would hold the function.
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the pipeline has stopped")
        };
        // Runs before the pipeline gets the spans, so that the ledger counts both together.
        let mut derived = self.invocations.otlp(&signal, &servers);
        let signal = match self.adds_xray_header {
            true => xray_header::with_header(signal, &servers, self.invocations.registry()),
            false => signal,
        };
        let own = derived.payloads.drain(..);
        for signal in signal.fit(&self.service_name).into_iter().chain(own) {
            self.pipeline.receive(signal).await.map_err(stopped)?;
        }
        // After the pipeline has the spans: the end of the wait begins a flush.
        self.invocations.record(derived);
        Ok(malformed_items)
    }
}

/// Reads a request. If it is malformed, its readable items are kept. Fails without a readable item.
fn read_payload(
    kind: SignalKind,
    bytes: Bytes,
) -> Result<(Payload, Vec<ServerSpan>, Option<MalformedItems>), Malformed> {
    let error = match Payload::read(kind, bytes.clone()) {
        Ok((payload, servers)) => return Ok((payload, servers, None)),
        Err(error) => error,
    };
    let repaired = repair(kind.schema()?, &bytes)?;
    let (payload, servers) = Payload::read(kind, repaired.bytes.into())?;
    let Some(reason) = repaired.reason else { return Ok((payload, servers, None)) };
    if payload.items == 0 {
        return Err(error);
    }
    let malformed = MalformedItems { kind, count: repaired.dropped, reason };
    Ok((payload, servers, Some(malformed)))
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
        SignalKind::Lines | SignalKind::Failures | SignalKind::Posts => {
            return Ok(Bytes::copy_from_slice(json));
        }
    };
    crate::receiver::otlp::dropped::check_names(json)?;
    Ok(protobuf.into())
}
