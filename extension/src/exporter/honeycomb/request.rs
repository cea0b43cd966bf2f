//! Honeycomb's HTTP API, with its key.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Method, Request, StatusCode, header};
use http_body_util::Full;
use tracing::info;

use crate::client::http::{HttpClient, HttpReply, USER_AGENT};
use crate::client::secret::Secret;
use crate::delivery::error::ExportError;
use crate::exporter::honeycomb::compression::{ExportBody, OtlpCompression, is_encoding_refused};
use crate::exporter::honeycomb::config::{HoneycombConfig, TEAM, is_classic};
use crate::otlp::payload::SignalKind;

/// OpenTelemetry's default for `OTEL_EXPORTER_OTLP_TIMEOUT`.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Most bytes of a reply that are read, by OTLP's specification.
/// <https://opentelemetry.io/docs/specs/otlp/#otlphttp-response>
pub(super) const MAX_REPLY_BYTES: usize = 4 << 20;

#[derive(Debug)]
pub struct HoneycombApi {
    config: HoneycombConfig,
    /// Changes once at most, from zstd to gzip.
    compression: OtlpCompression,
    key: Option<Secret>,
    /// Created for the first request, so that a cold start does not wait for TLS and its roots.
    client: Option<HttpClient>,
}

/// A request without the headers that all requests share.
#[derive(Clone, Debug)]
pub struct HoneycombCall<'a> {
    pub method: Method,
    pub path: &'a str,
    pub headers: &'a [(HeaderName, &'a str)],
    pub body: Bytes,
}

impl HoneycombApi {
    /// Opens no connection and fetches no key.
    pub fn new(config: HoneycombConfig) -> Self {
        let key = config.key.clone().map(Secret::new);
        let compression = config.compression.unwrap_or(OtlpCompression::Zstd);
        Self { config, compression, key, client: None }
    }

    /// Base URL without a slash at its end.
    pub fn endpoint(&self) -> &str {
        &self.config.endpoint
    }

    /// Whether a key is configured, even if it is not fetched yet.
    pub fn has_key(&self) -> bool {
        self.key.is_some()
    }

    pub fn has_dataset(&self) -> bool {
        self.config.dataset.is_some()
    }

    pub(super) fn compression(&self) -> OtlpCompression {
        self.compression
    }

    /// Sends an export request. If the destination refuses zstd and no compression is configured, the
    /// request is sent once more as gzip; if gzip is not refused alike, later requests are gzip too.
    pub(super) async fn export(
        &mut self,
        kind: SignalKind,
        body: &ExportBody<'_>,
    ) -> Result<HttpReply, ExportError> {
        let reply = self.export_as(self.compression, kind, body).await?;
        let may_change = self.config.compression.is_none();
        if !may_change
            || self.compression != OtlpCompression::Zstd
            || !is_encoding_refused(reply.status, &reply.body)
        {
            return Ok(reply);
        }
        let second = self.export_as(OtlpCompression::Gzip, kind, body).await?;
        if !is_encoding_refused(second.status, &second.body) {
            info!("{} refuses zstd, so requests are compressed with gzip", self.endpoint());
            self.compression = OtlpCompression::Gzip;
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
        let path = format!("/v1/{}", kind.name());
        let call = HoneycombCall { method: Method::POST, path: &path, headers: &headers, body };
        self.send(call, MAX_REPLY_BYTES).await
    }

    /// A refused key is fetched again; if it has changed, the request is sent once more.
    pub async fn send(
        &mut self,
        call: HoneycombCall<'_>,
        max_reply_bytes: usize,
    ) -> Result<HttpReply, ExportError> {
        let reply = self.send_once(call.clone(), max_reply_bytes).await?;
        if reply.status == StatusCode::UNAUTHORIZED
            && let Some(key) = &mut self.key
            && key.renew().await?
        {
            return self.send_once(call, max_reply_bytes).await;
        }
        Ok(reply)
    }

    pub fn reset_connections(&mut self) {
        self.client = None;
    }

    async fn send_once(
        &mut self,
        HoneycombCall { method, path, headers, body }: HoneycombCall<'_>,
        max_reply_bytes: usize,
    ) -> Result<HttpReply, ExportError> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.config.endpoint))
            .header(header::USER_AGENT, USER_AGENT);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        for (name, value) in &self.config.headers {
            request = request.header(name, value);
        }
        if let Some(key) = &mut self.key {
            let key = key.get().await?;
            // Only classic keys need a dataset; other keys use the service's name.
            if let Some(dataset) = self.config.dataset.as_ref().filter(|_| is_classic(&key)) {
                request = request.header("x-honeycomb-dataset", dataset);
            }
            request = request.header(TEAM, key);
        }
        let request = request.body(Full::new(body));
        let request = request.map_err(|error| ExportError::Unreadable(error.to_string()))?;
        let client = self.client.get_or_insert_with(HttpClient::default);
        client.send(request, REQUEST_TIMEOUT, max_reply_bytes).await
    }
}
