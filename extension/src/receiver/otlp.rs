//! The OTLP/HTTP receiver: `POST /v1/traces` in protobuf or JSON, plain or gzip.
//! <https://github.com/open-telemetry/opentelemetry-proto/blob/main/docs/specification.md>
//!
//! A request is validated by decoding it, then kept as protobuf bytes: those that came, or the
//! JSON's translation. What is refused is answered 4xx and never queued.

mod body;
mod reply;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::any_value::Value,
    trace::v1::{Span, span::SpanKind},
};
use prost::Message;

use self::{body::Encoding, reply::Refusal};
use crate::{invocations::EndedInvocations, pipeline::Handle, signal::Signal};

/// Where signals go, and how large a request may be.
#[derive(Debug)]
pub struct OtlpReceiver {
    /// Takes every accepted request.
    pub pipeline: Handle,
    /// Learns which invocations are over.
    pub ended: EndedInvocations,
    /// Largest body, before and after decompression.
    pub max_body_bytes: usize,
}

impl OtlpReceiver {
    /// Answers one request.
    pub async fn handle(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let encoding = Encoding::of(request.headers());
        match self.accept(request, encoding.as_ref().ok().copied()).await {
            Ok(()) => reply::accepted(encoding.unwrap_or_default()),
            Err(refusal) => reply::refused(&refusal, encoding.unwrap_or_default()),
        }
    }

    async fn accept(
        &self,
        request: Request<Incoming>,
        encoding: Option<Encoding>,
    ) -> Result<(), Refusal> {
        if request.uri().path() != "/v1/traces" {
            return Err(Refusal::new(StatusCode::NOT_FOUND, "this receiver takes /v1/traces"));
        }
        if request.method() != Method::POST {
            return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "use POST"));
        }
        let encoding = encoding.ok_or_else(|| {
            let reason = "send application/x-protobuf or application/json";
            Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason)
        })?;
        let bytes = body::read(request, self.max_body_bytes).await?;
        let (traces, bytes) = decode(encoding, bytes)?;
        let spans = traces.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        let spans: Vec<&Span> = spans.flat_map(|scope| &scope.spans).collect();
        if spans.is_empty() {
            return Ok(());
        }
        let signal = Signal { bytes, spans: spans.len() as u64 };
        self.pipeline.receive(signal).await.map_err(|_| {
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the pipeline has stopped")
        })?;
        // After the pipeline has the spans: whoever waits for the end flushes them too.
        spans.iter().filter_map(|span| ended_invocation(span)).for_each(|id| self.ended.push(id));
        Ok(())
    }
}

/// The message, and its protobuf bytes.
fn decode(encoding: Encoding, bytes: Bytes) -> Result<(ExportTraceServiceRequest, Bytes), Refusal> {
    let malformed = |reason: String| Refusal::new(StatusCode::BAD_REQUEST, reason);
    match encoding {
        Encoding::Protobuf => ExportTraceServiceRequest::decode(bytes.clone())
            .map(|traces| (traces, bytes))
            .map_err(|error| malformed(error.to_string())),
        Encoding::Json => serde_json::from_slice::<ExportTraceServiceRequest>(&bytes)
            .map(|traces| (traces.encode_to_vec().into(), traces))
            .map(|(bytes, traces): (Bytes, _)| (traces, bytes))
            .map_err(|error| malformed(error.to_string())),
    }
}

/// An ended SERVER span with a `faas.invocation_id` says that this invocation is done.
fn ended_invocation(span: &Span) -> Option<String> {
    if span.kind != SpanKind::Server as i32 {
        return None;
    }
    let attribute = span.attributes.iter().find(|pair| pair.key == "faas.invocation_id")?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(id) => Some(id.clone()),
        _ => None,
    }
}
