//! Posts batches to Honeycomb as OTLP/HTTP protobuf, compressed.
//! <https://docs.honeycomb.io/send-data/opentelemetry/#using-the-honeycomb-opentelemetry-endpoint>

pub mod config;
mod request;
mod healthcheck;

use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderName, Method, StatusCode, header};
use tracing::warn;

pub use crate::exporter::honeycomb::request::{HoneycombApi, HoneycombCall};
use crate::{
    client::http::{readable, retry_after},
    delivery::{
        DestinationSpec, Exporter,
        batch::{Batch, compress},
        error::{ExportError, ExportOutcome},
        healthcheck::Finding,
    },
    exporter::honeycomb::config::HoneycombConfig,
    otlp::{
        payload::{SignalKind, only_sampled},
        wire::{self, Value},
    },
};
use futures_util::future::BoxFuture;

/// What a batch is.
const OTLP: &[(HeaderName, &str)] =
    &[(header::CONTENT_TYPE, "application/x-protobuf"), (header::CONTENT_ENCODING, "zstd")];

/// The most of a reply that is read; the specification's own limit is 4 MiB, we need a sentence.
const MAX_REPLY_BYTES: usize = 16 << 10;

/// See the module's documentation.
#[derive(Debug)]
pub struct Honeycomb(HoneycombApi);

impl Honeycomb {
    /// An exporter that has not opened anything yet.
    pub fn new(config: HoneycombConfig) -> Self {
        Self(HoneycombApi::new(config))
    }

    /// Sends a batch in one request.
    pub async fn export(&mut self, batch: &Batch) -> Result<ExportOutcome, ExportError> {
        let (body, unsampled) = sampled(batch)?;
        let Some(body) = body else { return Ok(ExportOutcome { rejected: 0, unsampled }) };
        let path = format!("/v1/{}", batch.kind.name());
        let call = HoneycombCall { method: Method::POST, path: &path, headers: OTLP, body };
        let reply = self.0.send(call, MAX_REPLY_BYTES).await?;
        let message = match reply.status {
            status if status.is_success() => {
                return Ok(ExportOutcome {
                    rejected: rejected(batch.kind, &reply.body),
                    unsampled,
                });
            }
            StatusCode::UNAUTHORIZED => "the key is not accepted, look at HONEYCOMB_API_KEY".into(),
            _ => readable(&reply.body),
        };
        let retry_after = retry_after(&reply.headers, SystemTime::now());
        Err(ExportError::Status { status: reply.status, message, retry_after })
    }

    /// The next batch makes a new connection.
    pub fn disconnect(&mut self) {
        self.0.disconnect();
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
        Box::pin(self.export(batch))
    }

    fn reset_connections(&mut self) {
        self.disconnect();
    }

    fn healthcheck(&mut self) -> BoxFuture<'_, Vec<Finding>> {
        Box::pin(self.check())
    }
}

/// The batch's body without traces that are not sampled, and how many items that left out. `None`
/// if nothing is left.
fn sampled(batch: &Batch) -> Result<(Option<Bytes>, u64), ExportError> {
    let unreadable = |error: std::io::Error| ExportError::Unreadable(error.to_string());
    if batch.kind == SignalKind::Traces && batch.has_unsampled {
        let plain = batch.to_plain().map_err(unreadable)?;
        if let Some((kept, left_out)) = only_sampled(&plain) {
            let body = (!kept.is_empty()).then(|| compress(std::iter::once(kept))).transpose();
            return Ok((body.map_err(unreadable)?, left_out));
        }
    }
    Ok((Some(batch.to_zstd().map_err(unreadable)?), 0))
}

/// How many items a partial success refused; the reason goes to the log.
///
/// `Export…ServiceResponse`: `partial_success` (1), in it the number (1) and the reason (2).
fn rejected(kind: SignalKind, reply: &[u8]) -> u64 {
    let mut rejected = 0;
    for partial in wire::nested(reply, 1) {
        let reason = wire::nested(partial, 2).map(readable).collect::<String>();
        for (_, value) in wire::fields(partial).flatten().filter(|(number, _)| *number == 1) {
            if let Value::Varint(number) = value {
                rejected = i64::try_from(number).map_or(0, i64::unsigned_abs); // not below zero
            }
        }
        warn!("honeycomb did not take {rejected} {} of a batch: {reason}", kind.items());
    }
    rejected
}

#[cfg(test)]
mod tests;
