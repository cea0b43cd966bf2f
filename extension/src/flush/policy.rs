//! When Next is called: pure functions of time, so that a table of cases is all their test.
//!
//! | situation | Next waits for | at most |
//! |---|---|---|
//! | invocation running, telemetry subscribed | its server span or `platform.runtimeDone` | the deadline less [`DEADLINE_MARGIN`] |
//! | its server span has come, traffic is sparse | `platform.runtimeDone`, which proves that it is over | half of the longest hold |
//! | invocation running, no telemetry (local emulators), or the last `platform.runtimeDone` did not come in time and none has come since | its server span | the longest hold |
//! | invocation done, mode `end`, or `adaptive` in sparse traffic | every destination that is not left alone | the longest hold, and never into the deadline's margin |
//! | the same, with no time left | nothing: batches are sent in the background | – |
//! | invocation done, `adaptive` in busy traffic ([`InvocationGaps`]) | nothing: batches are sent while the next invocations run | – |
//! | invocation failed, and lines are sent somewhere | every destination that is not left alone, in any mode and traffic | the longest hold, and never into the deadline's margin |
//! | Next waits for a flush, and lines are sent somewhere | `platform.runtimeDone` before it, unless the last one did not come in time: the invocation's lines have come then | a quarter of the same |
//! | invocation done, `periodic,MS` | nothing: batches are sent so, but at most every MS | – |
//! | a destination failed, or did not answer within the hold | not for that one, until it is tried again ([`crate::pipeline::circuit_breaker`]) | – |
//! | something comes during a flush, such as the platform's word on the invocation | not for that: it goes with the next flush, since waiting would cost another round trip | – |
//! | no INVOKE events (Managed Instances) | nothing: a timer has batches sent, each [`FlushMode::period`] | – |
//! | SHUTDOWN | every destination, left alone or not | [`DRAIN_BUDGET`], and never into the deadline's margin |

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// How a flush is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushKind {
    /// Nothing is sent now; what waits is safe in the spool.
    Later,
    /// Sending begins, and nobody waits for it.
    None,
    /// Until then, for destinations that may be sent to.
    Until(Instant),
    /// For every destination, and so that the spool and the last words are done by then: the last
    /// flush.
    Drain(Instant),
}

/// Kept free before an event's deadline, so that Next (or the exit) is never late. Our choice.
pub const DEADLINE_MARGIN: Duration = Duration::from_millis(150);

/// Traffic is busy while the sandbox waits less than this for its next invocation. Our choice: a
/// request to a destination in the same region is answered within that time.
pub const BUSY_GAP: Duration = Duration::from_millis(100);

/// InvocationGaps that must be short in a row until traffic counts as busy. Our choice.
const BUSY_GAPS: usize = 4;

/// No invocation lasts longer, so no wait does, whatever the variables say.
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-timeout.html>
const LONGEST_INVOCATION: Duration = Duration::from_secs(900);

/// Time between two flushes where no invocation's end is told. Our choice: what is lost with a
/// kill is no more than what came in since.
const PERIOD: Duration = Duration::from_secs(1);

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
    let hold = now + longest.min(LONGEST_INVOCATION);
    deadline.map_or(hold, |deadline| hold.min(deadline))
}

/// `CRUDDUR_FLUSH`: when what was received is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushMode {
    /// `end`: at the end of each invocation, before Next.
    End,
    /// `periodic,MS`: in the background, at most so often.
    Periodic(Duration),
    /// `adaptive`: before Next while traffic is sparse, in the background while it is busy.
    Adaptive,
}

impl FlushMode {
    /// Time between two flushes where no invocation's end is told.
    pub fn period(self) -> Duration {
        match self {
            Self::Periodic(period) => period.max(PERIOD / 10),
            Self::End | Self::Adaptive => PERIOD,
        }
    }

    /// Reads the variable's value.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "end" => Ok(Self::End),
            "adaptive" => Ok(Self::Adaptive),
            _ => text
                .strip_prefix("periodic,")
                .and_then(|millis| millis.trim().parse().ok())
                .map(|millis| Self::Periodic(Duration::from_millis(millis)))
                .ok_or_else(|| "is ignored: not end, adaptive, or periodic,MS".into()),
        }
    }
}

/// What the end of an invocation is decided on.
#[derive(Clone, Copy, Debug)]
pub struct FlushInput {
    /// The time.
    pub now: Instant,
    /// When the invocation's work must be over.
    pub deadline: Option<Instant>,
    /// The longest hold of Next.
    pub max_hold: Duration,
    /// Whether invocations follow each other closely.
    pub busy: bool,
    /// Whether the invocation failed, and its lines are worth a wait.
    pub failed: bool,
    /// When the last flush began.
    pub last_flush: Option<Instant>,
}

