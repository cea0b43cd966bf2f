//! The pipeline's task: its channels, its clock and its disk.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until},
};
use tracing::warn;

use crate::delivery::batch::Batch;
use crate::delivery::error::ExportError;
use crate::delivery::{DestinationId, Exporter};
use crate::flush::policy;
use crate::flush::policy::{DEAD_LETTER_BUDGET, FlushKind, MIN_JUDGED_HOLD};
use crate::invocation::registry::Registry;
use crate::otlp::payload::SignalKind;
use crate::pipeline::core::posts;
use crate::pipeline::core::state::{Core, Trigger};
use crate::pipeline::disk::PipelineDisk;
use crate::pipeline::handle::{PipelineCommand, PipelineHandle};
use crate::pipeline::refusals::RefusalLog;
use crate::pipeline::settings::PipelineSettings;
use crate::pipeline::stats;
use crate::pipeline::stats::{DestinationStats, HoldStats, PipelineStats};
use crate::pipeline::stats_lines::StatsReporter;
use crate::pipeline::worker::{CompletedExport, run_worker};
use crate::processor::FailureCounts;

/// Most queued commands. The task empties the queue without waiting, so it is rarely full.
const COMMANDS: usize = 256;

#[derive(Debug)]
pub struct Pipeline {
    commands: mpsc::Receiver<PipelineCommand>,
    exports: mpsc::Receiver<CompletedExport>,
    workers: Vec<mpsc::Sender<Batch>>,
    thaws: watch::Sender<()>,
    core: Core,
    flush: Option<Flush>,
    /// The numbers of failures that are gathered but not in payloads yet, and of lost ones.
    failures: Arc<FailureCounts>,
    /// Senders that wait until the ledger's file is written.
    ledger_waiters: Vec<oneshot::Sender<()>>,
    max_hold: Duration,
    has_core: bool,
    /// Whether the process may be copied: until [`begin`](PipelineHandle::begin), after SnapStart's init.
    is_snapshot: bool,
    disk: PipelineDisk,
    holds: HoldStats,
    refusals: RefusalLog,
    /// The stats of the last log line, and the earliest time of the next.
    logged: PipelineStats,
    log_at: Instant,
    /// `None` if no destination takes lines.
    accounting: Option<StatsReporter>,
}

/// A flush with a waiting caller.
#[derive(Debug)]
struct Flush {
    /// `None` for the last flush, which holds no Next.
    began: Option<Instant>,
    until: Instant,
    done: oneshot::Sender<()>,
}

impl Pipeline {
    /// Makes a pipeline and starts one worker task for each exporter. Call [`run`](Self::run) next.
    pub fn new(
        exporters: Vec<Box<dyn Exporter>>,
        settings: &PipelineSettings,
        trigger: Trigger,
    ) -> (Self, PipelineHandle) {
        let mut specs: Vec<_> = exporters.iter().map(|exporter| exporter.spec()).collect();
        let (export_sender, exports) = mpsc::channel(exporters.len().max(1));
        let thaws = watch::Sender::new(());
        let start = |(id, exporter): (DestinationId, Box<dyn Exporter>)| {
            let (batches, queue) = mpsc::channel(1);
            tokio::spawn(run_worker(id, exporter, queue, thaws.subscribe(), export_sender.clone()));
            batches
        };
        let workers = exporters.into_iter().enumerate().map(start).collect();
        let disk = PipelineDisk::new(&specs, settings);
        let wants_lines = specs.iter().any(|spec| spec.kinds.contains(&SignalKind::Lines));
        let function = || settings.function_name.clone();
        let accounting = wants_lines.then(|| StatsReporter::new(function(), Instant::now()));
        specs.extend(posts::spec(&specs));
        // A snapshot must hold no random number; `begin` draws this one.
        let seed = if settings.is_snapshot { 0 } else { fastrand::u64(..) };
        let core = Core::new(specs, settings.buffer_bytes, trigger, seed);
        let (command_sender, commands) = mpsc::channel(COMMANDS);
        let pipeline = Self {
            commands,
            exports,
            workers,
            thaws,
            core,
            flush: None,
            failures: Arc::default(),
            ledger_waiters: Vec::new(),
            max_hold: settings.max_hold,
            has_core: settings.has_core,
            is_snapshot: settings.is_snapshot,
            disk,
            holds: HoldStats::default(),
            refusals: RefusalLog::default(),
            logged: PipelineStats::default(),
            log_at: Instant::now() + stats::INTERVAL,
            accounting,
        };
        (pipeline, PipelineHandle(command_sender))
    }

    /// Counts pending failures in the ledger, since a kill would lose them.
    pub fn with_pending_failures(self, failures: Arc<FailureCounts>) -> Self {
        Self { failures, ..self }
    }

    /// Samples for the destination of this name, if the registry samples.
    pub fn with_sampling(self, destination: &str, registry: &Registry) -> Self {
        Self { core: self.core.with_sampling(destination, registry), ..self }
    }

