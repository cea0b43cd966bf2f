//! Sends a batch to X-Ray's OTLP endpoint: the received bytes, with the ids of Lambda's trace.
//!
//! A batch takes one call, or several if X-Ray's limits demand it. Spans of calls that X-Ray accepted are
//! not sent again if a later call of the batch fails.

mod answer;
mod calls;
mod rewrite;

use std::{collections::BTreeSet, time::SystemTime};

use bytes::Bytes;
use tracing::warn;

use crate::delivery::error::{ExportError, ExportOutcome};
use crate::exporter::xray::acknowledged::{AcknowledgedSpan, AcknowledgedSpans};
pub(super) use crate::exporter::xray::otlp::answer::OtlpRefusal;
use crate::exporter::xray::otlp::answer::rejected_spans;
use crate::exporter::xray::otlp::calls::{CutBatch, cut};
use crate::exporter::xray::placement::PlacedBatch;
use crate::exporter::xray::request::XrayApi;

#[derive(Debug, Default)]
pub(super) struct OtlpExport {
    /// Reasons for cut and dropped spans. Each is logged once; the account counts the spans.
    reported: BTreeSet<&'static str>,
    has_succeeded: bool,
}

impl OtlpExport {
    pub(super) async fn send(
        &mut self,
        batch: &PlacedBatch<'_>,
        api: &mut XrayApi,
        acknowledged: &mut AcknowledgedSpans,
    ) -> Result<ExportOutcome, OtlpRefusal> {
        let CutBatch { calls, acknowledged: known, rejected, dropped, cut_spans } =
            cut(batch, acknowledged);
        let mut outcome = ExportOutcome { rejected, ..ExportOutcome::default() };
        let mut left = calls.len();
        let mut ids = known;
        for call in calls {
            let rejected = post(api, call.body.into(), call.ids.len()).await?;
            self.has_succeeded = true;
            outcome.rejected += rejected as u64;
            left -= 1;
            // Which spans are rejected is unknown; only their number counts.
            for (index, id) in call.ids.iter().enumerate().filter(|_| left > 0) {
                let is_refused = index < rejected;
                acknowledged.insert(*id, AcknowledgedSpan { is_refused, annotations: 0 });
                ids.push(*id);
            }
        }
        acknowledged.forget(&ids);
        for (count, reason) in dropped.reasons() {
            if self.reported.insert(reason) {
                warn!("{count} spans are dropped before they are sent to X-Ray: {reason}");
            }
        }
        if cut_spans > 0 && self.reported.insert("cut") {
            warn!("{cut_spans} spans are too large for X-Ray; values were cut or left out");
        }
        Ok(outcome)
    }

    /// Whether X-Ray takes no OTLP. Before the first success any final refusal says so, whatever its wording.
    pub(super) fn is_closed(&self, refusal: &OtlpRefusal) -> bool {
        match refusal {
            OtlpRefusal::Closed(_) => true,
            OtlpRefusal::Failed(error) => !self.has_succeeded && error.is_final(),
        }
    }

    /// The bodies of the calls.
    pub(super) fn bodies(batch: &PlacedBatch<'_>) -> Vec<Vec<u8>> {
        let calls = cut(batch, &AcknowledgedSpans::default()).calls;
        calls.into_iter().map(|call| call.body).collect()
    }

    /// Fails as a batch would: a call without spans.
    pub(super) async fn probe(api: &mut XrayApi) -> Result<(), OtlpRefusal> {
        post(api, Bytes::new(), 0).await.map(drop)
    }
}

/// Returns the number of rejected spans.
async fn post(api: &mut XrayApi, body: Bytes, spans: usize) -> Result<usize, OtlpRefusal> {
    let reply = api.post_spans(body).await.map_err(OtlpRefusal::Failed)?;
    let rejected = rejected_spans(&reply, SystemTime::now())?;
    Ok(usize::try_from(rejected).unwrap_or(usize::MAX).min(spans))
}

impl From<OtlpRefusal> for ExportError {
    /// A closed endpoint does not concern the batch, which waits until it opens.
    fn from(refusal: OtlpRefusal) -> Self {
        match refusal {
            OtlpRefusal::Failed(error) => error,
            OtlpRefusal::Closed(error) if error.is_final() => Self::NotAboutBatch(Box::new(error)),
            OtlpRefusal::Closed(error) => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn until_x_ray_has_taken_otlp_any_final_refusal_means_that_it_takes_none() {
        let refusal = |status| {
            let (message, retry_after) = ("in other words".to_owned(), None);
            OtlpRefusal::Failed(ExportError::Status { status, message, retry_after })
        };
        let mut otlp = OtlpExport::default();

        assert!(otlp.is_closed(&refusal(StatusCode::BAD_REQUEST)));
        assert!(!otlp.is_closed(&refusal(StatusCode::SERVICE_UNAVAILABLE)));
        otlp.has_succeeded = true;
        assert!(!otlp.is_closed(&refusal(StatusCode::BAD_REQUEST)));
    }
}
