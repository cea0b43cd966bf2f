//! The flush policy's state: how long Next waits for an invocation's end and its lines.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tracing::warn;

use crate::flush::policy;
use crate::flush::policy::{FlushInput, FlushKind, InvocationGaps};
use crate::invocation::attempt::AttemptId;
use crate::invocation::end::EndEvidence;
use crate::invocation::registry::Registry;

/// The inputs of the flush policy over time.
pub(crate) struct FlushState {
    mode: policy::FlushMode,
    max_hold: Duration,
    pub(crate) gaps: InvocationGaps,
    last: Option<Instant>,
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
    pub(crate) fn new(mode: policy::FlushMode, max_hold: Duration, subscribed: bool) -> Self {
        Self { mode, max_hold, gaps: InvocationGaps::default(), last: None, subscribed, miss: None }
    }

    /// Waits for an invocation's end and returns the begin of the hold of Next. Without platform events,
    /// a function that sends no spans gives no evidence of its end. In busy traffic the likely end is
    /// enough, so the last spans leave with the next flush.
    pub(crate) async fn wait_for_end(
        &mut self,
        registry: &Registry,
        attempt: AttemptId,
        deadline: Option<Instant>,
    ) -> Instant {
        self.log_miss(registry);
        let until = deadline.filter(|_| self.awaits_done());
        let until = until.unwrap_or(policy::hold_until(Instant::now(), deadline, self.max_hold));
        let likely = registry.wait_for(attempt, EndEvidence::is_likely);
        if timeout_at(until, likely).await.is_err() {
            self.record_miss(registry);
            return Instant::now();
        }
        let likely = Instant::now();
        if !self.awaits_done() || self.gaps.is_busy() {
            return likely;
        }
        // Half of the hold, so that the flush has the other half.
        let until = policy::hold_until(likely, deadline, self.max_hold / 2);
        let certain = registry.wait_for(attempt, EndEvidence::is_certain);
        if timeout_at(until, certain).await.is_err() {
            self.record_miss(registry);
            return likely;
        }
        Instant::now()
    }

    /// Waits for the lines of an invocation, for at most a quarter of the hold from `began` to `until`: the
    /// flush needs the rest.
    pub(crate) async fn wait_for_lines(
        &mut self,
        registry: &Registry,
        attempt: AttemptId,
        (began, until): (Instant, Instant),
    ) {
        if !self.awaits_done() {
            return;
        }
        let done = registry.wait_for(attempt, |it| it == EndEvidence::RuntimeDone);
        if timeout_at(began + (until - began) / 4, done).await.is_err() {
            self.record_miss(registry);
        }
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

    pub(crate) fn decide(
        &mut self,
        now: Instant,
        deadline: Option<Instant>,
        failed: bool,
    ) -> FlushKind {
        let (busy, max_hold) = (self.gaps.is_busy(), self.max_hold);
        let input = FlushInput { now, deadline, max_hold, busy, failed, last_flush: self.last };
        let kind = policy::decide(self.mode, &input);
        if kind != FlushKind::Defer {
            self.last = Some(now);
        }
        kind
    }
}
