//! Decides when Next is called. All functions are pure, so tables of cases test them.
//!
//! C is the usual time until every healthy destination that lacks something has answered, and
//! [`DONE_WAIT`] more if `platform.runtimeDone` is wanted. The first row that fits decides:
//!
//! | situation | evidence awaited | before Next |
//! |---|---|---|
//! | SHUTDOWN | the last platform events | every destination, also with an open breaker, at most [`DRAIN_BUDGET`] |
//! | no time before the deadline's margin, nothing to send, or all breakers open | the invocation's end | – |
//! | no server span in the last [`SILENT_INVOCATIONS`], and the [credit](crate::flush::credit) is below C | none | – |
//! | mode `end` | server span; `runtimeDone` if wanted, for a quarter of the hold | every destination with a closed breaker, at most the longest hold |
//! | mode `periodic,MS` | server span | – ; batches are sent in the background, at most every MS |
//! | `adaptive`, the invocation failed, and the credit is not overdrawn by a second | as in mode `end` | the same |
//! | `adaptive`, the credit is C or more: the first invocations, sparse traffic, then one invocation per 100·C | the same | the same, at most the credit |
//! | `adaptive`, the function has a whole core ([`CORE_MEMORY_MB`]) | server span | – ; batches are sent while the next invocations run, at most one a second |
//! | `adaptive`, the credit is not spent, and the last flush began a second ago | server span | one request to each destination begins; its answer is read during a later invocation |
//! | `adaptive`, otherwise | server span | – |
//! | an invocation has run for [`LONG_RUN`], then every [`LONG_RUN_PERIOD`] | – | batches are sent in the background |
//! | no INVOKE events (Managed Instances) | – | a timer flushes each [`FlushMode::period`] |
//!
//! `platform.runtimeDone` is wanted if lines or failures of the invocation are sent, or if the server span
//! may not be the last span. After a late one it is not awaited until another has arrived. A payload that
//! arrives during a flush, such as a platform span, waits for the next one.
//!
//! Steady traffic cannot wait for answers: a hundredth of the time is too little for all of a busy function's
//! telemetry, however large the batches are. Requests that only begin before Next cost their CPU time. A
//! freeze may delay or lose the answer of such a request. Then it is sent again, and counted as a possible
//! duplicate.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::flush::credit::HoldCredit;

/// How long a flush holds back Next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushKind {
    /// Starts no sending; the next flush sends all.
    Defer,
    /// Batches are sent while the next invocations run.
    Background,
    /// One request to each destination begins.
    Begin,
    /// Waits until then, for every destination whose circuit is closed.
    Wait(Instant),
    /// The last flush: tries every destination. Dead letters are written by then as well.
    Drain(Instant),
}

/// Shortest hold at whose end a silent destination counts as failed, even if the deadline cut the hold
/// short. A shorter longest hold replaces it. Covers a new connection and one request to a distant
/// region.
pub const MIN_JUDGED_HOLD: Duration = Duration::from_millis(400);

/// Most time for [writing dead letters](crate::pipeline::PipelineHandle::dead_letters): ten times
/// what a full core needs.
pub const DEAD_LETTER_BUDGET: Duration = Duration::from_millis(200);

/// Kept free before an event's deadline, so that Next or the exit is never late, even on a slow core.
pub const DEADLINE_MARGIN: Duration = Duration::from_millis(150);

/// How long `platform.runtimeDone` is awaited before a flush: Lambda delivers it within the 25 ms of the
/// subscription.
pub const DONE_WAIT: Duration = Duration::from_millis(30);

/// If none of so many invocations had a server span, the function sends none, so that only
/// `platform.runtimeDone` would end the wait.
pub const SILENT_INVOCATIONS: usize = 8;

/// A long invocation's telemetry is sent in the background after this time, and then at this interval: a
/// kill loses at most the telemetry of that time.
pub const LONG_RUN: Duration = Duration::from_secs(1);
pub const LONG_RUN_PERIOD: Duration = Duration::from_secs(5);

/// The least memory with which a function has a whole core, in megabytes. With less, each millisecond of
/// work between INVOKE and the reply may delay the reply by a scheduler period of 20 ms.
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html>
pub const CORE_MEMORY_MB: u64 = 1_769;

/// Shortest time between two flushes that wait for no answer.
const BACKGROUND_PERIOD: Duration = Duration::from_secs(1);

