//! Whether a destination may be sent to: a circuit breaker with backoff.
//!
//! Closed until a failure. Then open for a while that doubles with each further failure, or as
//! long as the destination asked for; after that one attempt shows whether it closes again.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use serde::Serialize;
use tokio::time::Instant;

/// First pause, and the longest. Our choice: as OpenTelemetry's exporters, which begin at 1 s, but
/// no longer than a minute, since a sandbox lives for hours.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What the breaker lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Breaker {
    /// Everything.
    Closed,
    /// Nothing for a while.
    Open,
    /// One attempt, to see.
    HalfOpen,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Health {
    seed: u64,
    pauses: Option<ExponentialBackoff>,
    open_until: Option<Instant>,
}

impl Health {
    /// Closed. The seed makes the jitter of the pauses.
    pub fn new(seed: u64) -> Self {
        Self { seed, pauses: None, open_until: None }
    }

    /// Whether the destination is being left alone.
    pub fn is_open(&self, now: Instant) -> bool {
        self.open_until.is_some_and(|until| now < until)
    }

    /// The same with the state in between.
    pub fn breaker(&self, now: Instant) -> Breaker {
        match self.open_until {
            None => Breaker::Closed,
            Some(until) if now < until => Breaker::Open,
            Some(_) => Breaker::HalfOpen,
        }
    }

    /// When it may be tried again, if it failed last time.
    pub fn open_until(&self) -> Option<Instant> {
        self.open_until
    }

    /// A batch was answered, with whatever.
    pub fn succeeded(&mut self) {
        self.pauses = None;
        self.open_until = None;
    }

    /// A batch was not delivered. `retry_after` is what the destination asked for.
    pub fn failed(&mut self, now: Instant, retry_after: Option<Duration>) {
        let seed = self.seed;
        let pauses = self.pauses.get_or_insert_with(|| {
            ExponentialBuilder::new()
                .with_min_delay(FIRST_PAUSE)
                .with_max_delay(LONGEST_PAUSE)
                .with_jitter()
                .with_jitter_seed(seed)
                .without_max_times()
                .build()
        });
        let pause = pauses.next().unwrap_or(LONGEST_PAUSE);
        self.open_until = now.checked_add(
            retry_after.map_or(pause, |asked| asked.min(LONGEST_PAUSE).max(pause.min(asked))),
        );
    }

    /// Forgets the pause: the next attempt may come at once.
    pub fn try_now(&mut self) {
        self.open_until = None;
    }
}
