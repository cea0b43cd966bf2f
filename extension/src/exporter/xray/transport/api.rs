//! X-Ray's own API: PutTraceSegments.
//! <https://docs.aws.amazon.com/xray/latest/api/API_PutTraceSegments.html>

use aws_sdk_xray::Client;
use futures_util::future::join_all;
use http::StatusCode;

use crate::client::aws::{export_error, sdk_config};
use crate::client::http::readable;
use crate::delivery::error::ExportError;
use crate::delivery::healthcheck::Finding;
use crate::exporter::xray::segment::{Segment, SegmentRefusal};

/// Most documents of one call: X-Ray answers "Exceeding maximum segment count: 50" to more.
pub(super) const MAX_DOCUMENTS: usize = 50;

/// Most calls in flight: a thousand documents in a round trip. Each takes a connection and, for the body, up
/// to a megabyte.
pub(super) const MAX_CALLS: usize = 20;

#[derive(Debug, Default)]
pub(crate) struct XrayApi {
    /// Created for the first batch, so that a cold start does not wait for TLS and credentials.
    client: Option<Client>,
}

impl XrayApi {
    /// Sends each part in a call, all at once.
    pub(super) async fn send(
        &mut self,
        parts: &[Vec<Segment>],
    ) -> Vec<Result<Vec<SegmentRefusal>, ExportError>> {
        let client = self.client.get_or_insert_with(|| Client::new(&sdk_config()));
        join_all(parts.iter().map(|part| Self::call(client, part))).await
    }

    async fn call(
        client: &Client,
        documents: &[Segment],
    ) -> Result<Vec<SegmentRefusal>, ExportError> {
        let documents = documents.iter().map(|document| document.json.clone()).collect();
        let call = client.put_trace_segments().set_trace_segment_documents(Some(documents)).send();
        let reply = call.await.map_err(|error| with_advice(export_error(error)))?;
        let refusals = reply.unprocessed_trace_segments.unwrap_or_default().into_iter();
        Ok(refusals
            .map(|refused| SegmentRefusal {
                id: refused.id,
                code: refused.error_code.unwrap_or_default(),
                message: readable(refused.message.unwrap_or_default().as_bytes()),
            })
            .collect())
    }

    /// Calls without a document: a success or a 400 proves that the role may send segments.
    pub(super) async fn healthcheck(&mut self) -> Finding {
        let client = self.client.get_or_insert_with(|| Client::new(&sdk_config()));
        match Self::call(client, &[]).await {
            Err(error)
                if !matches!(
                    error,
                    ExportError::Status { status: StatusCode::BAD_REQUEST, .. }
                ) =>
            {
                Finding::failed("X-Ray", &error)
            }
            Ok(_) | Err(_) => Finding::fine("X-Ray accepts segments"),
        }
    }

    pub(super) fn reset_connections(&mut self) {
        self.client = None;
    }
}

fn with_advice(mut error: ExportError) -> ExportError {
    if let ExportError::Status { status: StatusCode::FORBIDDEN, message, .. } = &mut error {
        message.push_str("; the function's role needs xray:PutTraceSegments");
    }
    error
}
