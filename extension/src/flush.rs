//! When Next is called: pure functions of time, so that a table of cases is all their test.
//!
//! | situation | Next waits for | at most |
//! |---|---|---|
//! | invocation running, telemetry subscribed | its server span or `platform.runtimeDone` | the deadline less [`DEADLINE_MARGIN`] |
//! | invocation running, no telemetry (local emulators) | its server span | the longest hold |
//! | invocation done | every destination that is not resting | the longest hold, and never into the deadline's margin |
//! | a destination failed or did not answer within the hold | not for that one | rests for [`REST`] |
//! | SHUTDOWN | every destination, resting or not | [`DRAIN_BUDGET`], and never into the deadline's margin |

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// Kept free before an event's deadline, so that Next (or the exit) is never late. Our choice.
pub const DEADLINE_MARGIN: Duration = Duration::from_millis(150);

/// How long a destination that failed is left alone. Our choice: long enough that a dead one costs
/// a busy function nothing, short enough that a restart is noticed within a coffee's first sip.
pub const REST: Duration = Duration::from_secs(10);

/// What SHUTDOWN may take in all. Lambda gives 2 s and spends up to 300 ms of them on the runtime.
/// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>
pub const DRAIN_BUDGET: Duration = Duration::from_millis(1_200);

/// The instant at which an event's work must be over, or `None` if the event gives no deadline.
///
/// Emulators send 0 or a time in 1970: a deadline that has passed is none.
pub fn deadline(deadline_ms: u64, wall_clock: SystemTime, now: Instant) -> Option<Instant> {
    let deadline = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(deadline_ms))?;
    let left = deadline.duration_since(wall_clock).ok()?;
    now.checked_add(left.saturating_sub(DEADLINE_MARGIN))
}

/// Until when Next may be held back for at most `longest`.
pub fn hold_until(now: Instant, deadline: Option<Instant>, longest: Duration) -> Instant {
    let hold = now + longest;
    deadline.map_or(hold, |deadline| hold.min(deadline))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_hold_ends_at_the_longest_hold_or_before_the_deadlines_margin() {
        let (now, wall) = (Instant::now(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_000));

        for (deadline_ms, expected) in [
            (1_003_000, SECOND),                                       // far away
            (1_000_500, Duration::from_millis(500) - DEADLINE_MARGIN), // near
            (1_000_100, Duration::ZERO),                               // within the margin
            (999_000, SECOND),                                         // past: none
            (0, SECOND),                                               // emulator: none
            (u64::MAX, SECOND),                                        // absurd: none
        ] {
            let deadline = deadline(deadline_ms, wall, now);

            assert_eq!(hold_until(now, deadline, SECOND) - now, expected, "{deadline_ms}");
        }
    }
}
