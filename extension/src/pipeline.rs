//! The one owner of the buffer, between the receivers and the exporters.
//!
//! ```text
//! receivers ──Receive──▶ ┌──────────┐ ──batch──▶ worker ─▶ honeycomb
//! lifecycle ───Flush───▶ │ pipeline │ ──batch──▶ worker ─▶ console
//!                        └──────────┘ ◀─result── (each)
//! ```
//! It never waits for anything but its inputs, so receiving never waits for a destination, and a
//! destination never for another: each has a worker task with one batch under way at most.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tracing::{debug, info, warn};

use crate::{
    batch::Batch,
    buffer::{Account, Buffer, DestinationId, Outcome},
    exporter::{Export, ExportError, Exporter, work},
    flush::REST,
    signal::Signal,
};

/// Commands that may wait; the pipeline empties this queue without ever waiting. Our choice.
const COMMANDS: usize = 256;

/// When batches are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// On [`Handle::flush`], which the lifecycle calls at the end of each invocation.
    Flush,
    /// Whenever something was received: nobody tells when an invocation ends.
    Receive,
}

/// The pipeline's other end, for receivers and lifecycle.
#[derive(Clone, Debug)]
pub struct Handle(mpsc::Sender<Command>);

/// The pipeline's task has ended.
#[derive(Debug, thiserror::Error)]
#[error("the pipeline has stopped")]
pub struct Stopped;

