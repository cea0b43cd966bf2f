//! Posts batches to Honeycomb as OTLP/HTTP protobuf, compressed.
//! <https://docs.honeycomb.io/send-data/opentelemetry/#using-the-honeycomb-opentelemetry-endpoint>

mod compression;
pub mod config;
pub mod request;
mod healthcheck;

use std::{future::ready, time::SystemTime};

use http::StatusCode;
use tracing::warn;

use crate::client::http::{readable, retry_after};
use crate::delivery::batch::Batch;
use crate::delivery::error::{ExportError, ExportOutcome};
use crate::delivery::healthcheck::Finding;
use crate::delivery::{DestinationSpec, Exporter};
use crate::exporter::honeycomb::compression::ExportBody;
use crate::exporter::honeycomb::config::{HoneycombConfig, VARIABLES};
use crate::exporter::honeycomb::request::HoneycombApi;
use crate::exporter::kind::{ExporterConfig, ExporterKind};
use crate::invocation::registry::Registry;
use crate::otlp::json::to_json;
use crate::otlp::partial_success::{self, RejectedItems};
use crate::otlp::payload::{Payload, SignalKind, only_sampled};
use futures_util::future::BoxFuture;

pub const KIND: ExporterKind = ExporterKind {
    name: "honeycomb",
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
    api: HoneycombApi,
}

impl Honeycomb {
    pub fn new(config: HoneycombConfig) -> Self {
        Self { api: HoneycombApi::new(config) }
    }

    async fn send_batch(&mut self, batch: &Batch) -> Result<ExportOutcome, ExportError> {
        let (body, unsampled) = sampled_body(batch)?;
        let Some(body) = body else { return Ok(ExportOutcome { rejected: 0, unsampled }) };
        let reply = self.api.export(batch.kind, &body).await?;
        let message = match reply.status {
            status if status.is_success() => {
                let rejected = rejected_items(batch.kind, &reply.body)?;
                return Ok(ExportOutcome { rejected, unsampled });
            }
            StatusCode::UNAUTHORIZED => "Honeycomb refuses the key: check HONEYCOMB_API_KEY".into(),
            _ => readable(&reply.body),
        };
        let retry_after = retry_after(&reply.headers, SystemTime::now());
        Err(ExportError::Status { status: reply.status, message, retry_after })
    }
}

impl Exporter for Honeycomb {
    fn spec(&self) -> DestinationSpec {
        DestinationSpec {
            name: "honeycomb",
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
        Box::pin(self.send_batch(batch))
    }

    /// As OTLP JSON; the destination gets the same message as protobuf.
    fn preview(&self, payload: &Payload) -> Result<Vec<String>, ExportError> {
        let sampled = (payload.kind == SignalKind::Traces).then(|| only_sampled(&payload.bytes));
        let bytes = sampled.flatten().map_or(payload.bytes.clone(), |(kept, _)| kept.into());
        Ok(payload.kind.schema().map(|schema| to_json(schema, &bytes)).into_iter().collect())
    }

    fn reset_connections(&mut self) {
        self.api.reset_connections();
    }

    fn endpoint(&mut self) -> BoxFuture<'_, Option<String>> {
        Box::pin(ready(Some(self.api.endpoint().to_owned())))
    }

    fn healthcheck(&mut self) -> BoxFuture<'_, Vec<Finding>> {
        Box::pin(healthcheck::check(&mut self.api))
    }
}

/// The request body without unsampled traces, and the number of omitted items. `None` if no item
/// remains.
fn sampled_body(batch: &Batch) -> Result<(Option<ExportBody<'_>>, u64), ExportError> {
    if batch.kind == SignalKind::Traces && batch.has_unsampled {
        let plain = batch.to_plain();
        let plain = plain.map_err(|error| ExportError::Unreadable(error.to_string()))?;
        if let Some((kept, unsampled)) = only_sampled(&plain) {
            return Ok(((!kept.is_empty()).then_some(ExportBody::Plain(kept)), unsampled));
        }
    }
    Ok((Some(ExportBody::Whole(batch)), 0))
}

/// The number of items that a partial success rejected. Logs the reason. Fails if the reply is not OTLP.
fn rejected_items(kind: SignalKind, reply: &[u8]) -> Result<u64, ExportError> {
    let partial = partial_success::read(reply);
    let partial = partial.map_err(|_| ExportError::ForeignReply(readable(reply)))?;
    let Some(RejectedItems { count, reason }) = partial else { return Ok(0) };
    let reason = readable(reason.as_bytes());
    warn!("honeycomb rejected {count} {} of a batch: {reason}", kind.items());
    Ok(count)
}

#[cfg(test)]
mod tests;
