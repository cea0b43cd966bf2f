//! Sends an invocation's spans to the extension, in one request.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use opentelemetry::KeyValue;
use opentelemetry_proto::{
    tonic::collector::trace::v1::ExportTraceServiceRequest,
    transform::{
        common::tonic::ResourceAttributesWithSchema,
        trace::tonic::group_spans_by_resource_and_scope,
    },
};
use opentelemetry_sdk::{Resource, trace::SpanData};
use tracing::{info, warn};

use super::extension::{Extension, SendError, TIMEOUT};

/// How long a listener that did not answer in time is left alone. Our choice: one request in a
/// while may wait for it, not each.
const PAUSE: Duration = Duration::from_secs(10);

/// Tells the extension, where it is 0, that a span is not to be sent on. The missing flag alone
/// would not do: some SDKs never set it, and mean nothing by that.
const SAMPLING_PRIORITY: &str = "sampling.priority";

/// What becomes of ended spans.
pub(super) struct Exporter {
    extension: Extension,
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
    pub(super) fn new(extension: Extension, resource: &Resource) -> Self {
        Self { extension, resource: resource.into(), outage: Mutex::default() }
    }

    /// Sends once and never fails: what the extension does not take is lost, and counted.
    ///
    /// An outage is one warning, and its end one line with the number of lost spans. Every call
    /// tries, so that an extension which starts later is found; only one that takes connections
    /// and does not answer is left alone for [`PAUSE`]. Takes at most [`TIMEOUT`] and at most half
    /// of `time_left`, since a runtime that overruns its deadline is killed even though it has
    /// replied.
    pub(super) async fn send(&self, mut spans: Vec<SpanData>, time_left: Option<Duration>) {
        let count = spans.len() as u64;
        if spans.is_empty() || self.outage().pauses(count) {
            return;
        }
        let timeout = time_left.map_or(TIMEOUT, |left| TIMEOUT.min(left / 2));
        for span in spans.iter_mut().filter(|span| !span.span_context.is_sampled()) {
            span.attributes.push(KeyValue::new(SAMPLING_PRIORITY, 0));
        }
        let resource_spans = group_spans_by_resource_and_scope(spans, &self.resource);
        let request = ExportTraceServiceRequest { resource_spans };
        let taken = self.extension.take_within(timeout, &request).await;
        let mut outage = self.outage();
        match taken {
            Ok(()) => {
                if let Outage { lost: lost @ 1.., .. } = std::mem::take(&mut *outage) {
                    info!(lost, "The telemetry extension takes spans again; {lost} were lost");
                }
            }
            Err(error) => {
                if outage.lost == 0 {
                    let url = self.extension.url().to_string();
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
}