    /// Runs until every [`PipelineHandle`] is gone.
    pub async fn run(mut self) {
        loop {
            let flush_until = self.flush.as_ref().map(|flush| flush.until);
            let wake_at = self.core.wake_at();
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.handle(command),
                    None => return,
                },
                Some(CompletedExport { id, result }) = self.exports.recv() => {
                    self.core.complete(Instant::now(), id, result);
                }
                () = at(flush_until) => self.end_flush(),
                () = at(wake_at) => {}
            }
            self.send();
            if self.flush.is_some() && self.core.flush_is_done() {
                self.end_flush();
            }
            self.core.lose_failures(self.failures.lost.swap(0, Ordering::Relaxed));
            self.core.expect_failures(self.failures.waiting.load(Ordering::Relaxed));
            self.disk.write_sums(&mut self.core);
            for done in self.ledger_waiters.drain(..) {
                let _ = done.send(()); // the caller may be gone
            }
            self.log_summary();
        }
    }

    fn handle(&mut self, command: PipelineCommand) {
        if matches!(command, PipelineCommand::Begin | PipelineCommand::Flush { .. }) {
            self.begin();
        }
        if !self.is_snapshot {
            self.disk.open(&mut self.core);
        }
        let now = Instant::now();
        match command {
            PipelineCommand::Begin => {}
            PipelineCommand::Receive(signal, done) => {
                self.core.receive(signal);
                self.ledger_waiters.push(done);
                self.accounting.iter_mut().for_each(StatsReporter::record_news);
                self.emit_stats_lines(false);
            }
            PipelineCommand::TakePosts(reply) => drop(reply.send(self.core.take_posts(now))),
            PipelineCommand::ConcludePosts { payloads, read, done } => {
                self.core.conclude_posts(payloads, read);
                self.ledger_waiters.push(done);
                self.accounting.iter_mut().for_each(StatsReporter::record_news);
            }
            PipelineCommand::Count(done) => self.ledger_waiters.push(done),
            PipelineCommand::Flush { kind, done } => self.begin_flush(now, kind, done),
            PipelineCommand::Held(hold) => {
                self.holds.add(hold);
                self.accounting.iter_mut().for_each(|accounting| accounting.held(hold));
            }
            PipelineCommand::Refused(refusal) => {
                if let Some(line) = self.refusals.count(now, &refusal) {
                    warn!("{line}");
                }
                self.accounting.iter_mut().for_each(StatsReporter::record_news);
            }
            PipelineCommand::Thawed(gap) => {
                self.core.thawed(gap);
                self.thaws.send_replace(());
            }
            PipelineCommand::Outlook(reply) => drop(reply.send(self.core.outlook(now))),
            PipelineCommand::Stats(reply) => drop(reply.send(self.summary(now))),
            PipelineCommand::DeadLetters(reply) => {
                let has_time = || now.elapsed() < DEAD_LETTER_BUDGET;
                let mut log = io::stderr().lock();
                let _ = reply.send(self.core.dead_letters(&mut log, &has_time));
            }
        }
    }

    fn begin(&mut self) {
        if std::mem::take(&mut self.is_snapshot) {
            self.core.reseed(fastrand::u64(..));
            self.log_at = Instant::now() + stats::INTERVAL;
        }
    }

    fn begin_flush(&mut self, now: Instant, kind: FlushKind, done: oneshot::Sender<()>) {
        self.end_flush();
        self.disk.take_over(&mut self.core);
        self.emit_stats_lines(matches!(kind, FlushKind::Drain(_)));
        match kind {
            FlushKind::Defer => {
                self.core.defer();
                self.core.compact_some(Some(now));
                let _ = done.send(());
            }
            FlushKind::Background | FlushKind::Begin => {
                self.core.begin_flush(now, false);
                self.send();
                self.core.end_flush(now, false);
                if kind == FlushKind::Begin {
                    self.core.pause_sending();
                }
                let _ = done.send(());
            }
            FlushKind::Wait(until) | FlushKind::Drain(until) => {
                let is_last = matches!(kind, FlushKind::Drain(_));
                let until = if is_last { policy::drain_until(now, until) } else { until };
                self.core.begin_flush(now, is_last);
                let began = (!is_last).then_some(now);
                self.flush = Some(Flush { began, until, done });
            }
        }
    }

    /// Sends the next batch to each idle worker.
    fn send(&mut self) {
        for id in 0..self.workers.len() {
            while let Some(batch) = self.core.next_batch(Instant::now(), id) {
                if self.workers[id].try_send(batch).is_ok() {
                    break;
                }
                self.core.complete(Instant::now(), id, Err(ExportError::WorkerGone));
            }
        }
    }

    fn end_flush(&mut self) {
        if let Some(flush) = self.flush.take() {
            let now = Instant::now();
            let waited = flush.began.map_or(Duration::MAX, |began| now - began);
            let had_time = waited >= self.max_hold.min(MIN_JUDGED_HOLD);
            self.core.end_flush(now, now >= flush.until && had_time);
            if !self.has_core {
                self.core.pause_sending();
            }
            self.core.compact_some(Some(now));
            let _ = flush.done.send(());
        }
    }
}

impl Pipeline {
    fn summary(&self, now: Instant) -> PipelineStats {
        self.summary_of(self.core.destinations(now))
    }

    fn summary_of(&self, destinations: BTreeMap<&'static str, DestinationStats>) -> PipelineStats {
        PipelineStats { destinations, holds: self.holds, refused: self.refusals.counts().clone() }
    }

    /// Enqueues the stats as lines if a report is due.
    fn emit_stats_lines(&mut self, last: bool) {
        let now = Instant::now();
        if self.accounting.as_ref().is_some_and(|accounting| accounting.is_due(now, last)) {
            let summary = self.summary_of(self.core.own_destinations(now));
            let lines = self.accounting.as_mut().map(|accounting| accounting.report(now, summary));
            lines.into_iter().flatten().for_each(|signal| self.core.receive(signal));
        }
    }

    fn log_summary(&mut self) {
        let now = Instant::now();
        if now >= self.log_at {
            let summary = self.summary(now);
            summary.log_since(&self.logged);
            self.logged = summary;
            self.log_at = now + stats::INTERVAL;
        }
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
