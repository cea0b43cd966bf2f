//! Sends spans to X-Ray: as OTLP, or as segment documents.
//!
//! ```text
//! batch ─▶ index ─▶ placement ┬▶ otlp: rewrite ─▶ calls ─────────────▶ request
//!          ids and   which    │        ids         limits               OTLP
//!          parents   trace    └▶ translate ─▶ serialize ─▶ transport ─▶ 50 a call, or
//!                                a document    64 kB                    a datagram each
//! ```
//! `placement` explains where a span goes if X-Ray and OpenTelemetry disagree about its trace, its parent
//! or its sampling. `attributes` sorts a span's attributes for a document; `name`, `http_block`, `aws_block`,
//! `cause` and `annotations` build its parts. `segment_export` and `otlp` send a batch.

mod acknowledged;
mod annotations;
pub mod config;
mod attributes;
mod aws_block;
mod cause;
mod daemon;
mod document;
mod healthcheck;
mod http_block;
mod index;
mod limits;
mod name;
mod otlp;
mod placement;
mod request;
mod segment;
mod segment_export;
mod serialize;
mod translate;
mod transport;
mod json_value;

use std::time::SystemTime;

use futures_util::future::BoxFuture;
use tracing::{info, warn};

use crate::delivery::batch::Batch;
use crate::delivery::error::{ExportError, ExportOutcome};
use crate::delivery::healthcheck::Finding;
use crate::delivery::{DestinationSpec, Exporter};
use crate::exporter::kind::{ExporterConfig, ExporterKind};
use crate::exporter::xray::acknowledged::AcknowledgedSpans;
pub use crate::exporter::xray::annotations::AnnotationFilter;
use crate::exporter::xray::config::{VARIABLES, XrayConfig, XrayTransport};
use crate::exporter::xray::otlp::OtlpExport;
use crate::exporter::xray::placement::{PlacedBatch, Placement, Placer};
use crate::exporter::xray::segment_export::SegmentExport;
use crate::exporter::xray::transport::Transport;
use crate::invocation::registry::Registry;
use crate::otlp::json::to_json;
use crate::otlp::payload::{Payload, SignalKind};
use crate::otlp::schema::TRACES_REQUEST;

pub const KIND: ExporterKind = ExporterKind {
    name: "xray",
    variables: VARIABLES,
    read: |reader, selection| {
        // Without its permission every export would fail, so it runs only if it is named.
        Some(Box::new(selection.is_named.then(|| XrayConfig::read(reader))??))
    },
};

/// Most spans of a batch that goes as OTLP, below X-Ray's limit of a call: bytes, index and rewritten call are
/// in memory at once, about 2 kB a span.
const MAX_BATCH_SPANS: usize = 2_000;

impl ExporterConfig for XrayConfig {
    fn start(&self, registry: Option<&Registry>) -> Box<dyn Exporter> {
        Box::new(Xray::new(self.clone(), registry.cloned()))
    }
}

#[derive(Debug)]
pub struct Xray {
    configured: XrayTransport,
    placer: Placer,
    next: NextBatch,
    transport: Transport,
    segments: SegmentExport,
    otlp: OtlpExport,
    acknowledged: AcknowledgedSpans,
}

/// How the next batch is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NextBatch {
    Segments,
    /// The first batch of a sandbox does not wait for a call that X-Ray may refuse.
    FirstSegments,
    /// A closed endpoint leads back to segments.
    OtlpOrSegments,
    Otlp,
}

impl Xray {
    /// Opens no connection. `registry` is `None` for spans from a log.
    pub fn new(config: XrayConfig, registry: Option<Registry>) -> Self {
        Self {
            placer: Placer::new(registry, config.undecided),
            next: match &config.transport {
                XrayTransport::Auto => NextBatch::FirstSegments,
                XrayTransport::Otlp => NextBatch::Otlp,
                XrayTransport::Segments | XrayTransport::Daemon(_) => NextBatch::Segments,
            },
            transport: Transport::new(&config.transport),
            configured: config.transport,
            segments: SegmentExport::new(config.annotations),
            otlp: OtlpExport::default(),
            acknowledged: AcknowledgedSpans::default(),
        }
    }

