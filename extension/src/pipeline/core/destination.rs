//! One destination's state in the core: its batch in flight, its breaker, and its last log line.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use tokio::time::Instant;
use tracing::{info, warn};

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
    /// Payloads that this flush does not try again: unreadable ones and suspects.
    pub(super) skipped: BTreeSet<u64>,
    /// The unreadable payload that was logged.
    pub(super) reported_unreadable: Option<u64>,
    /// Consecutive batches that the destination answered with a server error.
    pub(super) server_errors: u32,
    /// Payloads that got a server error when they were sent alone.
    pub(super) suspects: BTreeMap<u64, Suspicion>,
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
    pub(super) sequences: Vec<u64>,
    /// Whether the payload was separated from others on purpose.
    pub(super) is_alone: bool,
    pub(super) sent_at: Instant,
    /// Whether the process was frozen meanwhile; only a final failure counts then.
    pub(super) thawed: bool,
    /// Whether the destination has failed already because it did not answer within the hold.
    pub(super) has_failed: bool,
}

/// The payloads of a batch that are sent one by one.
#[derive(Clone, Debug, Default)]
pub(super) struct Split {
    /// Those that are not sent yet.
    pub(super) sequences: VecDeque<u64>,
    /// Whether the destination accepted one.
    pub(super) took_some: bool,
    /// Number of server errors.
    pub(super) failures: u32,
}

/// Why a payload may be the cause of server errors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suspicion {
    /// Number of server errors, each after other payloads were accepted.
    pub(super) failures: u32,
    /// Whether the destination accepted another payload since.
    pub(super) accepts_others: bool,
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
            skipped: BTreeSet::new(),
            reported_unreadable: None,
            server_errors: 0,
            suspects: BTreeMap::new(),
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

    /// The kinds that it takes, with their queues.
    pub(super) fn queues(&self) -> impl Iterator<Item = (QueueId, SignalKind)> + use<> {
        let first = self.first_route;
        let kinds = self.spec.kinds.clone().into_iter().enumerate();
        kinds.map(move |(index, kind)| (first + index, kind))
    }

    /// Whether a flush sends the payload alone, or not at all.
    pub(super) fn holds_back(&self, sequence: u64) -> bool {
        self.suspects.contains_key(&sequence) || self.skipped.contains(&sequence)
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
        self.server_errors = 0;
        self.split.iter_mut().for_each(|split| split.took_some = true);
        self.suspects.values_mut().for_each(|suspicion| suspicion.accepts_others = true);
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
        match &self.split {
            // The destination rejects every part.
            Some(split) if split.sequences.is_empty() && !split.took_some => {
                self.health.failed(now, None)
            }
            Some(_) | None => self.health.succeeded(), // it answers, or the batch itself is bad
        }
        self.report(error, &format!("{items} {unit} are dropped"));
    }

    pub(super) fn failed(&mut self, now: Instant, error: ExportError) {
        self.health.failed(now, error.retry_after());
        self.report(error, "it is tried again");
    }

    pub(super) fn retry_or_open(&mut self, now: Instant, under_way: &InFlight, error: ExportError) {
        match self.awaited {
            Some(BatchAttempt::Previous) => info!("A batch of before is sent again: {error}"),
            // An answer is one in spite of a freeze.
            _ if under_way.thawed && !error.is_definitive()
                || matches!(error, ExportError::Frozen) =>
            {
                info!("A freeze cut a batch, which is sent again: {error}")
            }
            _ if under_way.has_failed => info!("A request failed after its hold: {error}"),
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
            info!("{name} still fails, {fate}: {error}");
        } else {
            warn!("{name} does not take telemetry, {fate}: {error}");
            self.reported = Some(error);
        }
    }
}
