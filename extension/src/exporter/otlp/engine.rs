//! Posts batches as OTLP/HTTP protobuf, compressed. Backends differ in addresses and headers alone.

use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderName, StatusCode, header};
use tracing::{info, warn};

use crate::client::http::{HttpReply, readable, retry_after};
use crate::delivery::batch::Batch;
use crate::delivery::error::{ExportError, ExportOutcome};
use crate::exporter::otlp::compression::{ExportBody, OtlpCompression, is_encoding_refused};
use crate::otlp::json::to_json;
use crate::otlp::partial_success::{self, RejectedItems};
use crate::otlp::payload::{Payload, SignalKind, only_sampled};

/// The address and the headers of a backend.
pub trait OtlpBackend: Send {
    /// The name of the destination.
    const NAME: &'static str;

    /// The message for a refused key. It names the variable to check.
    const KEY_REFUSED: &'static str;

    /// `None`: zstd, until the backend refuses it.
    fn compression(&self, kind: SignalKind) -> Option<OtlpCompression>;

    /// Posts an encoded request to the address of its signal.
    fn post(
        &mut self,
        kind: SignalKind,
        headers: &[(HeaderName, &'static str)],
        body: Bytes,
    ) -> impl Future<Output = Result<HttpReply, ExportError>> + Send;
}

#[derive(Debug)]
pub struct OtlpEngine<B> {
    pub backend: B,
    /// Whether the backend refuses zstd, so that requests without a configured compression are gzip.
    refuses_zstd: bool,
    /// Bytes of request bodies since [`take_sent_bytes`](Self::take_sent_bytes).
    sent_bytes: u64,
}

impl<B: OtlpBackend> OtlpEngine<B> {
    pub fn new(backend: B) -> Self {
        Self { backend, refuses_zstd: false, sent_bytes: 0 }
    }

    pub fn take_sent_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.sent_bytes)
    }

    /// The compression of the next request.
    pub fn compression(&self, kind: SignalKind) -> OtlpCompression {
        let usual = if self.refuses_zstd { OtlpCompression::Gzip } else { OtlpCompression::Zstd };
        self.backend.compression(kind).unwrap_or(usual)
    }

    pub async fn send_batch(&mut self, batch: &Batch) -> Result<ExportOutcome, ExportError> {
        let (body, unsampled) = sampled_body(batch)?;
        let Some(body) = body else { return Ok(ExportOutcome { rejected: 0, unsampled }) };
        let reply = self.export(batch.kind, &body).await?;
        let message = match reply.status {
            status if status.is_success() => {
                let rejected = rejected_items(B::NAME, batch.kind, &reply.body)?;
                return Ok(ExportOutcome { rejected, unsampled });
            }
            StatusCode::UNAUTHORIZED => B::KEY_REFUSED.into(),
            _ => readable(&reply.body),
        };
        let retry_after = retry_after(&reply.headers, SystemTime::now());
        Err(ExportError::Status { status: reply.status, message, retry_after })
    }

    /// Sends an export request without spans.
    pub async fn send_empty(&mut self, kind: SignalKind) -> Result<HttpReply, ExportError> {
        self.export(kind, &ExportBody::Plain(Vec::new())).await
    }

    /// Sends an export request. If the backend refuses zstd and no compression is configured, the request
    /// is sent once more as gzip; if gzip is not refused alike, later requests are gzip too.
    async fn export(
        &mut self,
        kind: SignalKind,
        body: &ExportBody<'_>,
    ) -> Result<HttpReply, ExportError> {
        let compression = self.compression(kind);
        let reply = self.export_as(compression, kind, body).await?;
        let may_change = self.backend.compression(kind).is_none();
        if !may_change
            || compression != OtlpCompression::Zstd
            || !is_encoding_refused(reply.status, &reply.body)
        {
            return Ok(reply);
        }
        let second = self.export_as(OtlpCompression::Gzip, kind, body).await?;
        if !is_encoding_refused(second.status, &second.body) {
            info!("{} refuses zstd, so requests are compressed with gzip", B::NAME);
            self.refuses_zstd = true;
        }
        Ok(second)
    }

    async fn export_as(
        &mut self,
        compression: OtlpCompression,
        kind: SignalKind,
        body: &ExportBody<'_>,
    ) -> Result<HttpReply, ExportError> {
        let body = body.compressed(compression);
        let body = body.map_err(|error| ExportError::Unreadable(error.to_string()))?;
        let mut headers = vec![(header::CONTENT_TYPE, "application/x-protobuf")];
        headers.extend(compression.encoding().map(|it| (header::CONTENT_ENCODING, it)));
        self.sent_bytes += body.len() as u64;
        self.backend.post(kind, &headers, body).await
    }
}

/// The payload as OTLP JSON; the backend gets the same message as protobuf.
pub fn preview(payload: &Payload) -> Vec<String> {
    let sampled = (payload.kind == SignalKind::Traces).then(|| only_sampled(&payload.bytes));
    let bytes = sampled.flatten().map_or(payload.bytes.clone(), |(kept, _)| kept.into());
    payload.kind.schema().map(|schema| to_json(schema, &bytes)).into_iter().collect()
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
fn rejected_items(destination: &str, kind: SignalKind, reply: &[u8]) -> Result<u64, ExportError> {
    let partial = partial_success::read(reply);
    let partial = partial.map_err(|_| ExportError::ForeignReply(readable(reply)))?;
    let Some(RejectedItems { count, reason }) = partial else { return Ok(0) };
    let reason = readable(reason.as_bytes());
    warn!("{destination} rejected {count} {} of a batch: {reason}", kind.items());
    Ok(count)
}
