//! The commands of the pipeline's task, and the handle that sends them.

use std::{io, time::Duration};

use tokio::sync::{mpsc, oneshot};

use crate::delivery::batch::Batch;
use crate::flush::policy::FlushKind;
use crate::otlp::payload::Payload;
use crate::pipeline::core::outlook::FlushOutlook;
use crate::pipeline::dead_letter::DeadLetters;
use crate::pipeline::refusals::RefusedRequests;
use crate::pipeline::stats::PipelineStats;

/// The handle of the pipeline, for receivers and lifecycle.
#[derive(Clone, Debug)]
pub struct PipelineHandle(pub(super) mpsc::Sender<PipelineCommand>);

/// The pipeline's task has ended.
#[derive(Debug, thiserror::Error)]
#[error("the pipeline has stopped")]
pub struct Stopped;

#[derive(Debug)]
pub(super) enum PipelineCommand {
    Begin,
    Receive(Payload, oneshot::Sender<()>),
    TakePosts(oneshot::Sender<Option<Batch>>),
    ConcludePosts { payloads: Vec<Payload>, read: u64, done: oneshot::Sender<()> },
    Count(oneshot::Sender<()>),
    Flush { kind: FlushKind, done: oneshot::Sender<()> },
    Held(Duration),
    Refused(RefusedRequests),
    Thawed(Duration),
    Outlook(oneshot::Sender<FlushOutlook>),
    Stats(oneshot::Sender<PipelineStats>),
    DeadLetters(oneshot::Sender<io::Result<DeadLetters>>),
}

impl PipelineHandle {
    /// The first INVOKE has arrived, so this process will not be copied: the spool may be opened, and random
    /// numbers may be drawn.
    pub async fn begin(&self) {
        let _ = self.0.send(PipelineCommand::Begin).await;
    }

    /// Enqueues a payload. Returns after the ledger's file is written, if there is one, so that the next
    /// process reports the payload as lost after a kill.
    pub async fn receive(&self, signal: Payload) -> Result<(), Stopped> {
        let (done, counted) = oneshot::channel();
        self.0.send(PipelineCommand::Receive(signal, done)).await.map_err(|_| Stopped)?;
        counted.await.map_err(|_| Stopped)
    }

    /// The oldest posts that are not read; see [`Core::take_posts`](super::Core::take_posts).
    pub async fn take_posts(&self) -> Option<Batch> {
        let (reply, posts) = oneshot::channel();
        self.0.send(PipelineCommand::TakePosts(reply)).await.ok()?;
        posts.await.ok()?
    }

    /// Enqueues the payloads that were made of the taken posts, and concludes these; see
    /// [`Core::conclude_posts`](super::Core::conclude_posts).
    pub async fn conclude_posts(&self, payloads: Vec<Payload>, read: u64) -> Result<(), Stopped> {
        let (done, counted) = oneshot::channel();
        let command = PipelineCommand::ConcludePosts { payloads, read, done };
        self.0.send(command).await.map_err(|_| Stopped)?;
        counted.await.map_err(|_| Stopped)
    }

    /// Returns after the ledger's file has the number of pending failures; see
    /// [`Pipeline::with_pending_failures`](super::Pipeline::with_pending_failures).
    pub async fn count(&self) {
        let (done, counted) = oneshot::channel();
        if self.0.send(PipelineCommand::Count(done)).await.is_ok() {
            let _ = counted.await;
        }
    }

    /// Flushes. With a hold, returns when each awaited destination has everything or has failed, at the
    /// end of the hold, or at the next flush. Without a hold, returns without waiting for a destination.
    /// Undelivered batches of durable destinations are in the spool then, or soon after if they are
    /// large.
    pub async fn flush(&self, kind: FlushKind) {
        let (done, flushed) = oneshot::channel();
        if self.0.send(PipelineCommand::Flush { kind, done }).await.is_ok() {
            // An error means that the pipeline has stopped, so the wait is over.
            let _ = flushed.await;
        }
    }

    /// Whether the pipeline's task has ended. Only a panic ends it.
    pub fn has_stopped(&self) -> bool {
        self.0.is_closed()
    }

    /// Records a hold of Next.
    pub async fn held(&self, hold: Duration) {
        let _ = self.0.send(PipelineCommand::Held(hold)).await;
    }

    /// Counts requests that a receiver refused, and logs them if a line is due.
    pub async fn refused(&self, refusal: RefusedRequests) {
        let _ = self.0.send(PipelineCommand::Refused(refusal)).await;
    }

    /// Records a freeze. Exporters reconnect after it.
    pub async fn thawed(&self, gap: Duration) {
        let _ = self.0.send(PipelineCommand::Thawed(gap)).await;
    }

    /// What a flush would cost now; nothing can be sent if the pipeline has stopped.
    pub async fn outlook(&self) -> FlushOutlook {
        let (reply, outlook) = oneshot::channel();
        match self.0.send(PipelineCommand::Outlook(reply)).await {
            Ok(()) => outlook.await.unwrap_or_default(),
            Err(_) => FlushOutlook::default(),
        }
    }

    /// The stats so far. The accounts include earlier processes of the sandbox.
    pub async fn summary(&self) -> Result<PipelineStats, Stopped> {
        let (reply, summary) = oneshot::channel();
        self.0.send(PipelineCommand::Stats(reply)).await.map_err(|_| Stopped)?;
        summary.await.map_err(|_| Stopped)
    }

    /// Writes undelivered telemetry of durable destinations to standard error as dead letters. A spool
    /// file gets them at most once in a sandbox.
    pub async fn dead_letters(&self) -> Result<io::Result<DeadLetters>, Stopped> {
        let (reply, letters) = oneshot::channel();
        self.0.send(PipelineCommand::DeadLetters(reply)).await.map_err(|_| Stopped)?;
        letters.await.map_err(|_| Stopped)
    }
}