/// The longest invocation, so no wait is longer, whatever the variables hold.
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-timeout.html>
const LONGEST_INVOCATION: Duration = Duration::from_secs(900);

/// Time between two flushes without INVOKE events. A kill loses at most the telemetry of this time.
const PERIOD: Duration = Duration::from_secs(1);

/// The time for SHUTDOWN. Lambda grants 2 s and spends up to 300 ms of them on the runtime.
/// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>
pub const DRAIN_BUDGET: Duration = Duration::from_millis(1_200);

/// The instant at which an event's work must be over, or `None` if the event gives no deadline.
///
/// Emulators send 0 or a time in 1970, so a deadline in the past is ignored.
pub fn deadline(deadline_ms: u64, wall_clock: SystemTime, now: Instant) -> Option<Instant> {
    let deadline = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(deadline_ms))?;
    let left = deadline.duration_since(wall_clock).ok()?;
    now.checked_add(left.saturating_sub(DEADLINE_MARGIN))
}

/// The end of a hold of at most `longest` that ends by the deadline.
pub fn hold_until(now: Instant, deadline: Option<Instant>, longest: Duration) -> Instant {
    let hold = now + longest.min(LONGEST_INVOCATION);
    deadline.map_or(hold, |deadline| hold.min(deadline))
}

/// `CRUDDUR_FLUSH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushMode {
    /// `end`: at the end of each invocation, before Next.
    End,
    /// `periodic,MS`: in the background, at most every MS.
    Periodic(Duration),
    /// `adaptive`: before Next while the credit for holds allows it.
    Adaptive,
}

