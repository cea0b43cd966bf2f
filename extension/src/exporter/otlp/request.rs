//! The requests to the second backend.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::Full;

use crate::client::http::{HttpClient, HttpReply, USER_AGENT};
use crate::client::secret::Secret;
use crate::delivery::error::ExportError;
use crate::exporter::otlp::compression::OtlpCompression;
use crate::exporter::otlp::config::{HEADERS_SECRET, OtlpConfig, SignalTarget};
use crate::exporter::otlp::engine::OtlpBackend;
use crate::exporter::otlp::headers::parse_headers;
use crate::otlp::payload::SignalKind;

/// OpenTelemetry's default for `OTEL_EXPORTER_OTLP_TIMEOUT`.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Most bytes of a reply that are read, by OTLP's specification.
/// <https://opentelemetry.io/docs/specs/otlp/#otlphttp-response>
pub const MAX_REPLY_BYTES: usize = 4 << 20;

#[derive(Debug)]
pub struct OtlpApi {
    pub(super) config: OtlpConfig,
    secret: Option<Secret>,
    /// Created for the first request, so that a cold start does not wait for TLS and its roots.
    pub(super) client: Option<HttpClient>,
}

impl OtlpApi {
    /// Opens no connection and fetches no headers.
    pub(super) fn new(config: OtlpConfig) -> Self {
        let secret = config.secret.clone().map(Secret::new);
        Self { config, secret, client: None }
    }

    pub(super) fn target(&self, kind: SignalKind) -> Option<&SignalTarget> {
        self.config.targets.iter().find(|target| target.kind == kind)
    }
}

impl OtlpBackend for OtlpApi {
    const NAME: &'static str = "otlp";
    const KEY_REFUSED: &'static str =
        "the backend refuses the key: check CRUDDUR_OTLP_HEADERS or OTEL_EXPORTER_OTLP_HEADERS";

    fn compression(&self, kind: SignalKind) -> Option<OtlpCompression> {
        self.target(kind)?.compression
    }

    /// Refused headers are fetched again; if they have changed, the request is sent once more.
    async fn post(
        &mut self,
        kind: SignalKind,
        headers: &[(HeaderName, &'static str)],
        body: Bytes,
    ) -> Result<HttpReply, ExportError> {
        let reply = self.post_once(kind, headers, body.clone()).await?;
        if reply.status == StatusCode::UNAUTHORIZED
            && let Some(secret) = &mut self.secret
            && secret.renew().await?
        {
            return self.post_once(kind, headers, body).await;
        }
        Ok(reply)
    }
}

impl OtlpApi {
    async fn post_once(
        &mut self,
        kind: SignalKind,
        headers: &[(HeaderName, &'static str)],
        body: Bytes,
    ) -> Result<HttpReply, ExportError> {
        let unreadable = |error: String| ExportError::Unreadable(error);
        let fetched = self.fetched_headers().await?;
        let target = self.target(kind).ok_or_else(|| unreadable("no address for it".to_owned()))?;
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(target.url.clone())
            .header(header::USER_AGENT, USER_AGENT);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        for (name, value) in target.headers.iter().chain(&fetched) {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body));
        let request = request.map_err(|error| unreadable(error.to_string()))?;
        let client = self.client.get_or_insert_with(HttpClient::default);
        client.send(request, REQUEST_TIMEOUT, MAX_REPLY_BYTES).await
    }

    async fn fetched_headers(&mut self) -> Result<Vec<(HeaderName, HeaderValue)>, ExportError> {
        let Some(secret) = &mut self.secret else { return Ok(Vec::new()) };
        let list = secret.get().await?;
        parse_headers(list.to_str().unwrap_or_default()).map_err(|reason| {
            let reason = format!("the value that {HEADERS_SECRET} names {reason}");
            ExportError::NoKey { reason, is_unreachable: false }
        })
    }
}

/// The URL without its query, which may hold a secret.
pub(super) fn shown(url: &Uri) -> String {
    let host = url.authority().map_or("", |host| host.as_str());
    format!("{}://{host}{}", url.scheme_str().unwrap_or_default(), url.path())
}
