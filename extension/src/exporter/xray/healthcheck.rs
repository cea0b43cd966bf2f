//! Whether X-Ray accepts spans, and on which way.

use http::StatusCode;

use crate::delivery::error::ExportError;
use crate::delivery::healthcheck::Finding;
use crate::exporter::xray::config::XrayTransport;
use crate::exporter::xray::otlp::{OtlpExport, OtlpRefusal};
use crate::exporter::xray::request::XrayApi;
use crate::exporter::xray::transport::Transport;

/// Sends no span. Of the API it checks both ways, so that the page shows which one is open.
pub(super) async fn check(transport: &mut Transport, configured: &XrayTransport) -> Vec<Finding> {
    let api = match transport {
        Transport::Daemon(daemon) => return vec![daemon.healthcheck().await],
        Transport::Api(api) => api,
    };
    if *configured == XrayTransport::Otlp {
        return vec![otlp(api, configured).await];
    }
    let segments = segments(api).await;
    match segments.prevents_sending {
        true => vec![segments],
        false => vec![segments, otlp(api, configured).await],
    }
}

/// Calls without a document: a success or a 400 proves that the role may send segments.
async fn segments(api: &mut XrayApi) -> Finding {
    match api.put_segments(&[Vec::new()]).await.pop() {
        Some(Err(error)) if !is_bad_request(&error) => Finding::failed("X-Ray", &error),
        _ => Finding::fine("X-Ray accepts segments"),
    }
}

/// Calls without a span, in the same way.
async fn otlp(api: &mut XrayApi, configured: &XrayTransport) -> Finding {
    let refusal = match OtlpExport::probe(api).await {
        Ok(()) => None,
        Err(OtlpRefusal::Failed(error)) if is_bad_request(&error) => None,
        Err(refusal) => Some(refusal),
    };
    match (refusal, configured) {
        (None, XrayTransport::Auto) => {
            Finding::fine("X-Ray accepts OTLP, which a sandbox uses from its second batch on")
        }
        (None, XrayTransport::Segments) => {
            Finding::fine("X-Ray accepts OTLP, too: CRUDDUR_XRAY_TRANSPORT=otlp uses it")
        }
        (None, _) => Finding::fine("X-Ray accepts OTLP"),
        (Some(OtlpRefusal::Closed(error)), XrayTransport::Otlp) => Finding::refused(format!(
            "X-Ray accepts no OTLP; CRUDDUR_XRAY_TRANSPORT=segments sends documents: {error}"
        )),
        (Some(OtlpRefusal::Closed(error)), _) => {
            Finding::fine(format!("X-Ray accepts no OTLP, so spans go as segments: {error}"))
        }
        (Some(OtlpRefusal::Failed(error)), _) => Finding::failed("X-Ray's OTLP endpoint", &error),
    }
}

fn is_bad_request(error: &ExportError) -> bool {
    matches!(error, ExportError::Status { status: StatusCode::BAD_REQUEST, .. })
}
