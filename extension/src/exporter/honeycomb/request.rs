//! Honeycomb's HTTP API, with its key.

use bytes::Bytes;
use http::{HeaderName, Method, Request, StatusCode, header};
use http_body_util::Full;

use crate::client::http::{HttpClient, HttpReply, USER_AGENT};
use crate::client::secret::Secret;
use crate::delivery::error::ExportError;
use crate::exporter::honeycomb::config::{HoneycombConfig, is_classic};
use crate::exporter::otlp::compression::OtlpCompression;
use crate::exporter::otlp::engine::OtlpBackend;
use crate::exporter::otlp::headers::TEAM;
use crate::exporter::otlp::request::{MAX_REPLY_BYTES, REQUEST_TIMEOUT};
use crate::otlp::payload::SignalKind;

#[derive(Debug)]
pub struct HoneycombApi {
    config: HoneycombConfig,
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
        Self { config, key, client: None }
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

impl OtlpBackend for HoneycombApi {
    const NAME: &'static str = "honeycomb";
    const KEY_REFUSED: &'static str = "Honeycomb refuses the key: check HONEYCOMB_API_KEY";

    fn compression(&self, _: SignalKind) -> Option<OtlpCompression> {
        self.config.compression
    }

    async fn post(
        &mut self,
        kind: SignalKind,
        headers: &[(HeaderName, &'static str)],
        body: Bytes,
    ) -> Result<HttpReply, ExportError> {
        let path = format!("/v1/{}", kind.name());
        let call = HoneycombCall { method: Method::POST, path: &path, headers, body };
        self.send(call, MAX_REPLY_BYTES).await
    }
}