/// What to do at the end of an invocation.
pub fn patience(mode: FlushMode, situation: &FlushInput) -> FlushKind {
    let FlushInput { now, deadline, max_hold, busy, failed, last_flush } = *situation;
    let until = hold_until(now, deadline, max_hold);
    let wait = if until > now { FlushKind::Until(until) } else { FlushKind::None };
    match mode {
        FlushMode::End => wait,
        _ if failed => wait,
        FlushMode::Adaptive if busy => FlushKind::None,
        FlushMode::Adaptive => wait,
        FlushMode::Periodic(period) if last_flush.is_some_and(|last| now - last < period) => {
            FlushKind::Later
        }
        FlushMode::Periodic(_) => FlushKind::None,
    }
}

/// Remembers how long the sandbox lately waited for its next invocation.
#[derive(Debug, Default)]
pub struct InvocationGaps {
    short_in_a_row: usize,
}

impl InvocationGaps {
    /// Notes a gap.
    pub fn note(&mut self, gap: Duration) {
        self.short_in_a_row = if gap < BUSY_GAP { self.short_in_a_row + 1 } else { 0 };
    }

    /// Whether traffic is busy. One long gap makes it sparse again.
    pub fn are_short(&self) -> bool {
        self.short_in_a_row >= BUSY_GAPS
    }
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

    #[test]
    fn no_variable_is_too_large() {
        let (now, longest) = (Instant::now(), Duration::from_millis(u64::MAX));

        assert_eq!(hold_until(now, None, longest) - now, Duration::from_secs(900));
        let (last_flush, max_hold) = (Some(now), longest);
        let situation =
            FlushInput { now, deadline: None, max_hold, busy: false, failed: false, last_flush };
        assert_eq!(patience(FlushMode::Periodic(longest), &situation), FlushKind::Later);
    }

    #[test]
    fn the_mode_and_the_traffic_decide_whether_next_waits() {
        let now = Instant::now();
        let wait = FlushKind::Until(now + SECOND);
        let (recent, old) = (Some(now - SECOND / 2), Some(now - 2 * SECOND));
        for (mode, busy, last_flush, expected) in [
            (FlushMode::End, true, recent, wait),
            (FlushMode::Adaptive, false, recent, wait),
            (FlushMode::Adaptive, true, recent, FlushKind::None),
            (FlushMode::Periodic(SECOND), false, None, FlushKind::None),
            (FlushMode::Periodic(SECOND), false, recent, FlushKind::Later),
            (FlushMode::Periodic(SECOND), true, old, FlushKind::None),
        ] {
            let failed = false;
            let situation =
                FlushInput { now, deadline: None, max_hold: SECOND, busy, failed, last_flush };

            assert_eq!(patience(mode, &situation), expected, "{mode:?}, busy: {busy}");
            let failed = FlushInput { failed: true, ..situation };
            assert_eq!(patience(mode, &failed), wait, "{mode:?}, busy: {busy}, failed");
        }
    }

    #[test]
    fn where_there_is_no_time_to_wait_nobody_waits() {
        let now = Instant::now();
        let none = FlushInput {
            now,
            deadline: None,
            max_hold: Duration::ZERO,
            busy: false,
            failed: false,
            last_flush: None,
        };
        let late = FlushInput { deadline: Some(now), max_hold: SECOND, ..none };

        assert_eq!(patience(FlushMode::End, &none), FlushKind::None);
        assert_eq!(patience(FlushMode::Adaptive, &late), FlushKind::None);
    }

    #[test]
    fn traffic_is_busy_after_four_short_gaps_and_sparse_after_one_long() {
        let mut gaps = InvocationGaps::default();
        let mut seen = Vec::new();
        for millis in [1, 1, 1, 1, 1, 100, 1] {
            gaps.note(Duration::from_millis(millis));
            seen.push(gaps.are_short());
        }

        assert_eq!(seen, [false, false, false, true, true, false, false]);
    }

    #[test]
    fn the_modes_are_read_as_the_variable_has_them() {
        assert_eq!(FlushMode::parse("end"), Ok(FlushMode::End));
        assert_eq!(FlushMode::parse("periodic,250"), Ok(FlushMode::Periodic(SECOND / 4)));
        assert_eq!(FlushMode::parse("adaptive"), Ok(FlushMode::Adaptive));
        assert!(FlushMode::parse("periodic").is_err());
        assert!(FlushMode::parse("periodic,1s").is_err());
    }
}
