//! Posts batches to any backend as OTLP/HTTP protobuf, beside Honeycomb.

pub mod compression;
pub mod headers;
pub mod engine;
pub mod config;
pub mod request;
mod healthcheck;

use std::future::ready;

use futures_util::future::BoxFuture;

use crate::delivery::batch::Batch;
use crate::delivery::error::{ExportError, ExportOutcome};
use crate::delivery::healthcheck::Finding;
use crate::delivery::{DestinationSpec, Exporter};
use crate::exporter::kind::{ExporterConfig, ExporterKind};
use crate::exporter::otlp::config::{OtlpConfig, VARIABLES};
use crate::exporter::otlp::engine::{OtlpBackend, OtlpEngine, preview};
use crate::exporter::otlp::request::{OtlpApi, shown};
use crate::invocation::registry::Registry;
use crate::otlp::payload::Payload;

pub const KIND: ExporterKind = ExporterKind {
    name: OtlpApi::NAME,
    variables: VARIABLES,
    read: |reader, selection| Some(Box::new(OtlpConfig::read(reader, selection.is_named)?)),
};

impl ExporterConfig for OtlpConfig {
    fn start(&self, _: Option<&Registry>) -> Box<dyn Exporter> {
        Box::new(Otlp { engine: OtlpEngine::new(OtlpApi::new(self.clone())) })
    }
}

#[derive(Debug)]
struct Otlp {
    engine: OtlpEngine<OtlpApi>,
}

impl Exporter for Otlp {
    fn spec(&self) -> DestinationSpec {
        DestinationSpec {
            name: OtlpApi::NAME,
            kinds: self.engine.backend.config.targets.iter().map(|target| target.kind).collect(),
            durable: true,
            max_items: u64::MAX,
            keeps_duplicates: true,
        }
    }

    fn export<'a>(
        &'a mut self,
        batch: &'a Batch,
    ) -> BoxFuture<'a, Result<ExportOutcome, ExportError>> {
        Box::pin(self.engine.send_batch(batch))
    }

    fn take_sent_bytes(&mut self) -> u64 {
        self.engine.take_sent_bytes()
    }

    fn preview(&self, payload: &Payload) -> Result<Vec<String>, ExportError> {
        Ok(preview(payload))
    }

    fn reset_connections(&mut self) {
        self.engine.backend.client = None;
    }

    /// That of its first signal.
    fn endpoint(&mut self) -> BoxFuture<'_, Option<String>> {
        let first = self.engine.backend.config.targets.first();
        Box::pin(ready(first.map(|target| shown(&target.url))))
    }

    fn healthcheck(&mut self) -> BoxFuture<'_, Vec<Finding>> {
        Box::pin(healthcheck::check(&mut self.engine))
    }
}
