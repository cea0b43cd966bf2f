//! The way to X-Ray: its API, or a daemon beside us.

mod api;
mod daemon;

use trace_context::SpanId;

use crate::{
    delivery::{error::ExportError, healthcheck::Finding},
    exporter::xray::{
        Segment,
        transport::{api::XrayApi, daemon::Daemon},
    },
};

/// One of the two.
#[derive(Debug)]
pub(super) enum Transport {
    Api(XrayApi),
    Daemon(Daemon),
}

/// A document that X-Ray does not take, whatever happens.
#[derive(Debug)]
pub(super) struct SegmentRefusal {
    /// The document's id, where X-Ray could read it.
    pub(super) id: Option<String>,
    /// `InvalidSegment` and the like.
    pub(super) code: String,
    /// For people.
    pub(super) message: String,
}

impl SegmentRefusal {
    pub(super) fn is_of(&self, id: SpanId) -> bool {
        self.id.as_ref().is_some_and(|refused| *refused == id.to_string())
    }
}

impl Transport {
    /// Opens nothing yet. `daemon` is its address.
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
            Self::Daemon(_) => 1, // each is on its own, and so is its failure
        }
    }

    /// Sends some documents, and returns those that are refused for good.
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

    /// Whether documents can be sent, as far as that can be told without sending one.
    pub(super) async fn check(&mut self) -> Finding {
        match self {
            Self::Api(api) => api.check().await,
            Self::Daemon(daemon) => daemon.check().await,
        }
    }

    /// Gives up connections.
    pub(super) fn disconnect(&mut self) {
        match self {
            Self::Api(api) => api.disconnect(),
            Self::Daemon(daemon) => daemon.disconnect(),
        }
    }
}
