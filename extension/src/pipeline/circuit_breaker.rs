//! A circuit breaker with backoff for one destination.
//!
//! The breaker opens at a failure. The pause about doubles with each further failure, and is at least
//! the one that the destination asked for. After the pause one attempt decides
//! whether it closes.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use serde::Serialize;
use tokio::time::Instant;

/// The first and the longest pause. OpenTelemetry's exporters begin at 1 s, too; longer pauses than a
/// minute would delay telemetry after a short outage.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The longest pause that a destination may ask for. Hardly any sandbox lives longer than some hours.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3_600);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    Closed,
    Open,
    HalfOpen,
}

#[derive(Debug)]
pub struct CircuitBreaker {
    seed: u64,
    pauses: Option<ExponentialBackoff>,
    open_until: Option<Instant>,
}

impl CircuitBreaker {
    /// Makes a closed breaker. `seed` decides the jitter of the pauses.
    pub fn new(seed: u64) -> Self {
        Self { seed, pauses: None, open_until: None }
    }

    /// Whether the breaker is open.
    pub fn is_open(&self, now: Instant) -> bool {
        self.open_until.is_some_and(|until| now < until)
    }

    /// The state, `HalfOpen` after the pause.
    pub fn breaker(&self, now: Instant) -> BreakerState {
        match self.open_until {
            None => BreakerState::Closed,
            Some(until) if now < until => BreakerState::Open,
            Some(_) => BreakerState::HalfOpen,
        }
    }

    /// The end of the last pause, also after it has passed. `None` if the breaker is closed.
    pub fn open_until(&self) -> Option<Instant> {
        self.open_until
    }

    /// Closes the breaker: the destination answered.
    pub fn succeeded(&mut self) {
        self.pauses = None;
        self.open_until = None;
    }

    /// Opens the breaker. `retry_after` is the pause that the destination asked for.
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
        let asked = retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
        let pause = pause.min(LONGEST_PAUSE).max(asked);
        self.open_until = Some(now + pause);
    }

    /// Counts a freeze as a part of the pause, since the clock of [`Instant`] may have stood still.
    pub fn slept(&mut self, gap: Duration) {
        let sooner = |until: Instant| until.checked_sub(gap).unwrap_or(until);
        self.open_until = self.open_until.map(sooner);
    }

    /// Closes the breaker, so that the next attempt may begin at once. The next pause is still a longer
    /// one.
    pub fn try_now(&mut self) {
        self.open_until = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pauses after so many failures in a row.
    fn pauses(retry_after: Option<u64>, failures: usize) -> Vec<Duration> {
        let (mut health, now) = (CircuitBreaker::new(7), Instant::now());
        let fail = |_| {
            health.failed(now, retry_after.map(Duration::from_secs));
            health.open_until().unwrap() - now
        };
        (0..failures).map(fail).collect()
    }

    #[tokio::test]
    async fn pauses_double_with_jitter_up_to_a_minute() {
        for (failure, pause) in pauses(None, 12).into_iter().enumerate() {
            let least = FIRST_PAUSE.saturating_mul(1 << failure).min(LONGEST_PAUSE);
            assert!((least..=(2 * least).min(LONGEST_PAUSE)).contains(&pause), "{pause:?}");
        }
    }

    #[tokio::test]
    async fn a_destination_may_ask_for_more_but_neither_for_less_nor_for_ever() {
        assert_eq!(pauses(Some(30), 1), [Duration::from_secs(30)]);
        assert_eq!(pauses(Some(600), 1), [Duration::from_secs(600)]);
        assert_eq!(pauses(Some(u64::MAX), 1), [LONGEST_RETRY_AFTER]);
        assert_eq!(pauses(Some(0), 8), pauses(None, 8));
    }

    #[tokio::test]
    async fn a_freeze_counts_as_a_part_of_the_pause() {
        let (mut health, now) = (CircuitBreaker::new(7), Instant::now());
        health.failed(now, Some(Duration::from_secs(30)));

        health.slept(Duration::from_secs(29));
        assert!(health.is_open(now));
        health.slept(Duration::from_secs(1));
        assert!(!health.is_open(now));
    }

    #[tokio::test]
    async fn a_year_ends_each_pause_whatever_the_clock_can_hold() {
        let (mut health, now) = (CircuitBreaker::new(7), Instant::now());
        health.failed(now, Some(LONGEST_RETRY_AFTER));

        health.slept(Duration::from_secs(365 * 24 * 3_600));

        assert_eq!(health.breaker(now), BreakerState::HalfOpen);
    }
}
