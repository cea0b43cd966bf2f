//! Honeycomb's HTTP API and the key to it.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Method, Request, StatusCode, header};
use http_body_util::Full;

use crate::{
    client::{
        http::{HttpClient, HttpReply, USER_AGENT},
        secret::Secret,
    },
    delivery::error::ExportError,
    exporter::honeycomb::config::{HoneycombConfig, TEAM, is_classic},
};

/// OpenTelemetry's default for `OTEL_EXPORTER_OTLP_TIMEOUT`.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// See the module's documentation.
#[derive(Debug)]
pub struct HoneycombApi {
    config: HoneycombConfig,
    key: Option<Secret>,
    /// Made for the first request: TLS and its roots have no place in a cold start.
    client: Option<HttpClient>,
}

/// A request without what all have in common.
#[derive(Clone, Debug)]
pub struct HoneycombCall<'a> {
    /// Its method.
    pub method: Method,
    /// Its path, beginning with a slash.
    pub path: &'a str,
    /// Its own headers.
    pub headers: &'a [(HeaderName, &'a str)],
    /// Its body.
    pub body: Bytes,
}

impl HoneycombApi {
    /// Nothing is opened and no key fetched yet.
    pub fn new(config: HoneycombConfig) -> Self {
        let key = config.key.clone().map(Secret::new);
        Self { config, key, client: None }
    }

    /// Base URL without a slash at its end.
    pub fn endpoint(&self) -> &str {
        &self.config.endpoint
    }

    /// Whether there is a key, known or not yet.
    pub fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// Whether a dataset is given for a classic key.
    pub fn has_dataset(&self) -> bool {
        self.config.dataset.is_some()
    }

    /// Sends a request with the key, and once more if that was refused and there is a new one.
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

    /// The next request makes a new connection.
    pub fn disconnect(&mut self) {
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
            // Only classic keys want a dataset; for others it is the service's name.
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