impl FlushMode {
    /// Time between two flushes without INVOKE events: at least a tenth of a second.
    pub fn period(self) -> Duration {
        match self {
            Self::Periodic(period) => period.max(PERIOD / 10),
            Self::End | Self::Adaptive => PERIOD,
        }
    }

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

/// When the last flush must end, so that dead letters are done by `until`.
pub fn drain_until(now: Instant, until: Instant) -> Instant {
    until.checked_sub(DEAD_LETTER_BUDGET).map_or(now, |end| end.max(now))
}

/// The inputs of [`decide`].
#[derive(Clone, Copy, Debug)]
pub struct FlushInput {
    pub now: Instant,
    /// When the invocation's work must be over.
    pub deadline: Option<Instant>,
    /// The longest hold of Next in mode `end`.
    pub max_hold: Duration,
    pub credit: HoldCredit,
    /// C, see the table; `None` if nothing can be sent.
    pub answer_time: Option<Duration>,
    /// Whether the function has a whole core.
    pub has_core: bool,
    /// Whether the invocation failed.
    pub failed: bool,
    /// When the last flush that was not deferred began.
    pub last_flush: Option<Instant>,
}

/// Decides how an invocation is flushed when it ends.
pub fn decide(mode: FlushMode, input: &FlushInput) -> FlushKind {
    let FlushInput { now, deadline, max_hold, credit, answer_time, has_core, failed, last_flush } =
        *input;
    let hold = |longest| match hold_until(now, deadline, longest) {
        until if until > now => FlushKind::Wait(until),
        _ => FlushKind::Background,
    };
    let is_recent = |period| last_flush.is_some_and(|last| now - last < period);
    let has_time = deadline.is_none_or(|deadline| deadline > now);
    let Some(answer_time) = answer_time else { return FlushKind::Defer };
    match mode {
        FlushMode::End => hold(max_hold),
        FlushMode::Periodic(period) if is_recent(period) => FlushKind::Defer,
        FlushMode::Periodic(_) => FlushKind::Background,
        FlushMode::Adaptive if failed && credit.longest_overdrawn() > Duration::ZERO => {
            hold(credit.longest_overdrawn())
        }
        FlushMode::Adaptive if credit.covers(answer_time) => hold(credit.longest_hold()),
        FlushMode::Adaptive if is_recent(BACKGROUND_PERIOD) => FlushKind::Defer,
        FlushMode::Adaptive if has_core => FlushKind::Background,
        FlushMode::Adaptive if credit.covers(Duration::ZERO) && has_time => FlushKind::Begin,
        FlushMode::Adaptive => FlushKind::Defer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flush::credit::HoldSettings;

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

    const MS: Duration = Duration::from_millis(1);

    fn credit(millis: i32) -> HoldCredit {
        let mut credit = HoldCredit::new(HoldSettings {
            share: 0.01,
            bank: SECOND,
            max_hold: SECOND,
            has_core: false,
        });
        credit.earn(SECOND);
        match u32::try_from(1_000 - millis) {
            Ok(spent) => credit.spend(spent * MS),
            Err(_) => panic!("a bank of a second"),
        }
        credit
    }

    fn input(now: Instant) -> FlushInput {
        FlushInput {
            now,
            deadline: None,
            max_hold: SECOND,
            credit: credit(1_000),
            answer_time: Some(50 * MS),
            has_core: false,
            failed: false,
            last_flush: None,
        }
    }

    #[test]
    fn no_variable_is_too_large() {
        let (now, longest) = (Instant::now(), Duration::from_millis(u64::MAX));

        assert_eq!(hold_until(now, None, longest) - now, Duration::from_secs(900));
        let input = FlushInput { max_hold: longest, last_flush: Some(now), ..input(now) };
        assert_eq!(decide(FlushMode::Periodic(longest), &input), FlushKind::Defer);
    }

    #[test]
    fn the_table_decides() {
        use FlushKind::{Background, Begin, Defer};
        let now = Instant::now();
        let wait = |millis: u32| FlushKind::Wait(now + millis * MS);
        let (has_core, failed) = (true, true);
        let last_flush = Some(now - MS);
        let rows = [
            ("nothing to send", FlushInput { answer_time: None, ..input(now) }, Defer),
            ("a new sandbox", input(now), wait(1_000)),
            ("the credit is enough", FlushInput { credit: credit(50), ..input(now) }, wait(50)),
            (
                "slower than the bank",
                FlushInput { answer_time: Some(5 * SECOND), ..input(now) },
                wait(1_000),
            ),
            ("too little credit to wait", FlushInput { credit: credit(49), ..input(now) }, Begin),
            (
                "too little credit, and no time",
                FlushInput { credit: credit(49), deadline: Some(now), ..input(now) },
                Defer,
            ),
            ("no credit", FlushInput { credit: credit(-1), ..input(now) }, Defer),
            (
                "soon after a flush",
                FlushInput { credit: credit(49), last_flush, ..input(now) },
                Defer,
            ),
            (
                "the same, with a core",
                FlushInput { credit: credit(49), has_core, ..input(now) },
                Background,
            ),
            (
                "a second one",
                FlushInput { credit: credit(49), has_core, last_flush, ..input(now) },
                Defer,
            ),
            ("a core and credit", FlushInput { has_core, ..input(now) }, wait(1_000)),
            ("failed", FlushInput { credit: credit(-999), failed, ..input(now) }, wait(1_000)),
            ("overdrawn", FlushInput { credit: credit(-1_000), failed, ..input(now) }, Defer),
            ("no time", FlushInput { deadline: Some(now), ..input(now) }, Background),
        ];
        for (name, input, expected) in rows {
            assert_eq!(decide(FlushMode::Adaptive, &input), expected, "{name}");
        }
        let poor = FlushInput { credit: credit(-1_000), ..input(now) };
        assert_eq!(decide(FlushMode::End, &poor), wait(1_000));
        let periodic = FlushMode::Periodic(SECOND);
        assert_eq!(decide(periodic, &input(now)), Background);
        let recent = FlushInput { last_flush: Some(now - SECOND / 2), ..input(now) };
        assert_eq!(decide(periodic, &recent), Defer);
    }

    #[test]
    fn the_modes_are_read_as_the_variable_has_them() {
        assert_eq!(FlushMode::parse("end"), Ok(FlushMode::End));
        assert_eq!(FlushMode::parse("periodic,250"), Ok(FlushMode::Periodic(SECOND / 4)));
        assert_eq!(FlushMode::parse("adaptive"), Ok(FlushMode::Adaptive));
        assert!(FlushMode::parse("periodic").is_err());
        assert!(FlushMode::parse("periodic,1s").is_err());
    }

    #[test]
    fn dead_letters_fit_in_the_drain() {
        let (now, ms) = (Instant::now(), Duration::from_millis);
        for (hold, expected) in [(0, 0), (100, 0), (1_200, 1_000)] {
            assert_eq!(drain_until(now, now + ms(hold)), now + ms(expected), "{hold}");
        }
    }
}