    async fn send_batch(&mut self, batch: &Batch) -> Result<ExportOutcome, ExportError> {
        let unreadable = |error: std::io::Error| ExportError::Unreadable(error.to_string());
        let request = batch.to_plain().map_err(unreadable)?;
        let placed = self.placer.place(&request, SystemTime::now());
        let (unsampled, unknown) =
            (placed.count(Placement::Unsampled), placed.count(Placement::Unknown));
        let mut outcome = ExportOutcome::default();
        if unsampled + unknown < placed.spans.len() as u64 {
            outcome = self.send(&placed).await?;
        }
        if unknown > 0 {
            warn!(
                "The log does not show whether {unknown} spans are sampled for X-Ray, so they are not sent; \
                 CRUDDUR_XRAY_UNDECIDED=1 sends them as separate traces"
            );
        }
        outcome.rejected += unknown;
        outcome.unsampled += unsampled;
        Ok(outcome)
    }

    async fn send(&mut self, batch: &PlacedBatch<'_>) -> Result<ExportOutcome, ExportError> {
        let by_otlp = matches!(self.next, NextBatch::Otlp | NextBatch::OtlpOrSegments);
        if let (true, Transport::Api(api)) = (by_otlp, &mut self.transport) {
            let may_fall_back = self.next == NextBatch::OtlpOrSegments;
            match self.otlp.send(batch, api, &mut self.acknowledged).await {
                Err(refusal) if may_fall_back && self.otlp.is_closed(&refusal) => {
                    let error = ExportError::from(refusal);
                    info!("X-Ray accepts no OTLP, so this sandbox sends segments: {error}");
                    self.next = NextBatch::Segments;
                }
                result => return Ok(result?),
            }
        }
        let Self { segments, transport, acknowledged, .. } = self;
        let outcome = segments.send(batch, transport, acknowledged).await?;
        if self.next == NextBatch::FirstSegments {
            self.next = NextBatch::OtlpOrSegments;
        }
        Ok(outcome)
    }
}

impl Exporter for Xray {
    fn spec(&self) -> DestinationSpec {
        let max_items = match self.next {
            NextBatch::Otlp => MAX_BATCH_SPANS,
            _ => self.transport.max_documents() * self.transport.max_calls(),
        };
        DestinationSpec {
            name: "xray",
            kinds: vec![SignalKind::Traces],
            durable: true,
            max_items: max_items as u64,
            keeps_duplicates: true, // X-Ray does not define a second document with one id
        }
    }

    fn export<'a>(
        &'a mut self,
        batch: &'a Batch,
    ) -> BoxFuture<'a, Result<ExportOutcome, ExportError>> {
        Box::pin(self.send_batch(batch))
    }

    /// Documents, or calls as OTLP JSON if all spans go as OTLP.
    fn preview(&self, payload: &Payload) -> Result<Vec<String>, ExportError> {
        let placed = self.placer.clone().place(&payload.bytes, SystemTime::now());
        if self.next != NextBatch::Otlp {
            return Ok(self.segments.documents(&placed));
        }
        let bodies = OtlpExport::bodies(&placed);
        Ok(bodies.iter().map(|body| to_json(&TRACES_REQUEST, body)).collect())
    }

    fn reset_connections(&mut self) {
        self.transport.reset_connections();
    }

    fn endpoint(&mut self) -> BoxFuture<'_, Option<String>> {
        Box::pin(async {
            match &mut self.transport {
                Transport::Api(api) => api.otlp_url().await.ok(),
                Transport::Daemon(_) => None,
            }
        })
    }

    fn healthcheck(&mut self) -> BoxFuture<'_, Vec<Finding>> {
        Box::pin(healthcheck::check(&mut self.transport, &self.configured))
    }
}

#[cfg(test)]
mod tests;