#[derive(Debug)]
enum Command {
    Receive(Signal),
    Flush { drain: bool, done: oneshot::Sender<()> },
    Accounts(oneshot::Sender<Vec<(&'static str, Account)>>),
}

impl Handle {
    /// Hands over a signal.
    pub async fn receive(&self, signal: Signal) -> Result<(), Stopped> {
        self.0.send(Command::Receive(signal)).await.map_err(|_| Stopped)
    }

    /// Sends what has been received; returns when each destination has it all, or has failed.
    ///
    /// Dropping the future means that nobody waits any longer: what is under way goes on, and a
    /// destination that has not answered yet rests. A `drain` tries resting destinations too.
    pub async fn flush(&self, drain: bool) {
        let (done, flushed) = oneshot::channel();
        if self.0.send(Command::Flush { drain, done }).await.is_ok() {
            // An error means that the pipeline has stopped: there is nothing to wait for.
            let _ = flushed.await;
        }
    }

    /// The sums of every destination, by its name.
    pub async fn accounts(&self) -> Vec<(&'static str, Account)> {
        let (reply, accounts) = oneshot::channel();
        let _ = self.0.send(Command::Accounts(reply)).await;
        accounts.await.unwrap_or_default()
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Pipeline {
    commands: mpsc::Receiver<Command>,
    exports: mpsc::Receiver<Export>,
    buffer: Buffer,
    destinations: Vec<Destination>,
    trigger: Trigger,
    flush: Option<Flush>,
}

#[derive(Debug)]
struct Destination {
    name: &'static str,
    batches: mpsc::Sender<Batch>,
    /// Set while the destination fails; nothing is sent before then.
    rest_until: Option<Instant>,
    /// What the log last said about it, so that an outage is one line.
    failing: Option<ExportError>,
}

/// A flush that somebody waits for.
#[derive(Debug)]
struct Flush {
    /// Entries before this sequence number are waited for.
    end: u64,
    /// Destinations still waited for.
    waiting: BTreeMap<DestinationId, Attempt>,
    done: oneshot::Sender<()>,
}

/// Which batch a flush waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    /// One from before the flush. If it fails (a freeze may have cut it), another follows.
    Inherited,
    /// One of the flush's own. If it fails, that is all for this flush.
    Own,
}

impl Pipeline {
    /// A pipeline with one worker task per exporter, to be [`run`](Self::run).
    pub fn new(exporters: Vec<Exporter>, buffer_bytes: usize, trigger: Trigger) -> (Self, Handle) {
        let destinations = exporters.len();
        let (export_sender, exports) = mpsc::channel(destinations.max(1));
        let start = |(id, exporter): (DestinationId, Exporter)| {
            let name = exporter.name();
            let (batches, queue) = mpsc::channel(1);
            tokio::spawn(work(id, exporter, queue, export_sender.clone()));
            (name, batches)
        };
        let workers = exporters.into_iter().enumerate().map(start).collect();
        Self::between(workers, exports, Buffer::new(buffer_bytes, destinations), trigger)
    }

    /// A pipeline before these workers, each known by its name and the queue that it takes from.
    fn between(
        workers: Vec<(&'static str, mpsc::Sender<Batch>)>,
        exports: mpsc::Receiver<Export>,
        buffer: Buffer,
        trigger: Trigger,
    ) -> (Self, Handle) {
        let (command_sender, commands) = mpsc::channel(COMMANDS);
        let destination =
            |(name, batches)| Destination { name, batches, rest_until: None, failing: None };
        let destinations = workers.into_iter().map(destination).collect();
        let pipeline = Self { commands, exports, buffer, destinations, trigger, flush: None };
        (pipeline, Handle(command_sender))
    }

    /// Runs until every [`Handle`] is gone.
    pub async fn run(mut self) {
        loop {
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(Command::Receive(signal)) => self.receive(signal),
                    Some(Command::Flush { drain, done }) => self.begin_flush(drain, done),
                    Some(Command::Accounts(reply)) => drop(reply.send(self.accounts())),
                    None => return,
                },
                Some(export) = self.exports.recv() => self.settle(export),
                () = abandoned(&mut self.flush) => self.end_flush_unanswered(),
            }
        }
    }

    fn receive(&mut self, signal: Signal) {
        self.buffer.push(signal);
        if self.trigger == Trigger::Receive {
            (0..self.destinations.len()).for_each(|id| self.send(id));
        }
    }

    fn begin_flush(&mut self, drain: bool, done: oneshot::Sender<()>) {
        self.end_flush_unanswered();
        let mut waiting = BTreeMap::new();
        for id in 0..self.destinations.len() {
            if drain {
                self.destinations[id].rest_until = None;
            }
            if self.destinations[id].is_resting() {
                continue;
            }
            let inherited = self.buffer.is_sending(id);
            waiting.insert(id, if inherited { Attempt::Inherited } else { Attempt::Own });
        }
        let ids: Vec<_> = waiting.keys().copied().collect();
        self.flush = Some(Flush { end: self.buffer.end(), waiting, done });
        ids.into_iter().for_each(|id| self.advance(id));
        self.end_flush_if_done();
    }

    /// Sends a destination's next batch, or stops waiting for it if it has what the flush wants.
    fn advance(&mut self, id: DestinationId) {
        let Some(flush) = &mut self.flush else { return };
        if self.buffer.has_settled(id, flush.end) {
            flush.waiting.remove(&id);
        } else {
            self.send(id);
        }
    }

    /// Sends the next batch, unless one is under way, nothing is left, or the destination rests.
    fn send(&mut self, id: DestinationId) {
        if self.destinations[id].is_resting() {
            return;
        }
        let Some(batch) = self.buffer.take(id) else {
            return;
        };
        if self.destinations[id].batches.try_send(batch).is_err() {
            self.settle(Export { id, result: Err(ExportError::WorkerGone) });
        }
    }

    fn settle(&mut self, Export { id, result }: Export) {
        let destination = &mut self.destinations[id];
        let outcome = match result {
            Ok(()) => {
                destination.note_success();
                Outcome::Delivered
            }
            Err(error) if error.is_final() => {
                destination.note_failure(error, None);
                Outcome::Rejected
            }
            Err(error) => {
                destination.note_failure(error, Some(REST));
                Outcome::Failed
            }
        };
        self.buffer.settle(id, outcome);
        self.go_on(id, outcome);
    }

    /// What follows a settled batch: the flush's next one, or whatever was received meanwhile.
    fn go_on(&mut self, id: DestinationId, outcome: Outcome) {
        let attempt = self.flush.as_mut().and_then(|flush| flush.waiting.get_mut(&id));
        match (attempt, outcome) {
            (Some(attempt), Outcome::Failed) if *attempt == Attempt::Inherited => {
                *attempt = Attempt::Own;
                self.destinations[id].rest_until = None;
                self.advance(id);
            }
            (Some(_), Outcome::Failed) => {
                if let Some(flush) = &mut self.flush {
                    flush.waiting.remove(&id);
                }
            }
            (Some(attempt), _) => {
                *attempt = Attempt::Own;
                self.advance(id);
            }
            (None, _) if self.trigger == Trigger::Receive => self.send(id),
            (None, _) => {}
        }
        self.end_flush_if_done();
    }

    fn end_flush_if_done(&mut self) {
        if let Some(flush) = self.flush.take_if(|flush| flush.waiting.is_empty()) {
            // Nobody may be waiting any more, which is fine.
            let _ = flush.done.send(());
        }
    }

    /// The hold is over, or another flush begins: whoever has not answered rests.
    fn end_flush_unanswered(&mut self) {
        let waiting = self.flush.take().map(|flush| flush.waiting).unwrap_or_default();
        for id in waiting.into_keys() {
            self.destinations[id].note_failure(ExportError::HoldOver, Some(REST));
        }
    }

    fn accounts(&self) -> Vec<(&'static str, Account)> {
        let account =
            |(id, destination): (usize, &Destination)| (destination.name, self.buffer.account(id));
        self.destinations.iter().enumerate().map(account).collect()
    }
}

/// Resolves when the caller of the present flush has gone away.
async fn abandoned(flush: &mut Option<Flush>) {
    match flush {
        Some(flush) => flush.done.closed().await,
        None => std::future::pending().await,
    }
}

impl Destination {
    fn is_resting(&self) -> bool {
        self.rest_until.is_some_and(|until| Instant::now() < until)
    }

    fn note_success(&mut self) {
        self.rest_until = None;
        if self.failing.take().is_some() {
            info!(destination = self.name, "{} takes telemetry again", self.name);
        }
    }

    /// Logs a failure once: again only if it comes to be of another kind.
    fn note_failure(&mut self, error: ExportError, rest: Option<Duration>) {
        self.rest_until = rest.map(|rest| Instant::now() + rest);
        if self.failing.as_ref().is_some_and(|failing| failing.is_like(&error)) {
            debug!("{} still fails: {error}", self.name);
            return;
        }
        let fate = if error.is_final() { "the batch is dropped" } else { "telemetry is held" };
        warn!("{} does not take telemetry, {fate}: {error}", self.name);
        self.failing = Some(error);
    }
}
