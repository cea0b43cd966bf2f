//! The task that runs one exporter.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use tokio::sync::{mpsc, watch};

use crate::client::freeze::awake;
use crate::delivery::batch::Batch;
use crate::delivery::error::{ExportError, ExportOutcome};
use crate::delivery::{DestinationId, Exporter};

/// How the export of a destination's batch ended.
#[derive(Debug)]
pub(super) struct CompletedExport {
    pub(super) id: DestinationId,
    pub(super) result: Result<ExportOutcome, ExportError>,
}

/// Exports batches one after the other until the pipeline is gone.
pub(super) async fn run_worker(
    id: DestinationId,
    mut exporter: Box<dyn Exporter>,
    mut batches: mpsc::Receiver<Batch>,
    mut thaws: watch::Receiver<()>,
    exports: mpsc::Sender<CompletedExport>,
) {
    while let Some(batch) = batches.recv().await {
        let export = async {
            if thaws.has_changed().unwrap_or(false) {
                thaws.mark_unchanged();
                exporter.reset_connections();
            }
            exporter.export(&batch).await
        };
        let result = catch_panic(awake(export)).await;
        if let Err(ExportError::Frozen) = result {
            exporter.reset_connections();
        }
        if exports.send(CompletedExport { id, result }).await.is_err() {
            return;
        }
    }
}

/// Turns a panic into an error, so that the next batch is still exported.
async fn catch_panic<T>(
    export: impl Future<Output = Result<T, ExportError>>,
) -> Result<T, ExportError> {
    AssertUnwindSafe(export).catch_unwind().await.unwrap_or(Err(ExportError::Panicked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_costs_one_batch_in_the_end() {
        let result = catch_panic(async { panic!("a bug") as Result<(), ExportError> }).await;

        let error = result.unwrap_err();
        assert!(matches!(error, ExportError::Panicked));
        assert!(error.is_final() && error.is_definitive(), "else it would be sent for ever");
    }
}
