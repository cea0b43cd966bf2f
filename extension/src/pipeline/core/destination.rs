//! One destination's state in the core: its batch in flight, its breaker, and its last log line.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::delivery::DestinationSpec;
use crate::delivery::batch::Batch;
use crate::delivery::error::ExportError;
use crate::otlp::payload::SignalKind;
use crate::pipeline::circuit_breaker::CircuitBreaker;
use crate::pipeline::ledger::QueueId;
use crate::pipeline::stats::RequestStats;

#[derive(Debug)]
pub(super) struct Destination {
    pub(super) spec: DestinationSpec,
    /// The first of its queues; the others follow in the order of its kinds.
    pub(super) first_route: QueueId,
    pub(super) health: CircuitBreaker,
    pub(super) under_way: Option<InFlight>,
    /// Whether a flush has begun and the destination does not have everything yet.
    pub(super) sending: bool,
    /// The batch that the present flush waits for.
    pub(super) awaited: Option<BatchAttempt>,
    /// A rejected batch that is sent in parts.
    pub(super) split: Option<Split>,
    /// Whether the destination accepted a batch in the present flush.
    pub(super) had_success: bool,
    /// Files of the spool that this flush failed to read; the next flush reads them again.
    pub(super) unreadable: Vec<u64>,
    /// The unreadable file that was logged.
    pub(super) reported_unreadable: Option<u64>,
    pub(super) requests: RequestStats,
    /// The usual time from a request to its answer: a moving average. `None` before the first answer.
    pub(super) answer_time: Option<Duration>,
    /// The error of the last log line, so that an outage is one line.
    pub(super) reported: Option<ExportError>,
}

#[derive(Clone, Debug)]
pub(super) struct InFlight {
    pub(super) route: QueueId,
    pub(super) batch: Batch,
    pub(super) origin: BatchOrigin,
    pub(super) sent_at: Instant,
    /// Whether the process was frozen meanwhile; only a final failure counts then.
    pub(super) thawed: bool,
    /// Whether the destination has failed already because it did not answer within the hold.
    pub(super) has_failed: bool,
}

impl InFlight {
    pub(super) fn new(route: QueueId, batch: Batch, origin: BatchOrigin, now: Instant) -> Self {
        Self { route, batch, origin, sent_at: now, thawed: false, has_failed: false }
    }
}

/// The parts of a rejected batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Split {
    /// Number of parts that are not sent yet.
    pub(super) left: usize,
    /// Whether the destination accepted one.
    pub(super) took_some: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BatchOrigin {
    Buffer,
    /// Sequence numbers of spool files.
    Spool(Vec<u64>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BatchAttempt {
    /// A batch from before the flush. If it fails, another attempt follows.
    Previous,
    /// A batch of this flush. If it fails, the flush does not retry, unless a freeze caused the failure.
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
            answer_time: None,
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

    /// Counts an export that ended, as one request.
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

    /// Adds an answer to the moving average if a flush waited for it: a freeze may lengthen others.
    pub(super) fn answered(&mut self, now: Instant, under_way: &InFlight) {
        if self.awaited == Some(BatchAttempt::Current) && !under_way.thawed {
            let latest = now - under_way.sent_at;
            let average = |before: Duration| (before * 3 + latest) / 4;
            self.answer_time = Some(self.answer_time.map_or(latest, average));
        }
    }

    pub(super) fn refused(&mut self, now: Instant, error: ExportError, batch: &Batch) {
        let (items, unit) = (batch.items, batch.kind.items());
        match self.split {
            // The destination rejects every part.
            Some(Split { left: 0, took_some: false }) => self.health.failed(now, None),
            _ => self.health.succeeded(), // it answers, or the batch itself is bad
        }
        self.report(error, &format!("{items} {unit} are dropped"));
    }

    pub(super) fn failed(&mut self, now: Instant, error: ExportError) {
        self.health.failed(now, error.retry_after());
        self.report(error, "it is tried again");
    }

    pub(super) fn retry_or_open(&mut self, now: Instant, under_way: &InFlight, error: ExportError) {
        match self.awaited {
            Some(BatchAttempt::Previous) => debug!("A batch of before is sent again: {error}"),
            _ if under_way.thawed || matches!(error, ExportError::Frozen) => {
                debug!("A freeze cut a batch, which is sent again: {error}")
            }
            _ if under_way.has_failed => debug!("A request failed after its hold: {error}"),
            _ => {
                self.awaited = None;
                self.failed(now, error);
            }
        }
    }

    /// Logs a failure once, and again only if its kind changes or after a success.
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
