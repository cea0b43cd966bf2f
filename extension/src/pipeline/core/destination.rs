//! One destination as the core sees it: what is under way, whether it may be sent to, and what the
//! log has said about it.

use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::{
    delivery::{DestinationSpec, batch::Batch, error::ExportError},
    otlp::payload::SignalKind,
    pipeline::{circuit_breaker::CircuitBreaker, ledger::QueueId, stats::RequestStats},
};

#[derive(Debug)]
pub(super) struct Destination {
    pub(super) spec: DestinationSpec,
    /// The first of its routes; the others follow in the order of its kinds.
    pub(super) first_route: QueueId,
    pub(super) health: CircuitBreaker,
    pub(super) under_way: Option<InFlight>,
    /// A flush has begun, and it has not got everything since.
    pub(super) sending: bool,
    /// The present flush waits for it.
    pub(super) awaited: Option<Attempt>,
    /// A batch was refused, and its signals are sent one by one.
    pub(super) split: Option<Split>,
    /// Whether anything was taken in the present flush.
    pub(super) had_success: bool,
    /// Files of the spool that this flush failed to read; the next flush reads them again.
    pub(super) unreadable: Vec<u64>,
    /// The file that the log named as unreadable.
    pub(super) reported_unreadable: Option<u64>,
    /// What became of its requests.
    pub(super) requests: RequestStats,
    /// What the log last said about it, so that an outage is one line.
    pub(super) reported: Option<ExportError>,
}

/// A batch that was handed to an exporter.
#[derive(Clone, Debug)]
pub(super) struct InFlight {
    pub(super) route: QueueId,
    pub(super) batch: Batch,
    pub(super) origin: BatchOrigin,
    /// The process was frozen meanwhile: a failure says nothing about the destination.
    pub(super) thawed: bool,
}

/// What has become of the parts of a refused batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Split {
    /// How many are not sent yet.
    pub(super) left: usize,
    /// Whether any was taken.
    pub(super) took_some: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BatchOrigin {
    /// Still in the buffer.
    Buffer,
    /// In these files of the spool.
    Spool(Vec<u64>),
}

/// Which batch a flush waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// One from before the flush. If it fails, another follows.
    Previous,
    /// One of the flush's own. If it fails, that is all for this flush.
    Current,
}

impl Destination {
    pub(super) fn new(spec: DestinationSpec, first_route: QueueId, seed: u64) -> Self {
        Self {
            spec,
            first_route,
            health: CircuitBreaker::new(seed),
            under_way: None,
            sending: false,
            awaited: None,
            split: None,
            had_success: false,
            unreadable: Vec::new(),
            reported_unreadable: None,
            requests: RequestStats::default(),
            reported: None,
        }
    }

    pub(super) fn routes(&self) -> std::ops::Range<QueueId> {
        self.first_route..self.first_route + self.spec.kinds.len()
    }

    pub(super) fn route_of(&self, kind: SignalKind) -> Option<QueueId> {
        let index = self.spec.kinds.iter().position(|mine| *mine == kind)?;
        Some(self.first_route + index)
    }

    pub(super) fn busy_files(&self) -> &[u64] {
        match self.under_way.as_ref().map(|under_way| &under_way.origin) {
            Some(BatchOrigin::Spool(sequences)) => sequences,
            Some(BatchOrigin::Buffer) | None => &[],
        }
    }

    /// Counts a request that ended.
    pub(super) fn count<T>(&mut self, items: u64, result: &Result<T, ExportError>) {
        self.requests.requests += 1;
        if let Err(error) = result {
            self.requests.failed_requests += 1;
            if !error.is_definitive() {
                self.requests.repeated_items += items;
            }
        }
    }

    pub(super) fn succeeded(&mut self) {
        self.health.succeeded();
        self.had_success = true;
        self.split = self.split.map(|split| Split { took_some: true, ..split });
        if self.reported.take().is_some() {
            info!("{} takes telemetry again", self.spec.name);
        }
    }

    pub(super) fn refused(&mut self, now: Instant, error: ExportError, batch: &Batch) {
        let (items, unit) = (batch.items, batch.kind.items());
        match self.split {
            // It is not this or that which it refuses.
            Some(Split { left: 0, took_some: false }) => self.health.failed(now, None),
            _ => self.health.succeeded(), // it answers
        }
        self.report(error, &format!("{items} {unit} are dropped"));
    }

    pub(super) fn failed(&mut self, now: Instant, error: ExportError) {
        self.health.failed(now, error.retry_after());
        self.report(error, "it is tried again");
    }

    pub(super) fn retry_or_open(&mut self, now: Instant, under_way: &InFlight, error: ExportError) {
        match self.awaited {
            Some(Attempt::Previous) => debug!("A batch of before is sent again: {error}"),
            _ if under_way.thawed || matches!(error, ExportError::Frozen) => {
                debug!("A freeze cut a batch, which is sent again: {error}")
            }
            _ => {
                self.awaited = None;
                self.failed(now, error);
            }
        }
    }

    /// Logs a failure once: again only if it comes to be of another kind.
    fn report(&mut self, error: ExportError, fate: &str) {
        let name = self.spec.name;
        if self.reported.as_ref().is_some_and(|reported| reported.is_same_kind(&error)) {
            debug!("{name} still fails, {fate}: {error}");
        } else {
            warn!("{name} does not take telemetry, {fate}: {error}");
            self.reported = Some(error);
        }
    }
}
