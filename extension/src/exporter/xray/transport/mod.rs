//! Sends segments to X-Ray's API, or to an X-Ray daemon.

mod api;
mod daemon;

use crate::delivery::error::ExportError;
use crate::delivery::healthcheck::Finding;
use crate::exporter::xray::segment::{Segment, SegmentRefusal};
use crate::exporter::xray::transport::api::XrayApi;
use crate::exporter::xray::transport::daemon::Daemon;

#[derive(Debug)]
pub(super) enum Transport {
    Api(XrayApi),
    Daemon(Daemon),
}

impl Transport {
    /// `daemon` is its address. Opens no connection.
    pub(super) fn new(daemon: Option<String>) -> Self {
        match daemon {
            Some(address) => Self::Daemon(Daemon::new(address)),
            None => Self::Api(XrayApi::default()),
        }
    }

    /// Most documents of one call of [`send`](Self::send).
    pub(super) fn max_documents(&self) -> usize {
        match self {
            Self::Api(_) => api::MAX_DOCUMENTS,
            Self::Daemon(_) => 1, // so each failure concerns one document
        }
    }

    /// Most calls in flight.
    pub(super) fn max_calls(&self) -> usize {
        match self {
            Self::Api(_) => api::MAX_CALLS,
            Self::Daemon(_) => 1,
        }
    }

    /// Sends each part in a call, and returns the refused documents of each.
    pub(super) async fn send(
        &mut self,
        parts: &[Vec<Segment>],
    ) -> Vec<Result<Vec<SegmentRefusal>, ExportError>> {
        match self {
            Self::Api(api) => api.send(parts).await,
            Self::Daemon(daemon) => {
                let mut results = Vec::new();
                for document in parts.iter().flatten() {
                    results.push(daemon.send(&document.json).await.map(|()| Vec::new()));
                }
                results
            }
        }
    }

    /// Checks the connection without sending a document.
    pub(super) async fn healthcheck(&mut self) -> Finding {
        match self {
            Self::Api(api) => api.healthcheck().await,
            Self::Daemon(daemon) => daemon.healthcheck().await,
        }
    }

    pub(super) fn reset_connections(&mut self) {
        match self {
            Self::Api(api) => api.reset_connections(),
            Self::Daemon(daemon) => daemon.reset_connections(),
        }
    }
}
