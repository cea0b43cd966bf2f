//! X-Ray's own API: PutTraceSegments.
//! <https://docs.aws.amazon.com/xray/latest/api/API_PutTraceSegments.html>

use aws_sdk_xray::Client;
use http::StatusCode;

use crate::{
    client::{
        aws::{export_error, sdk_config},
        http::readable,
    },
    delivery::{error::ExportError, healthcheck::Finding},
    exporter::xray::transport::{Segment, SegmentRefusal},
};

/// Most documents of one call; X-Ray says "Exceeding maximum segment count: 50" above that.
pub(super) const MAX_DOCUMENTS: usize = 50;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(in crate::exporter::xray) struct XrayApi {
    /// Made for the first batch: TLS and credentials have no place in a cold start.
    client: Option<Client>,
}

impl XrayApi {
    /// Sends at most [`MAX_DOCUMENTS`] in one call.
    pub(super) async fn send(
        &mut self,
        documents: &[Segment],
    ) -> Result<Vec<SegmentRefusal>, ExportError> {
        let client = match &mut self.client {
            Some(client) => client,
            none => none.insert(Client::new(&sdk_config())),
        };
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

    /// Calls without a document: who may not send is refused, and all else is an answer.
    pub(super) async fn check(&mut self) -> Finding {
        match self.send(&[]).await {
            Err(error)
                if !matches!(
                    error,
                    ExportError::Status { status: StatusCode::BAD_REQUEST, .. }
                ) =>
            {
                Finding::failed("X-Ray", &error)
            }
            Ok(_) | Err(_) => Finding::fine("X-Ray takes segments"),
        }
    }

    pub(super) fn disconnect(&mut self) {
        self.client = None;
    }
}

fn with_advice(mut error: ExportError) -> ExportError {
    if let ExportError::Status { status: StatusCode::FORBIDDEN, message, .. } = &mut error {
        message.push_str("; the function's role needs xray:PutTraceSegments");
    }
    error
}
