//! The part of OTLP/HTTP and OTLP/gRPC behind the transport: it checks a request and hands it over.
//!
//! A request is checked at every level ([`crate::otlp::wire`]), then kept as protobuf bytes: the
//! received ones, or the translated JSON ([`crate::otlp::json`]). A refused request is not enqueued.
//! Malformed items are left out, counted, and answered as a partial success ([`crate::otlp::repair`]).
//! Secrets are masked ([`crate::otlp::mask`]).

use bytes::Bytes;
use http::StatusCode;

use crate::otlp::json::to_protobuf;
use crate::otlp::mask::read_masked;
use crate::otlp::payload::{Payload, ServerSpan, SignalKind};
use crate::otlp::repair::repair;
use crate::otlp::wire::Malformed;
use crate::pipeline::PipelineHandle;
use crate::processor::{Processor, xray_header};
use crate::receiver::body::BodyBudget;
use crate::receiver::otlp::refusal::{MalformedItems, Refusal};
use crate::scrub::Scrubber;

#[derive(Debug)]
pub struct OtlpReceiver {
    pub pipeline: PipelineHandle,
    pub invocations: Processor,
    /// Attributes of resources that lack them.
    pub resource_defaults: Vec<(&'static str, String)>,
    /// The largest body, before and after decompression.
    pub max_body_bytes: usize,
    pub room: BodyBudget,
    pub scrubber: Scrubber,
    /// Whether spans get X-Ray's header; see [`xray_header`].
    pub adds_xray_header: bool,
}

impl OtlpReceiver {
    /// Checks a protobuf request and enqueues it. Fails with 500 after a panic of the pipeline.
    pub(super) async fn enqueue(
        &self,
        kind: SignalKind,
        bytes: Bytes,
    ) -> Result<Option<MalformedItems>, Refusal> {
        self.enqueue_checked(read_payload(kind, bytes, &self.scrubber)).await
    }

    /// The same for JSON.
    pub(super) async fn enqueue_json(
        &self,
        kind: SignalKind,
        json: &[u8],
    ) -> Result<Option<MalformedItems>, Refusal> {
        self.enqueue_checked(read_json(kind, json, &self.scrubber)).await
    }

    async fn enqueue_checked(
        &self,
        read: Result<ReadPayload, String>,
    ) -> Result<Option<MalformedItems>, Refusal> {
        let (signal, servers, malformed_items) =
            read.map_err(|reason| Refusal::new(StatusCode::BAD_REQUEST, reason))?;
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
        for signal in signal.fit(&self.resource_defaults).into_iter().chain(own) {
            self.pipeline.receive(signal).await.map_err(stopped)?;
        }
        // After the pipeline has the spans: the end of the wait begins a flush.
        self.invocations.record(derived);
        Ok(malformed_items)
    }

    /// Counts the refused parts of a request.
    pub(super) async fn count(&self, outcome: &Result<Option<MalformedItems>, Refusal>) {
        match outcome {
            Ok(None) => {}
            Ok(Some(malformed)) => self.pipeline.refused(malformed.counted()).await,
            Err(refusal) => self.pipeline.refused(refusal.counted()).await,
        }
    }
}

type ReadPayload = (Payload, Vec<ServerSpan>, Option<MalformedItems>);

/// Reads a request. If it is malformed, its readable items are kept. Fails without a readable item.
fn read_payload(
    kind: SignalKind,
    bytes: Bytes,
    scrubber: &Scrubber,
) -> Result<ReadPayload, String> {
    let error = match read_masked(kind, bytes.clone(), scrubber) {
        Ok((payload, servers)) => return Ok((payload, servers, None)),
        Err(error) => error.to_string(),
    };
    let text = |error: Malformed| error.to_string();
    let repaired = repair(kind.schema().map_err(text)?, &bytes).map_err(text)?;
    let (payload, servers) = read_masked(kind, repaired.bytes.into(), scrubber).map_err(text)?;
    let Some(reason) = repaired.reason else { return Ok((payload, servers, None)) };
    if payload.items == 0 {
        return Err(error);
    }
    let reason = reason.to_string();
    Ok((payload, servers, Some(MalformedItems { kind, count: repaired.dropped, reason })))
}

/// The same for JSON.
fn read_json(kind: SignalKind, json: &[u8], scrubber: &Scrubber) -> Result<ReadPayload, String> {
    let text = |error: Malformed| error.to_string();
    let translated = to_protobuf(kind.schema().map_err(text)?, json);
    let translated = translated.map_err(|error| error.to_string())?;
    let (payload, servers) = read_masked(kind, translated.bytes.into(), scrubber).map_err(text)?;
    let count = translated.dropped;
    let malformed =
        translated.reason.map(|it| MalformedItems { kind, count, reason: it.to_string() });
    Ok((payload, servers, malformed))
}
