//! Posts batches to Honeycomb as OTLP/HTTP protobuf, compressed.
//! <https://docs.honeycomb.io/send-data/opentelemetry/#using-the-honeycomb-opentelemetry-endpoint>

pub mod config;
pub mod request;
mod healthcheck;

use std::future::ready;

use futures_util::future::BoxFuture;

use crate::delivery::batch::Batch;
use crate::delivery::error::{ExportError, ExportOutcome};
use crate::delivery::healthcheck::Finding;
use crate::delivery::{DestinationSpec, Exporter};
use crate::exporter::honeycomb::config::{HoneycombConfig, VARIABLES};
use crate::exporter::honeycomb::request::HoneycombApi;
use crate::exporter::kind::{ExporterConfig, ExporterKind};
use crate::exporter::otlp::engine::{OtlpBackend, OtlpEngine, preview};
use crate::invocation::registry::Registry;
use crate::otlp::payload::{Payload, SignalKind};

pub const KIND: ExporterKind = ExporterKind {
    name: HoneycombApi::NAME,
    variables: VARIABLES,
    read: |reader, selection| Some(Box::new(HoneycombConfig::read(reader, selection.is_named)?)),
};

impl ExporterConfig for HoneycombConfig {
    fn start(&self, _: Option<&Registry>) -> Box<dyn Exporter> {
        Box::new(Honeycomb::new(self.clone()))
    }
}

#[derive(Debug)]
pub struct Honeycomb {
    engine: OtlpEngine<HoneycombApi>,
}

impl Honeycomb {
    pub fn new(config: HoneycombConfig) -> Self {
        Self { engine: OtlpEngine::new(HoneycombApi::new(config)) }
    }
}

impl Exporter for Honeycomb {
    fn spec(&self) -> DestinationSpec {
        DestinationSpec {
            name: HoneycombApi::NAME,
            kinds: SignalKind::OTLP.to_vec(),
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
        self.engine.backend.reset_connections();
    }

    fn endpoint(&mut self) -> BoxFuture<'_, Option<String>> {
        Box::pin(ready(Some(self.engine.backend.endpoint().to_owned())))
    }

    fn healthcheck(&mut self) -> BoxFuture<'_, Vec<Finding>> {
        Box::pin(healthcheck::check(&mut self.engine))
    }
}

#[cfg(test)]
mod tests;
