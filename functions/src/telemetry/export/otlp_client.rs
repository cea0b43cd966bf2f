//! The way to the extension: OTLP/HTTP on this machine, protobuf.
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp>

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

/// Limit for one request to the extension, which answers within a millisecond. The wait delays the
/// next invocation, not the client of this one.
pub(super) const TIMEOUT: Duration = Duration::from_millis(200);

/// In so many parts a time limit is counted: more than invocations of one sandbox usually fail at once.
const TIMEOUT_PARTS: u32 = 20;

/// Why the extension did not take something.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// It may be there, but busy.
    #[error("no answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// The connection was refused.
    #[error("not reachable: {}", chain(.0))]
    Unreachable(#[from] hyper_util::client::legacy::Error),
    /// It went away meanwhile.
    #[error("the answer broke off")]
    Interrupted(#[from] hyper::Error),
    /// It does not want them.
    #[error("refused with status {0}")]
    Refused(StatusCode),
    /// The address cannot be asked.
    #[error("no valid request")]
    Request(#[from] http::Error),
}

/// Holds the connection, which is made by the first request.
pub struct OtlpClient {
    traces_url: Uri,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl OtlpClient {
    /// An extension that takes spans there.
    pub fn new(traces_url: Uri) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self { traces_url, client: Client::builder(TokioExecutor::new()).build(connector) }
    }

    pub(super) fn traces_url(&self) -> &Uri {
        &self.traces_url
    }

    /// Hands spans over, once; takes at most `TIMEOUT`.
    pub async fn take(&self, spans: &ExportTraceServiceRequest) -> Result<(), SendError> {
        self.take_within(TIMEOUT, &self.traces_url, spans).await
    }

    /// Hands a request of the signal whose URL this is over, once.
    pub(super) async fn take_within(
        &self,
        timeout: Duration,
        url: &Uri,
        request: &impl Message,
    ) -> Result<(), SendError> {
        let mut post = pin!(self.post(url, request.encode_to_vec()));
        // Other invocations may keep the thread busy. Such a time uses up one part, however long it is, so
        // an answer that came meanwhile is read in the next part.
        for _ in 0..TIMEOUT_PARTS {
            let part = timeout / TIMEOUT_PARTS;
            if let Ok(posted) = tokio::time::timeout(part, &mut post).await {
                return posted;
            }
        }
        Err(SendError::TimedOut(timeout))
    }

    async fn post(&self, url: &Uri, body: Vec<u8>) -> Result<(), SendError> {
        let request = Request::post(url.clone())
            .header(CONTENT_TYPE, "application/x-protobuf")
            .body(Full::from(body))?;
        let answer = self.client.request(request).await?;
        let status = answer.status();
        answer.into_body().collect().await?; // read to its end, or the connection is not reused
        match status.is_success() {
            true => Ok(()),
            false => Err(SendError::Refused(status)),
        }
    }
}

/// The client's own message is only "client error (Connect)"; the reason is further down.
fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |source| source.source());
    sources.fold(error.to_string(), |chain, source| format!("{chain}: {source}"))
}
