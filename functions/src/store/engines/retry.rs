//! Trying again, for adapters whose engine may be busy: the only place where that is decided.
//!
//! All calls of an invocation share one time for retries (see [`deadline`]): a limit for each would
//! add up. A call after that time has one attempt.
//!
//! The wait is drawn between nothing and a bound that doubles each time ("full jitter"), so that
//! those who collided do not collide again.
//! <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>
//!
//! `backon` does not fit: its jitter only lengthens a pause, and it knows no deadline that several
//! calls share. Both would be code here beside it, as long as the loop below.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tokio::time::Instant;
use uuid::Uuid;

use crate::{deadline, store::StoreError};

/// The bound of the first wait: about the time of one transaction.
const FIRST: Duration = Duration::from_millis(20);

/// The bound of every wait.
const LONGEST: Duration = Duration::from_secs(1);

/// No attempt is repeated later than this after the invocation began.
///
/// A waiting request occupies a sandbox, and an account has 1,000 by default: at 100 requests a
/// second, 3 s occupy 300. The time is longer than one attempt without an answer.
const BUDGET: Duration = Duration::from_secs(3);

/// Calls `attempt` until its outcome is not [`StoreError::Busy`], or until the time is up.
///
/// Adds the number of repeated attempts to `retries`.
pub(super) async fn while_busy<T, F>(
    retries: &AtomicU32,
    attempt: impl Fn() -> F,
) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let until = deadline::end_of(BUDGET);
    let mut again = 0;
    loop {
        let outcome = attempt().await;
        let next = Instant::now() + wait(again);
        if !matches!(outcome, Err(StoreError::Busy { .. })) || next >= until {
            return outcome;
        }
        tokio::time::sleep_until(next).await;
        if Instant::now() >= until {
            return outcome; // the wait took longer than it should have
        }
        retries.fetch_add(1, Ordering::Relaxed);
        again += 1;
    }
}

fn wait(again: u32) -> Duration {
    let bound = FIRST.saturating_mul(1 << again.min(10)).min(LONGEST);
    // The last bytes of a version 4 id are random.
    let random = Uuid::new_v4().as_u128() as u32;
    bound.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use lambda_runtime::Context;

    use super::*;

    fn busy() -> StoreError {
        StoreError::Busy { operation: "query", code: None, source: "throttled".into() }
    }

    #[tokio::test(start_paused = true)]
    async fn it_goes_on_until_the_store_is_free() {
        let attempts = Cell::new(0);
        let retries = AtomicU32::new(0);

        let outcome = while_busy(&retries, async || {
            attempts.set(attempts.get() + 1);
            if attempts.get() < 4 { Err(busy()) } else { Ok("done") }
        });

        assert_eq!((outcome.await.unwrap(), attempts.get()), ("done", 4));
        assert_eq!(retries.into_inner(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn it_gives_up_in_time_for_the_function_to_say_so() {
        let started = Instant::now();

        let outcome: Result<(), _> = while_busy(&AtomicU32::new(0), async || Err(busy())).await;

        assert_eq!(outcome.unwrap_err().kind(), "busy");
        assert!((BUDGET - LONGEST..=BUDGET).contains(&started.elapsed()));
    }

    #[tokio::test(start_paused = true)]
    async fn ten_calls_of_one_invocation_wait_no_longer_than_one_and_each_has_an_attempt() {
        let (started, attempts) = (Instant::now(), Cell::new(0));
        let after_the_first = Cell::new(0);
        let calls = async {
            for _ in 0..10 {
                let throttled: Result<(), _> = while_busy(&AtomicU32::new(0), async || {
                    attempts.set(attempts.get() + 1);
                    Err(busy())
                })
                .await;
                assert_eq!(throttled.unwrap_err().kind(), "busy");
                after_the_first.update(|first| if first == 0 { attempts.get() } else { first });
            }
        };

        deadline::keep(&Context::default(), calls).await.unwrap();

        let took = started.elapsed();
        assert!((BUDGET - LONGEST..=BUDGET).contains(&took), "{took:?}");
        assert!(attempts.get() >= after_the_first.get() + 9, "{}", attempts.get());
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_else_goes_wrong_is_not_tried_again() {
        let attempts = Cell::new(0);

        let outcome: Result<(), _> = while_busy(&AtomicU32::new(0), async || {
            attempts.set(attempts.get() + 1);
            Err(StoreError::ConditionsFailed { failed: vec![0] })
        })
        .await;

        assert!(outcome.unwrap_err().is_condition_of(0));
        assert_eq!(attempts.get(), 1);
    }

    #[test]
    fn the_waits_double_up_to_a_second_and_differ() {
        let longest = |retries| (0..500).map(|_| wait(retries)).max().unwrap();

        for (retries, bound_ms) in [(0, 20), (1, 40), (2, 80), (6, 1_000), (60, 1_000)] {
            let bound = Duration::from_millis(bound_ms);
            assert!((bound / 2..=bound).contains(&longest(retries)), "{retries}");
        }
    }
}
