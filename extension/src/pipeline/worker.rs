//! The task that runs one exporter.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use crate::client::freeze::{Moment, awake, timeout_briefly};
use crate::delivery::batch::Batch;
use crate::delivery::error::{ExportError, ExportOutcome};
use crate::delivery::{DestinationId, Exporter};

/// How the export of a destination's batch ended.
#[derive(Debug)]
pub(super) struct CompletedExport {
    pub(super) id: DestinationId,
    pub(super) result: Result<ExportOutcome, ExportError>,
    pub(super) sent_bytes: u64,
}

/// An idle connection is dropped after this time by either clock. Load balancers drop silently after a
/// minute or more, and a thaw after a shorter time finds the connection usable.
const MAX_IDLE: Duration = Duration::from_secs(60);

/// The least time for the first answer after a thaw. Then the connection counts as gone, and the batch is
/// sent again.
const FIRST_ANSWER: Duration = Duration::from_millis(300);

/// Exports batches one after the other until the pipeline is gone.
pub(super) async fn run_worker(
    id: DestinationId,
    mut exporter: Box<dyn Exporter>,
    mut batches: mpsc::Receiver<Batch>,
    mut thaws: watch::Receiver<()>,
    exports: mpsc::Sender<CompletedExport>,
) {
    let mut used = Moment::now();
    let mut shortest_answer: Option<Duration> = None; // the one that no freeze has lengthened
    let mut is_connected = false;
    while let Some(batch) = batches.recv().await {
        let is_old = used.elapsed() >= MAX_IDLE;
        if is_old {
            exporter.reset_connections();
            is_connected = false;
        }
        let may_be_gone = thaws.has_changed().unwrap_or(false) && is_connected;
        thaws.mark_unchanged();
        let began = Instant::now();
        let limit = may_be_gone.then(|| FIRST_ANSWER.max(3 * shortest_answer.unwrap_or_default()));
        let export = within(limit, exporter.export(&batch));
        let result = catch_panic(awake(export)).await;
        is_connected = result.as_ref().map_or_else(ExportError::is_definitive, |_| true);
        match &result {
            Ok(_) => {
                let answer = began.elapsed();
                shortest_answer = Some(shortest_answer.map_or(answer, |it| it.min(answer)));
            }
            Err(ExportError::Frozen) => exporter.reset_connections(),
            Err(_) => {}
        }
        used = Moment::now();
        let sent_bytes = exporter.take_sent_bytes();
        if exports.send(CompletedExport { id, result, sent_bytes }).await.is_err() {
            return;
        }
    }
}

