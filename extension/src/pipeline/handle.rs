//! The pipeline's other end: what it is told, and asked.

use std::{io, time::Duration};

use tokio::sync::{mpsc, oneshot};

use crate::{
    flush::policy::FlushKind,
    otlp::payload::Payload,
    pipeline::{dead_letter::DeadLetters, refusals::RefusedRequests, stats::PipelineStats},
};

/// The pipeline's other end, for receivers and lifecycle.
#[derive(Clone, Debug)]
pub struct PipelineHandle(pub(super) mpsc::Sender<PipelineCommand>);

/// The pipeline's task has ended.
#[derive(Debug, thiserror::Error)]
#[error("the pipeline has stopped")]
pub struct Stopped;

#[derive(Debug)]
pub(super) enum PipelineCommand {
    Receive(Payload, oneshot::Sender<()>),
    Count(oneshot::Sender<()>),
    Flush { kind: FlushKind, done: oneshot::Sender<()> },
    Held(Duration),
    Refused(RefusedRequests),
    Thawed(Duration),
    Stats(oneshot::Sender<PipelineStats>),
    DeadLetters(oneshot::Sender<io::Result<DeadLetters>>),
}

impl PipelineHandle {
    /// Hands over a signal; returns when it is in the sums, so that a kill from then on is noticed.
    pub async fn receive(&self, signal: Payload) -> Result<(), Stopped> {
        let (done, counted) = oneshot::channel();
        self.0.send(PipelineCommand::Receive(signal, done)).await.map_err(|_| Stopped)?;
        counted.await.map_err(|_| Stopped)
    }

    /// Returns when what is yet to be made is in the sums; see [`Pipeline::with_pending_failures`](super::Pipeline::with_pending_failures).
    pub async fn count(&self) {
        let (done, counted) = oneshot::channel();
        if self.0.send(PipelineCommand::Count(done)).await.is_ok() {
            let _ = counted.await;
        }
    }

    /// Sends what has been received; returns when each destination has it all, has failed, or the
    /// patience is over. What was not delivered is in the spool then, or soon after if it is much.
    pub async fn flush(&self, kind: FlushKind) {
        let (done, flushed) = oneshot::channel();
        if self.0.send(PipelineCommand::Flush { kind, done }).await.is_ok() {
            // An error means that the pipeline has stopped: there is nothing to wait for.
            let _ = flushed.await;
        }
    }

    /// Whether the pipeline's task has ended, which only a panic does.
    pub fn has_stopped(&self) -> bool {
        self.0.is_closed()
    }

    /// Says for how long Next was kept back after an invocation's end.
    pub async fn held(&self, hold: Duration) {
        let _ = self.0.send(PipelineCommand::Held(hold)).await;
    }

    /// Counts requests that a receiver refused, and logs them if a line is due.
    pub async fn refused(&self, refusal: RefusedRequests) {
        let _ = self.0.send(PipelineCommand::Refused(refusal)).await;
    }

    /// Says that the process was frozen for so long: connections are made anew.
    pub async fn thawed(&self, gap: Duration) {
        let _ = self.0.send(PipelineCommand::Thawed(gap)).await;
    }

    /// What became of everything so far.
    pub async fn summary(&self) -> Result<PipelineStats, Stopped> {
        let (reply, summary) = oneshot::channel();
        self.0.send(PipelineCommand::Stats(reply)).await.map_err(|_| Stopped)?;
        summary.await.map_err(|_| Stopped)
    }

    /// Writes what was not delivered to standard error, as lines of log; the same is never written
    /// twice in a sandbox.
    pub async fn dead_letters(&self) -> Result<io::Result<DeadLetters>, Stopped> {
        let (reply, words) = oneshot::channel();
        self.0.send(PipelineCommand::DeadLetters(reply)).await.map_err(|_| Stopped)?;
        words.await.map_err(|_| Stopped)
    }
}
