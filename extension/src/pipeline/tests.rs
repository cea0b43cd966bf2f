//! The pipeline's decisions on a virtual clock; the test is the workers.

use super::*;

/// A destination whose every move the test makes.
struct Worker {
    id: DestinationId,
    batches: mpsc::Receiver<Batch>,
    exports: mpsc::Sender<Export>,
}

impl Worker {
    /// The spans of the batch that was handed over, or `None` if there is none.
    async fn batch(&mut self) -> Option<u64> {
        settled().await;
        self.batches.try_recv().ok().map(|batch| batch.spans)
    }

    async fn answer(&self, result: Result<(), ExportError>) {
        let export = Export { id: self.id, result };
        self.exports.send(export).await.unwrap();
        settled().await;
    }
}

/// Lets the pipeline do all that it can do now.
async fn settled() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

fn start<const N: usize>(trigger: Trigger) -> (Handle, [Worker; N]) {
    let (export_sender, exports) = mpsc::channel(N);
    let mut queues = Vec::new();
    let workers = std::array::from_fn(|id| {
        let (sender, batches) = mpsc::channel(1);
        queues.push(("fake", sender));
        Worker { id, batches, exports: export_sender.clone() }
    });
    let (pipeline, handle) = Pipeline::between(queues, exports, Buffer::new(1000, N), trigger);
    tokio::spawn(pipeline.run());
    (handle, workers)
}

async fn receive(handle: &Handle, spans: u64) {
    handle.receive(Signal { bytes: vec![0].into(), spans }).await.unwrap();
}

fn refused() -> Result<(), ExportError> {
    Err(ExportError::Unreachable("refused".into()))
}

#[tokio::test(start_paused = true)]
async fn a_flush_ends_when_every_destination_has_everything() {
    let (handle, [mut first, mut second]) = start(Trigger::Flush);
    receive(&handle, 1).await;
    let flush = tokio::spawn({
        let handle = handle.clone();
        async move { handle.flush(false).await }
    });

    assert_eq!((first.batch().await, second.batch().await), (Some(1), Some(1)));
    first.answer(Ok(())).await;
    assert!(!flush.is_finished());
    second.answer(Ok(())).await;

    assert!(flush.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_fails_rests_and_holds_nobody_until_then() {
    let (handle, [mut worker]) = start(Trigger::Flush);
    receive(&handle, 1).await;
    tokio::join!(handle.flush(false), async {
        worker.batch().await;
        worker.answer(refused()).await;
    });

    receive(&handle, 2).await;
    handle.flush(false).await;
    assert_eq!(worker.batch().await, None);

    tokio::time::advance(REST).await;
    tokio::join!(handle.flush(false), async {
        assert_eq!(worker.batch().await, Some(3));
        worker.answer(Ok(())).await;
    });
    let account = handle.accounts().await[0].1;
    assert_eq!((account.delivered, account.held), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_does_not_answer_within_the_hold_rests_too() {
    let (handle, [mut silent]) = start(Trigger::Flush);
    receive(&handle, 1).await;

    let hold = tokio::time::timeout(Duration::from_millis(50), handle.flush(false)).await;

    assert!(hold.is_err());
    assert_eq!(silent.batch().await, Some(1));
    handle.flush(false).await; // returns at once
}

#[tokio::test(start_paused = true)]
async fn a_batch_from_before_the_flush_that_fails_is_sent_again() {
    let (handle, [mut worker]) = start(Trigger::Receive);
    receive(&handle, 1).await;
    assert_eq!(worker.batch().await, Some(1));

    tokio::join!(handle.flush(false), async {
        settled().await;
        worker.answer(refused()).await;
        assert_eq!(worker.batch().await, Some(1));
        worker.answer(Ok(())).await;
    });

    assert_eq!(handle.accounts().await[0].1.delivered, 1);
}

#[tokio::test(start_paused = true)]
async fn a_drain_tries_a_resting_destination_once() {
    let (handle, [mut worker]) = start(Trigger::Flush);
    receive(&handle, 1).await;
    for drain in [false, true] {
        tokio::join!(handle.flush(drain), async {
            assert_eq!(worker.batch().await, Some(1));
            worker.answer(refused()).await;
        });
    }

    assert_eq!(worker.batch().await, None);
    assert_eq!(handle.accounts().await[0].1.held, 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_batch_is_dropped_and_counted_and_the_next_one_follows() {
    let (handle, [mut worker]) = start(Trigger::Receive);
    receive(&handle, 1).await;
    assert_eq!(worker.batch().await, Some(1));
    receive(&handle, 2).await;

    let status = http::StatusCode::BAD_REQUEST;
    worker.answer(Err(ExportError::Status { status, message: String::new() })).await;

    assert_eq!(worker.batch().await, Some(2));
    let account = handle.accounts().await[0].1;
    assert_eq!((account.received, account.rejected, account.held), (3, 1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_gone_hurts_nobody() {
    let (handle, [worker]) = start(Trigger::Flush);
    drop(worker);
    receive(&handle, 1).await;

    handle.flush(false).await;

    assert_eq!(handle.accounts().await[0].1.held, 1);
}