async fn within<T>(
    limit: Option<Duration>,
    export: impl Future<Output = Result<T, ExportError>>,
) -> Result<T, ExportError> {
    match limit {
        Some(limit) => timeout_briefly(limit, export).await.unwrap_or(Err(ExportError::Frozen)),
        None => export.await,
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
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use futures_util::future::BoxFuture;

    use super::*;
    use crate::delivery::DestinationSpec;
    use crate::delivery::healthcheck::Finding;
    use crate::otlp::payload::{Payload, SignalKind};

    /// Answers after `answer_time`; never over a connection that is gone.
    struct Remote {
        answer_time: Duration,
        connection_is_gone: Arc<AtomicU32>,
        resets: Arc<AtomicU32>,
    }

    impl Exporter for Remote {
        fn spec(&self) -> DestinationSpec {
            unreachable!("the pipeline asks for it")
        }

        fn export<'a>(
            &'a mut self,
            _: &'a Batch,
        ) -> BoxFuture<'a, Result<ExportOutcome, ExportError>> {
            Box::pin(async {
                if self.connection_is_gone.load(Ordering::Relaxed) == 1 {
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep(self.answer_time).await;
                Ok(ExportOutcome::default())
            })
        }

        fn preview(&self, _: &Payload) -> Result<Vec<String>, ExportError> {
            unreachable!("nobody asks for one")
        }

        fn reset_connections(&mut self) {
            self.connection_is_gone.store(0, Ordering::Relaxed);
            self.resets.fetch_add(1, Ordering::Relaxed);
        }

        fn healthcheck(&mut self) -> BoxFuture<'_, Vec<Finding>> {
            unreachable!("nobody asks for one")
        }
    }

    struct Rig {
        batches: mpsc::Sender<Batch>,
        results: mpsc::Receiver<CompletedExport>,
        thaws: watch::Sender<()>,
        connection_is_gone: Arc<AtomicU32>,
        resets: Arc<AtomicU32>,
    }

    impl Rig {
        fn start(answer_time: Duration) -> Self {
            let (batches, queue) = mpsc::channel(1);
            let (exports, results) = mpsc::channel(1);
            let thaws = watch::Sender::new(());
            let (connection_is_gone, resets) = (Arc::default(), Arc::default());
            let remote = Remote {
                answer_time,
                connection_is_gone: Arc::clone(&connection_is_gone),
                resets: Arc::clone(&resets),
            };
            tokio::spawn(run_worker(0, Box::new(remote), queue, thaws.subscribe(), exports));
            Self { batches, results, thaws, connection_is_gone, resets }
        }

        /// The result, the time that it took, and the number of resets so far.
        async fn export(&mut self) -> (Result<ExportOutcome, ExportError>, Duration, u32) {
            let span = [0x0a, 4, 0x12, 2, 0x12, 0];
            let (signal, _) = Payload::read(SignalKind::Traces, span.to_vec().into()).unwrap();
            let batch = Batch::of(SignalKind::Traces, [&signal].into_iter()).unwrap();
            let began = Instant::now();
            self.batches.send(batch).await.unwrap();
            let result = self.results.recv().await.unwrap().result;
            (result, began.elapsed(), self.resets.load(Ordering::Relaxed))
        }
    }

    const MS: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_gone_after_a_thaw_costs_300_milliseconds() {
        let mut rig = Rig::start(50 * MS);
        assert!(rig.export().await.0.is_ok());
        rig.thaws.send_replace(());
        assert_eq!(rig.export().await.1, 50 * MS, "the connection is still there");
        rig.thaws.send_replace(());
        rig.connection_is_gone.store(1, Ordering::Relaxed);

        let (result, took, resets) = rig.export().await;

        assert!(matches!(result, Err(ExportError::Frozen)), "{result:?}");
        assert_eq!((took, resets), (FIRST_ANSWER, 1));
        assert!(rig.export().await.0.is_ok(), "over a new connection");
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_connection_after_a_thaw_has_its_time() {
        let mut rig = Rig::start(400 * MS);
        rig.thaws.send_replace(());

        let (result, _, resets) = rig.export().await;

        assert!(result.is_ok(), "{result:?}");
        assert_eq!(resets, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_destination_has_time_to_answer_after_a_thaw() {
        let mut rig = Rig::start(5_000 * MS);
        assert!(rig.export().await.0.is_ok());
        rig.thaws.send_replace(());

        let (result, _, resets) = rig.export().await;

        assert!(result.is_ok());
        assert_eq!(resets, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_dropped_by_age() {
        let mut rig = Rig::start(50 * MS);
        assert_eq!(rig.export().await.2, 0);
        tokio::time::sleep(MAX_IDLE - MS).await;
        assert_eq!(rig.export().await.2, 0);
        tokio::time::sleep(MAX_IDLE).await;
        assert_eq!(rig.export().await.2, 1);
    }

    #[tokio::test]
    async fn a_panic_counts_as_a_server_error() {
        let result = catch_panic(async { panic!("a bug") as Result<(), ExportError> }).await;

        let error = result.unwrap_err();
        assert!(matches!(error, ExportError::Panicked));
        assert!(error.is_server_error() && error.is_definitive() && !error.is_final());
    }
}
