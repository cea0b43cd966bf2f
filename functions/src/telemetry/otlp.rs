//! Sends an invocation's spans to the extension: one OTLP/HTTP request, protobuf.
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp>

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use opentelemetry_proto::{
    tonic::collector::trace::v1::ExportTraceServiceRequest,
    transform::{
        common::tonic::ResourceAttributesWithSchema,
        trace::tonic::group_spans_by_resource_and_scope,
    },
};
use opentelemetry_sdk::{Resource, trace::SpanData};
use prost::Message;
use tracing::{info, warn};

/// How long the extension may take. Our choice: it answers within a millisecond if it runs, and
/// who waits here is the next invocation, not the client of this one.
const TIMEOUT: Duration = Duration::from_millis(200);

/// How long a listener that did not answer in time is left alone. Our choice: one request in a
/// while may wait for it, not each.
const PAUSE: Duration = Duration::from_secs(10);

/// Why the spans are lost.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("no answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    #[error("not reachable: {}", chain(.0))]
    Unreachable(#[from] hyper_util::client::legacy::Error),
    #[error("the answer broke off")]
    Interrupted(#[from] hyper::Error),
    #[error("refused with status {0}")]
    Refused(StatusCode),
    #[error("no valid request")]
    Request(#[from] http::Error),
}

/// Holds the connection to the extension.
pub(super) struct Exporter {
    url: Uri,
    client: Client<HttpConnector, Full<Bytes>>,
    resource: ResourceAttributesWithSchema,
    outage: Mutex<Outage>,
}

/// Since the extension last took something.
#[derive(Default)]
struct Outage {
    lost: u64,
    pause_until: Option<Instant>,
}

impl Outage {
    /// Whether nothing is to be sent now; `count` spans are lost then.
    fn pauses(&mut self, count: u64) -> bool {
        let pauses = self.pause_until.is_some_and(|until| Instant::now() < until);
        self.lost += if pauses { count } else { 0 };
        pauses
    }
}

impl Exporter {
    /// Connects to nothing yet.
    pub(super) fn new(url: Uri, resource: &Resource) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self {
            url,
            client: Client::builder(TokioExecutor::new()).build(connector),
            resource: resource.into(),
            outage: Mutex::default(),
        }
    }

    /// Sends once and never fails: what the extension does not take is lost, and counted.
    ///
    /// An outage is one warning, and its end one line with the number of lost spans. Every call
    /// tries, so that an extension which starts later is found; only one that takes connections
    /// and does not answer is left alone for [`PAUSE`]. Takes at most [`TIMEOUT`] and at most half
    /// of `time_left`, since a runtime that overruns its deadline is killed even though it has
    /// replied.
    pub(super) async fn send(&self, spans: Vec<SpanData>, time_left: Option<Duration>) {
        let count = spans.len() as u64;
        if spans.is_empty() || self.outage().pauses(count) {
            return;
        }
        let timeout = time_left.map_or(TIMEOUT, |left| TIMEOUT.min(left / 2));
        let sent = tokio::time::timeout(timeout, self.post(spans)).await;
        let mut outage = self.outage();
        match sent.unwrap_or(Err(SendError::TimedOut(timeout))) {
            Ok(()) => {
                if let Outage { lost: lost @ 1.., .. } = std::mem::take(&mut *outage) {
                    info!(lost, "The telemetry extension takes spans again; {lost} were lost");
                }
            }
            Err(error) => {
                if outage.lost == 0 {
                    let url = self.url.to_string();
                    warn!(%url, %error, "Spans are lost: the telemetry extension does not take them");
                }
                outage.lost += count;
                outage.pause_until =
                    matches!(error, SendError::TimedOut(_)).then(|| Instant::now() + PAUSE);
            }
        }
    }

    fn outage(&self) -> MutexGuard<'_, Outage> {
        // Held for a few lines and never across an await; a panic in them leaves nothing half done.
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn post(&self, spans: Vec<SpanData>) -> Result<(), SendError> {
        let resource_spans = group_spans_by_resource_and_scope(spans, &self.resource);
        let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        let request = Request::post(self.url.clone())
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
