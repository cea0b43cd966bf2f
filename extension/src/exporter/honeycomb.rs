//! Posts batches to Honeycomb as OTLP/HTTP protobuf, compressed.
//! <https://docs.honeycomb.io/send-data/opentelemetry/#using-the-honeycomb-opentelemetry-endpoint>

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::timeout;

use super::ExportError;
use crate::{batch::Batch, config};

/// OpenTelemetry's default for `OTEL_EXPORTER_OTLP_TIMEOUT`.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The most of a reply that is read; the specification's own limit is 4 MiB, we need a sentence.
const MAX_REPLY_BYTES: usize = 16 << 10;

/// The most of a refusal that is logged, in characters. Our choice.
const MAX_MESSAGE_CHARS: usize = 200;

type HttpsClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// See the module's documentation.
#[derive(Debug)]
pub struct Honeycomb {
    config: config::Honeycomb,
    /// Made for the first batch: TLS and its roots have no place in a cold start.
    client: Option<HttpsClient>,
}

impl Honeycomb {
    /// An exporter that has not opened anything yet.
    pub fn new(config: config::Honeycomb) -> Self {
        Self { config, client: None }
    }

    /// Sends a batch in one request.
    pub async fn export(&mut self, batch: &Batch) -> Result<(), ExportError> {
        let request = self.request(batch)?;
        let client = self.client.get_or_insert_with(client);
        let exchange = async {
            let reply = client.request(request).await.map_err(unreachable)?;
            let (head, body) = reply.into_parts();
            // Read to the end, so that the connection can be used again.
            let body = Limited::new(body, MAX_REPLY_BYTES).collect().await;
            Ok((head, body.map(|body| body.to_bytes()).unwrap_or_default()))
        };
        let (head, body) = timeout(REQUEST_TIMEOUT, exchange)
            .await
            .unwrap_or(Err(ExportError::Timeout(REQUEST_TIMEOUT)))?;
        let message = match head.status {
            status if status.is_success() => return Ok(()),
            StatusCode::UNAUTHORIZED => "the key is not accepted, look at HONEYCOMB_API_KEY".into(),
            _ => readable(&body),
        };
        let retry_after = retry_after(&head.headers, SystemTime::now());
        Err(ExportError::Status { status: head.status, message, retry_after })
    }

    /// The next batch makes a new connection.
    pub fn disconnect(&mut self) {
        self.client = None;
    }

    fn request(&self, batch: &Batch) -> Result<Request<Full<Bytes>>, ExportError> {
        let unbuildable =
            |error: &dyn std::fmt::Display| ExportError::Unreachable(error.to_string());
        let mut key =
            HeaderValue::from_str(self.config.key.expose()).map_err(|error| unbuildable(&error))?;
        key.set_sensitive(true);
        Request::post(format!("{}{}", self.config.endpoint, batch.kind.path()))
            .header("x-honeycomb-team", key)
            .header(header::CONTENT_TYPE, "application/x-protobuf")
            .header(header::CONTENT_ENCODING, "zstd")
            .header(header::USER_AGENT, concat!("cruddur-telemetry/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(batch.to_zstd().map_err(|error| unbuildable(&error))?))
            .map_err(|error| unbuildable(&error))
    }
}

fn client() -> HttpsClient {
    let connector =
        HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1().build();
    Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector)
}

/// The header `Retry-After`, as seconds or as a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    let seconds = value.trim().parse().ok().map(Duration::from_secs);
    seconds.or_else(|| httpdate::parse_http_date(value).ok()?.duration_since(now).ok())
}

/// The whole chain, since the outermost error only says that a request failed.
fn unreachable(error: hyper_util::client::legacy::Error) -> ExportError {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    ExportError::Unreachable(text)
}

/// A reply's text for the log: short, and without control characters.
fn readable(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.chars().filter(|char| !char.is_control()).take(MAX_MESSAGE_CHARS).collect()
}
