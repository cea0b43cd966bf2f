//! The contract between the pipeline and the exporters: the trait, its specification, the batch and
//! the result of an export.

pub mod error;
pub mod batch;
pub mod healthcheck;

use futures_util::future::BoxFuture;

use crate::delivery::batch::Batch;
use crate::delivery::error::{ExportError, ExportOutcome};
use crate::delivery::healthcheck::Finding;
use crate::otlp::payload::{Payload, SignalKind};

/// The place of a destination in the pipeline's list.
pub type DestinationId = usize;

#[derive(Clone, Debug)]
pub struct DestinationSpec {
    /// Stands in logs, sums and file names: letters only.
    pub name: &'static str,
    pub kinds: Vec<SignalKind>,
    /// Whether undelivered batches are kept in the spool.
    pub durable: bool,
    /// Most items of a batch of several payloads, so that one batch takes one round trip.
    pub max_items: u64,
    /// Whether a batch that is sent twice is there twice.
    pub keeps_duplicates: bool,
}

/// Sends batches to one destination, one at a time. Each exporter runs in its own worker task.
pub trait Exporter: Send {
    fn spec(&self) -> DestinationSpec;

    fn export<'a>(
        &'a mut self,
        batch: &'a Batch,
    ) -> BoxFuture<'a, Result<ExportOutcome, ExportError>>;

    /// The documents that the destination would get for a payload, as text. Sends nothing and changes no
    /// state.
    fn preview(&self, payload: &Payload) -> Result<Vec<String>, ExportError>;

    /// Drops pooled connections: after a freeze the other end may be gone without a close.
    fn reset_connections(&mut self) {}

    /// The URL that batches are sent to; `None` if they are not sent by HTTP.
    fn endpoint(&mut self) -> BoxFuture<'_, Option<String>> {
        Box::pin(std::future::ready(None))
    }

    /// Whether the destination can be sent to, for `doctor`.
    fn healthcheck(&mut self) -> BoxFuture<'_, Vec<Finding>>;
}
