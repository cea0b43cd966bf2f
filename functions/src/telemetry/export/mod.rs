//! Sends an invocation's spans to the extension, and its lines if they are sent: one request each.

mod otlp_client;

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use http::Uri;
use opentelemetry::KeyValue;
use opentelemetry_proto::{
    tonic::{
        collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest},
        common::v1::InstrumentationScope,
        logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
        resource::v1::Resource as OtlpResource,
    },
    transform::{
        common::tonic::ResourceAttributesWithSchema,
        trace::tonic::group_spans_by_resource_and_scope,
    },
};
use opentelemetry_sdk::{Resource, trace::SpanData};
use tracing::{info, warn};

use crate::config::Config;
use otlp_client::TIMEOUT;
pub use otlp_client::{OtlpClient, SendError};

/// The pause after a listener did not answer in time, so that one request in a while waits for it
/// and not each.
const PAUSE: Duration = Duration::from_secs(10);

/// The limit where several requests run at once: a wait delays one of them, and their number makes a slow
/// answer likelier.
const CONCURRENT_TIMEOUT: Duration = Duration::from_secs(2);

/// Tells the extension, where it is 0, that a span is not to be sent on. The missing flag alone
/// would not do: some SDKs never set it, and mean nothing by that.
const SAMPLING_PRIORITY: &str = "sampling.priority";

/// What becomes of ended spans and of lines.
pub(in crate::telemetry) struct Exporter {
    extension: OtlpClient,
    /// `None` if lines are not sent.
    logs_url: Option<Uri>,
    resource: ResourceAttributesWithSchema,
    /// Limit for the requests of one invocation.
    timeout: Duration,
    outage: Mutex<Outage>,
}

/// Since the extension last took something.
#[derive(Default)]
struct Outage {
    lost_spans: u64,
    lost_lines: u64,
    pause_until: Option<Instant>,
}

impl Outage {
    /// Whether nothing may be sent now; spans and lines are counted as lost then.
    fn pauses(&mut self, spans: u64, lines: u64) -> bool {
        let pauses = self.pause_until.is_some_and(|until| Instant::now() < until);
        if pauses {
            self.lost_spans += spans;
            self.lost_lines += lines;
        }
        pauses
    }
}

impl Exporter {
    /// Connects to nothing yet.
    pub(in crate::telemetry) fn new(config: &Config, resource: &Resource) -> Self {
        Self {
            extension: OtlpClient::new(config.traces_url.clone()),
            logs_url: config.logs_url.clone(),
            resource: resource.into(),
            timeout: if config.is_concurrent { CONCURRENT_TIMEOUT } else { TIMEOUT },
            outage: Mutex::default(),
        }
    }

    /// Sends once and never fails: what the extension does not take is lost, and counted.
    ///
    /// An outage is one warning, and its end one line with the number of lost spans. Every call
    /// tries, so that an extension which starts later is found; only one that takes connections
    /// and does not answer is left alone for [`PAUSE`]. Takes at most [`TIMEOUT`], or
    /// [`CONCURRENT_TIMEOUT`] on a managed instance, and at most half of `time_left`, since a runtime
    /// that overruns its deadline is killed even though it has replied.
    pub(in crate::telemetry) async fn send(
        &self,
        spans: Vec<SpanData>,
        lines: Vec<LogRecord>,
        time_left: Option<Duration>,
    ) {
        let (span_count, line_count) = (spans.len() as u64, lines.len() as u64);
        if span_count + line_count == 0 || self.outage().pauses(span_count, line_count) {
            return;
        }
        let timeout = time_left.map_or(self.timeout, |left| self.timeout.min(left / 2));
        let until = tokio::time::Instant::now() + timeout;
        // Lines first: by the server span the extension knows that this was all.
        let mut silent = false;
        if let Some(url) = self.logs_url.as_ref().filter(|_| line_count > 0) {
            let taken = self.extension.take_within(timeout, url, &self.of_lines(lines)).await;
            silent = matches!(taken, Err(SendError::TimedOut(_)));
            self.lines_were(taken, url, line_count);
        }
        if span_count > 0 {
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            let taken = match silent {
                true => Err(SendError::TimedOut(timeout)),
                false => {
                    let url = self.extension.traces_url();
                    self.extension.take_within(left, url, &self.of_spans(spans)).await
                }
            };
            self.spans_were(taken, span_count);
        }
    }

    fn of_spans(&self, mut spans: Vec<SpanData>) -> ExportTraceServiceRequest {
        for span in spans.iter_mut().filter(|span| !span.span_context.is_sampled()) {
            span.attributes.push(KeyValue::new(SAMPLING_PRIORITY, 0));
        }
        let resource_spans = group_spans_by_resource_and_scope(spans, &self.resource);
        ExportTraceServiceRequest { resource_spans }
    }

    fn of_lines(&self, log_records: Vec<LogRecord>) -> ExportLogsServiceRequest {
        let scope =
            InstrumentationScope { name: "cruddur".to_owned(), ..InstrumentationScope::default() };
        let scope_logs =
            vec![ScopeLogs { scope: Some(scope), log_records, ..ScopeLogs::default() }];
        let attributes = self.resource.attributes.0.clone();
        let resource = Some(OtlpResource { attributes, ..OtlpResource::default() });
        let resource_logs = vec![ResourceLogs { resource, scope_logs, ..ResourceLogs::default() }];
        ExportLogsServiceRequest { resource_logs }
    }

    fn spans_were(&self, taken: Result<(), SendError>, count: u64) {
        let mut outage = self.outage();
        match taken {
            Ok(()) => {
                outage.pause_until = None;
                if let lost @ 1.. = std::mem::take(&mut outage.lost_spans) {
                    drop(outage); // a line may be kept to be sent, too
                    info!(lost, "The telemetry extension takes spans again; {lost} were lost");
                }
            }
            Err(error) => {
                let is_first = outage.lost_spans == 0;
                outage.lost_spans += count;
                outage.pause_until =
                    matches!(error, SendError::TimedOut(_)).then(|| Instant::now() + PAUSE);
                drop(outage);
                if is_first {
                    let url = self.extension.traces_url();
                    warn!(%url, %error, "Spans are lost: the telemetry extension does not take them");
                }
            }
        }
    }

    /// An absent extension is logged for spans only. Lines that are lost here are still on standard
    /// output.
    fn lines_were(&self, taken: Result<(), SendError>, url: &Uri, count: u64) {
        let mut outage = self.outage();
        match taken {
            Ok(()) => {
                if let lost @ 1.. = std::mem::take(&mut outage.lost_lines) {
                    drop(outage);
                    info!(lost, "The telemetry extension takes lines again; it lacks {lost}");
                }
            }
            Err(error) => {
                let is_first = outage.lost_lines == 0;
                outage.lost_lines += count;
                drop(outage);
                if is_first && matches!(error, SendError::Refused(_)) {
                    warn!(%url, %error, "The telemetry extension does not take lines");
                }
            }
        }
    }

    fn outage(&self) -> MutexGuard<'_, Outage> {
        // Held for a few lines and never across an await; a panic in them leaves nothing half done.
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
