//! Sends segments to X-Ray's API, or to an X-Ray daemon.

use crate::delivery::error::ExportError;
use crate::exporter::xray::config::XrayTransport;
use crate::exporter::xray::daemon::Daemon;
use crate::exporter::xray::request::{self, XrayApi};
use crate::exporter::xray::segment::{Segment, SegmentRefusal};

#[derive(Debug)]
pub(super) enum Transport {
    Api(XrayApi),
    Daemon(Daemon),
}

impl Transport {
    /// Opens no connection.
    pub(super) fn new(transport: &XrayTransport) -> Self {
        match transport {
            XrayTransport::Daemon(address) => Self::Daemon(Daemon::new(address.clone())),
            XrayTransport::Auto | XrayTransport::Otlp | XrayTransport::Segments => {
                Self::Api(XrayApi::default())
            }
        }
    }

    /// Most documents of one call of [`send`](Self::send).
    pub(super) fn max_documents(&self) -> usize {
        match self {
            Self::Api(_) => request::MAX_DOCUMENTS,
            Self::Daemon(_) => 1, // so each failure concerns one document
        }
    }

    /// Most calls in flight.
    pub(super) fn max_calls(&self) -> usize {
        match self {
            Self::Api(_) => request::MAX_CALLS,
            Self::Daemon(_) => 1,
        }
    }

    /// Sends each part in a call, and returns the refused documents of each.
    pub(super) async fn send(
        &mut self,
        parts: &[Vec<Segment>],
    ) -> Vec<Result<Vec<SegmentRefusal>, ExportError>> {
        match self {
            Self::Api(api) => api.put_segments(parts).await,
            Self::Daemon(daemon) => {
                let mut results = Vec::new();
                for document in parts.iter().flatten() {
                    results.push(daemon.send(&document.json).await.map(|()| Vec::new()));
                }
                results
            }
        }
    }

    /// 0 with a daemon, which is on this machine.
    pub(super) fn take_sent_bytes(&mut self) -> u64 {
        match self {
            Self::Api(api) => std::mem::take(&mut api.sent_bytes),
            Self::Daemon(_) => 0,
        }
    }

    pub(super) fn reset_connections(&mut self) {
        match self {
            Self::Api(api) => api.reset_connections(),
            Self::Daemon(daemon) => daemon.reset_connections(),
        }
    }
}
