//! The inputs of the flush policy over time, and the waits for the evidence of an invocation's end.

use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::warn;

use crate::client::freeze::Moment;
use crate::flush::credit::{HoldCredit, HoldSettings};
use crate::flush::policy;
use crate::flush::policy::{
    DONE_WAIT, FlushInput, FlushKind, FlushMode, LONG_RUN, LONG_RUN_PERIOD, SILENT_INVOCATIONS,
};
use crate::invocation::attempt::AttemptId;
use crate::invocation::end::EndEvidence;
use crate::invocation::registry::Registry;

pub(crate) struct FlushState {
    mode: FlushMode,
    max_hold: Duration,
    credit: HoldCredit,
    /// When time was last added to the credit.
    earned: Moment,
    /// What the credit earned then.
    earning: Duration,
    has_core: bool,
    last_flush: Option<Instant>,
    /// Whether the Telemetry API accepted the subscription.
    subscribed: bool,
    /// Set after a late `platform.runtimeDone`; then none is awaited until one arrives.
    miss: Option<Miss>,
}

struct Miss {
    /// Number of such events until then.
    events: u64,
    is_logged: bool,
}

impl FlushState {
    pub(crate) fn new(mode: FlushMode, settings: HoldSettings, subscribed: bool) -> Self {
        Self {
            mode,
            max_hold: settings.max_hold,
            credit: HoldCredit::new(settings),
            earned: Moment::now(),
            earning: Duration::ZERO,
            has_core: settings.has_core,
            last_flush: None,
            subscribed,
            miss: None,
        }
    }

    /// An INVOKE has arrived.
    pub(crate) fn on_invoke(&mut self) {
        self.earning = self.credit.earn(self.earned.elapsed());
        self.earned = Moment::now();
    }

    /// An earlier process of the sandbox has crashed.
    pub(crate) fn follow_crash(&mut self) {
        self.credit.empty();
    }

    /// Whether Next is called without waiting for the invocation's end: only `platform.runtimeDone` would
    /// show that, and the credit does not cover a flush after it.
    pub(crate) fn skips_end(&self, registry: &Registry, usual: Option<Duration>) -> bool {
        let cost = usual.unwrap_or_default() + DONE_WAIT;
        self.mode == FlushMode::Adaptive
            && self.subscribed
            && !self.credit.covers(cost)
            && !registry.has_recent_server_span(SILENT_INVOCATIONS)
    }

    /// Waits for an invocation's end and returns the begin of the hold of Next. Calls `run_long` while the
    /// invocation runs for long. Without platform events, a function that sends no spans gives no evidence
    /// of its end.
    pub(crate) async fn wait_for_end(
        &mut self,
        registry: &Registry,
        attempt: AttemptId,
        deadline: Option<Instant>,
        run_long: impl AsyncFn(),
    ) -> Instant {
        self.log_miss(registry);
        let began = Instant::now();
        let until = deadline.filter(|_| self.awaits_done());
        let until = until.unwrap_or(policy::hold_until(began, deadline, self.max_hold));
        let mut next_send = began + LONG_RUN;
        let likely = registry.wait_for(attempt, EndEvidence::is_likely);
        let mut likely = std::pin::pin!(likely);
        loop {
            tokio::select! {
                biased;
                () = &mut likely => break,
                () = sleep_until(until) => {
                    self.record_miss(registry);
                    break;
                }
                () = sleep_until(next_send) => {
                    next_send += LONG_RUN_PERIOD;
                    run_long().await;
                }
            }
        }
        let lag = registry.get(attempt).and_then(|it| it.done_at.filter(|_| it.server.is_none()));
        let lag = lag.and_then(|done_at| SystemTime::now().duration_since(done_at).ok());
        // The runtime may have been done for as long as the event was buffered.
        let now = Instant::now();
        now.checked_sub(lag.unwrap_or_default().min(DONE_WAIT)).map_or(now, |end| end.max(began))
    }

    /// Decides how the invocation is flushed. `answer_time` is the usual time until every healthy
    /// destination that lacks something has answered; `None` if nothing can be sent.
    pub(crate) fn decide(
        &mut self,
        deadline: Option<Instant>,
        (answer_time, wants_done, failed): (Option<Duration>, bool, bool),
    ) -> FlushKind {
        let now = Instant::now();
        let waits_for_done = wants_done && self.awaits_done();
        let done_wait = if waits_for_done { DONE_WAIT } else { Duration::ZERO };
        let input = FlushInput {
            now,
            deadline,
            max_hold: self.max_hold,
            credit: self.credit,
            answer_time: answer_time.map(|time| time + done_wait),
            has_core: self.has_core,
            failed,
            last_flush: self.last_flush,
        };
        let kind = policy::decide(self.mode, &input);
        if kind != FlushKind::Defer {
            self.last_flush = Some(now);
        }
        kind
    }

    /// Waits for all lines of an invocation, for at most [`DONE_WAIT`] and half of the hold until `until`:
    /// the flush needs the rest. Mode `end` waits for a quarter of the hold.
    pub(crate) async fn wait_for_lines(
        &mut self,
        registry: &Registry,
        attempt: AttemptId,
        until: Instant,
    ) {
        if !self.awaits_done() {
            return;
        }
        let done = registry.wait_for(attempt, |it| it == EndEvidence::RuntimeDone);
        let now = Instant::now();
        let longest = match self.mode {
            FlushMode::End => (until - now) / 4,
            _ => DONE_WAIT.min((until - now) / 2),
        };
        if timeout_at(now + longest, done).await.is_err() {
            self.record_miss(registry);
        }
    }

    /// Spends a hold, of which `reading` lines took a part. Those cost the same at any time, so they take at
    /// most half of what was earned: busy lines must not end all flushes.
    pub(crate) fn spend(&mut self, hold: Duration, reading: Duration) {
        self.credit.spend(hold.saturating_sub(reading) + reading.min(self.earning / 2));
    }

    fn awaits_done(&self) -> bool {
        self.subscribed && self.miss.is_none()
    }

    fn record_miss(&mut self, registry: &Registry) {
        if self.awaits_done() {
            let events = registry.runtime_done_events();
            self.miss = Some(Miss { events, is_logged: false });
        }
    }

    /// Ends a miss if an event has arrived since, else logs it once. Runs one invocation later, when the
    /// event of a timed-out invocation has arrived.
    fn log_miss(&mut self, registry: &Registry) {
        let came = |miss: &mut Miss| registry.runtime_done_events() > miss.events;
        if self.miss.take_if(came).is_some() {
            return;
        }
        if let Some(Miss { is_logged: is_logged @ false, .. }) = &mut self.miss {
            *is_logged = true;
            warn!(
                "Lambda sent no platform.runtimeDone for an invocation; Next waits for server spans \
                 alone until another one comes"
            );
        }
    }
}
