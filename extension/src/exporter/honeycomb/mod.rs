//! Posts batches to Honeycomb as OTLP/HTTP protobuf, compressed.
//! <https://docs.honeycomb.io/send-data/opentelemetry/#using-the-honeycomb-opentelemetry-endpoint>

mod compression;
pub mod config;
pub mod request;
mod healthcheck;

use std::time::SystemTime;

use http::StatusCode;
use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
    trace::v1::ExportTraceServiceRequest,
};
use prost::Message;
use serde::Serialize;
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
use crate::otlp::payload::{Payload, SignalKind, only_sampled};
use crate::otlp::wire;
use crate::otlp::wire::Value;
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
                return Ok(ExportOutcome {
                    rejected: rejected_items(batch.kind, &reply.body),
                    unsampled,
                });
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
        match payload.kind {
            SignalKind::Traces => to_json::<ExportTraceServiceRequest>(&bytes),
            SignalKind::Logs => to_json::<ExportLogsServiceRequest>(&bytes),
            SignalKind::Metrics => to_json::<ExportMetricsServiceRequest>(&bytes),
            SignalKind::Lines | SignalKind::Failures => Ok(Vec::new()),
        }
    }

    fn reset_connections(&mut self) {
        self.api.reset_connections();
    }

    fn healthcheck(&mut self) -> BoxFuture<'_, Vec<Finding>> {
        Box::pin(healthcheck::check(&mut self.api))
    }
}

fn to_json<T: Message + Serialize + Default>(message: &[u8]) -> Result<Vec<String>, ExportError> {
    let request = T::decode(message).map_err(|error| ExportError::Unreadable(error.to_string()))?;
    let json = serde_json::to_string(&request);
    Ok(vec![json.map_err(|error| ExportError::Unreadable(error.to_string()))?])
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

/// The number of items that a partial success rejected. Logs the reason.
///
/// `Export…ServiceResponse`: `partial_success` (1), which holds the number (1) and the reason (2).
fn rejected_items(kind: SignalKind, reply: &[u8]) -> u64 {
    let mut rejected = 0;
    for partial in wire::nested(reply, 1) {
        let reason = wire::nested(partial, 2).map(readable).collect::<String>();
        for (_, value) in wire::fields(partial).flatten().filter(|(number, _)| *number == 1) {
            if let Value::Varint(number) = value {
                rejected = i64::try_from(number).map_or(0, i64::unsigned_abs); // negative counts as 0
            }
        }
        warn!("honeycomb rejected {rejected} {} of a batch: {reason}", kind.items());
    }
    rejected
}

#[cfg(test)]
mod tests;
