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

    /// Returns the documents that were finally refused.
    pub(super) async fn send(
        &mut self,
        documents: &[Segment],
    ) -> Result<Vec<SegmentRefusal>, ExportError> {
        match self {
            Self::Api(api) => api.send(documents).await,
            Self::Daemon(daemon) => {
                for document in documents {
                    daemon.send(&document.json).await?;
                }
                Ok(Vec::new())
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
