//! Days of traffic against the flush policy, on a virtual clock.
//!
//! A model of the lifecycle: an invocation that waits for its flush is held for the answer time, and its
//! telemetry and all earlier telemetry is delivered. An invocation that begins requests is held for their
//! CPU time, and the telemetry is delivered with the next invocation. Otherwise its telemetry waits.

use std::time::Duration;

use tokio::time::Instant;

use crate::flush::credit::{HoldCredit, HoldSettings};
use crate::flush::policy::{FlushInput, FlushKind, FlushMode, decide};

const SECOND: Duration = Duration::from_secs(1);

/// The CPU time in which requests to four destinations begin.
const BEGIN: Duration = Duration::from_millis(4);

struct Day {
    settings: HoldSettings,
    answer_time: Duration,
    now: Instant,
    credit: HoldCredit,
    waiting_since: Vec<Instant>,
    last_flush: Option<Instant>,
    /// Whether requests have begun whose answer is not read.
    is_under_way: bool,
    /// The hold of each invocation, with the time of its end.
    holds: Vec<(Instant, Duration)>,
    /// The age of each invocation's telemetry when it was delivered.
    ages: Vec<Duration>,
}

impl Day {
    fn new(answer_ms: u64) -> Self {
        let settings =
            HoldSettings { share: 0.01, bank: SECOND, max_hold: SECOND, has_core: false };
        Self {
            settings,
            answer_time: Duration::from_millis(answer_ms),
            now: Instant::now(),
            credit: HoldCredit::new(settings),
            waiting_since: Vec::new(),
            last_flush: None,
            is_under_way: false,
            holds: Vec::new(),
            ages: Vec::new(),
        }
    }

    /// One invocation that ends after this gap. `is_dead`: every destination is silent, with a breaker that
    /// allows an attempt.
    fn invoke(&mut self, gap: Duration, failed: bool, is_dead: bool) {
        self.now += gap;
        self.credit.earn(gap);
        if std::mem::take(&mut self.is_under_way) {
            self.deliver();
        }
        self.waiting_since.push(self.now);
        let input = FlushInput {
            now: self.now,
            deadline: None,
            max_hold: self.settings.max_hold,
            credit: self.credit,
            answer_time: Some(self.answer_time),
            has_core: false,
            failed,
            last_flush: self.last_flush,
        };
        let mut hold = Duration::ZERO;
        let kind = decide(FlushMode::Adaptive, &input);
        self.last_flush = if kind == FlushKind::Defer { self.last_flush } else { Some(self.now) };
        match kind {
            FlushKind::Wait(until) => {
                let longest = until - self.now;
                hold = if is_dead { longest } else { self.answer_time.min(longest) };
            }
            FlushKind::Begin => {
                hold = BEGIN;
                self.is_under_way = !is_dead;
            }
            FlushKind::Background | FlushKind::Defer => {}
            FlushKind::Drain(_) => unreachable!("only SHUTDOWN drains"),
        }
        let is_delivered = hold >= self.answer_time && !is_dead;
        self.now += hold;
        self.credit.earn(hold);
        self.credit.spend(hold);
        self.holds.push((self.now, hold));
        if is_delivered {
            self.deliver();
        }
    }

    fn deliver(&mut self) {
        self.ages.extend(self.waiting_since.drain(..).map(|since| self.now - since));
    }

    /// The share of holds in the time after `settle`.
    fn share_after(&self, settle: Duration) -> f64 {
        let from = self.holds[0].0 + settle;
        let held: Duration =
            self.holds.iter().filter(|(at, _)| *at >= from).map(|(_, hold)| *hold).sum();
        held.as_secs_f64() / (self.now - from).as_secs_f64()
    }

    fn held(&self) -> Duration {
        self.holds.iter().map(|(_, hold)| *hold).sum()
    }
}

#[test]
fn steady_traffic_is_held_for_a_hundredth_of_the_time_and_its_data_stays_young() {
    for (gap_ms, answer_ms) in
        [(100, 0), (100, 50), (100, 200), (1_000, 50), (3_000, 50), (3_000, 200)]
    {
        let mut day = Day::new(answer_ms);
        for _ in 0..3_600_000 / gap_ms {
            day.invoke(Duration::from_millis(gap_ms), false, false);
        }

        let share = day.share_after(120 * SECOND);
        assert!(share <= 0.0101, "{gap_ms} ms, {answer_ms} ms: {share}");
        let mut holds: Vec<_> = day.holds.iter().map(|(_, hold)| *hold).collect();
        let answer_time = day.answer_time;
        let median = *holds.select_nth_unstable(day.holds.len() / 2).1;
        assert!(gap_ms >= 20 * answer_ms || median <= BEGIN, "{median:?}");
        let oldest = day.ages.iter().max().unwrap();
        // A second until the next request, one invocation until its answer.
        let limit = SECOND + Duration::from_millis(2 * gap_ms) + answer_time;
        assert!(*oldest <= limit, "{gap_ms} ms, {answer_ms} ms: {oldest:?}");
    }
}

#[test]
fn sparse_traffic_delivers_each_invocation_before_next() {
    let mut day = Day::new(50);
    for _ in 0..10_000 {
        day.invoke(10 * SECOND, false, false);
    }

    assert!(day.holds.iter().all(|(_, hold)| *hold == day.answer_time));
    assert_eq!(day.ages.len(), 10_000);
}

#[test]
fn sessions_leave_little_behind() {
    let (mut day, mut rng) = (Day::new(50), fastrand::Rng::with_seed(7));
    for _ in 0..96 {
        for request in 0..rng.usize(1..12) {
            let gap = if request == 0 { 15 * 60 * SECOND } else { SECOND };
            day.invoke(gap, false, false);
        }
    }

    let old = day.ages.iter().filter(|age| **age > 60 * SECOND).count() + day.waiting_since.len();
    assert!(old * 50 <= day.holds.len(), "{old} of {}", day.holds.len());
}

#[test]
fn an_outage_of_everything_costs_a_second_twice_and_then_a_hundredth() {
    let mut day = Day::new(50);
    for _ in 0..36_000 {
        day.invoke(SECOND / 10, true, true);
    }

    // The credit of a new sandbox, one overdraft, and the share of the hour.
    assert!(day.held() <= 3 * SECOND + (day.now - day.holds[0].0) / 100, "{:?}", day.held());
}
