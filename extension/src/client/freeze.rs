//! Detects freezes: Lambda stops the process between invocations, at any instruction.

use std::{
    pin::pin,
    time::{Duration, SystemTime},
};

use tokio::time::{Instant, sleep};

use crate::delivery::error::ExportError;

/// A wait that takes this much longer than asked for means a freeze. Below it, connections are still
/// likely to work; above it, a new connection costs little in comparison.
pub const THAW: Duration = Duration::from_secs(1);

/// The interval at which a running export is checked for a freeze: half of [`THAW`].
const HEARTBEAT: Duration = Duration::from_millis(500);

/// The interval by which [`timeout_briefly`] counts time, and how late a tick may be. A later one shows that the
/// process was frozen or had no processor.
const TICK: Duration = Duration::from_millis(50);
const LATE_TICK: Duration = Duration::from_millis(25);

/// How long an answer is awaited after a thaw. An answer that arrived during the freeze is read at
/// once; an answer under way takes a round trip.
const GRACE: Duration = Duration::from_millis(300);

/// A time on both clocks, since a freeze may stop the monotonic one.
#[derive(Clone, Copy, Debug)]
pub struct Moment(Instant, SystemTime);

impl Moment {
    pub fn now() -> Self {
        Self(Instant::now(), SystemTime::now())
    }

    /// The time since then, by the clock that advanced more.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed().max(self.1.elapsed().unwrap_or_default())
    }
}

/// Runs an export. After a freeze, connection errors, timeouts and silence become
/// [`ExportError::Frozen`], which does not count against the destination: its connection may be gone
/// without a close.
pub async fn awake<T>(
    export: impl Future<Output = Result<T, ExportError>>,
) -> Result<T, ExportError> {
    let mut export = pin!(export);
    tokio::select! {
        biased; // the time limits within the export have passed as well
        () = freeze() => {}
        result = &mut export => return result,
    }
    match timeout_briefly(GRACE, export).await {
        Some(Err(error)) if error.is_definitive() => Err(error),
        Some(Ok(done)) => Ok(done),
        Some(Err(_)) | None => Err(ExportError::Frozen),
    }
}

/// Awaits `future` for at most `limit` in which the process runs; `None` if that time is over. A freeze
/// does not count, since the other end could not be read meanwhile.
pub async fn timeout_awake<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    tokio::select! {
        biased; // at a thaw, the future and the time are ready together
        result = &mut future => Some(result),
        () = sleep_awake(limit) => None,
    }
}

/// The same for limits of less than a second, where the short freezes of steady traffic matter.
pub async fn timeout_briefly<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    tokio::select! {
        biased;
        result = &mut future => Some(result),
        () = sleep_undisturbed(limit, TICK, LATE_TICK) => None,
    }
}

/// Sleeps until the process has run for `duration`. A freeze counts as one heartbeat at most.
pub async fn sleep_awake(duration: Duration) {
    sleep_undisturbed(duration, HEARTBEAT, THAW).await;
}

/// Sleeps until steps of this length add up to `duration`, without those that end later than by `lateness`.
async fn sleep_undisturbed(duration: Duration, step: Duration, lateness: Duration) {
    let mut left = duration;
    while !left.is_zero() {
        let (step, before) = (left.min(step), Moment::now());
        sleep(step).await;
        if before.elapsed() <= step + lateness {
            left -= step;
        }
    }
}

/// Returns at the first thaw.
async fn freeze() {
    loop {
        let before = Moment::now();
        sleep(HEARTBEAT).await;
        if before.elapsed() > HEARTBEAT + THAW {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    /// Blocks the thread for longer than a freeze takes to detect, then runs `export`.
    async fn frozen_in(
        export: impl Future<Output = Result<(), ExportError>>,
    ) -> Result<(), ExportError> {
        let frozen = async {
            sleep(HEARTBEAT / 2).await;
            std::thread::sleep(HEARTBEAT + THAW); // nothing else runs meanwhile
            sleep(HEARTBEAT).await; // the export's own timers are late as well
            export.await
        };
        awake(frozen).await
    }

    #[tokio::test]
    async fn a_clock_that_was_set_back_hides_no_freeze_and_makes_none() {
        let (now, wall, minute) = (Instant::now(), SystemTime::now(), Duration::from_secs(60));
        let slept = now.checked_sub(minute).unwrap_or(now);

        assert!(Moment(now, wall + minute).elapsed() < THAW, "set back by a minute");
        assert!(Moment(slept, wall + minute).elapsed() >= now - slept, "and frozen");
        assert!(Moment(now, wall - minute).elapsed() >= minute, "only this clock went on");
    }

    #[tokio::test]
    async fn what_fails_at_a_thaw_is_nobodys_fault_and_an_answer_is_an_answer() {
        let timeout = || ExportError::Timeout(THAW);
        let refused = || ExportError::Unreadable(String::new());
        let (late, silent, answered, taken) = tokio::join!(
            frozen_in(ready(Err(timeout()))),
            frozen_in(pending()),
            frozen_in(ready(Err(refused()))),
            frozen_in(ready(Ok(()))),
        );

        assert!(matches!(late, Err(ExportError::Frozen)), "{late:?}");
        assert!(matches!(silent, Err(ExportError::Frozen)), "{silent:?}");
        assert!(matches!(answered, Err(ExportError::Unreadable(_))), "{answered:?}");
        assert!(taken.is_ok(), "{taken:?}");
    }

    /// Blocks the thread as a freeze does.
    fn freeze_now() {
        std::thread::sleep(HEARTBEAT + THAW + THAW / 10);
    }

    #[tokio::test]
    async fn a_time_limit_does_not_run_on_in_a_freeze() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let client = tokio::spawn(async {
            sleep(HEARTBEAT / 10).await; // until the limit runs
            freeze_now();
            sleep(HEARTBEAT / 10).await;
            sender.send(()).unwrap();
        });

        let received = timeout_awake(THAW, receiver).await;

        assert_eq!(received, Some(Ok(())));
        client.await.unwrap();
    }

    #[tokio::test]
    async fn short_freezes_do_not_count_for_a_short_limit() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let client = tokio::spawn(async {
            for _ in 0..4 {
                sleep(TICK / 2).await; // until the next tick runs
                std::thread::sleep(GRACE);
            }
            sender.send(()).unwrap();
        });

        let received = timeout_briefly(GRACE, receiver).await;

        assert_eq!(received, Some(Ok(())));
        client.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_limit_ends_a_wait_without_a_freeze() {
        let began = Instant::now();

        let received = timeout_awake(10 * THAW, pending::<()>()).await;

        assert_eq!((received, began.elapsed()), (None, 10 * THAW));
    }

    #[tokio::test(start_paused = true)]
    async fn an_export_that_merely_takes_long_is_left_to_its_own_limits() {
        let slow = async {
            sleep(Duration::from_secs(60)).await;
            Err::<(), _>(ExportError::Timeout(THAW))
        };

        assert!(matches!(awake(slow).await, Err(ExportError::Timeout(_))));
    }
}
