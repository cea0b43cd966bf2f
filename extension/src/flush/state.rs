//! What the flush policy is told at each invocation's end.

use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use crate::{
    config::Config,
    flush::policy::{self, FlushInput, InvocationGaps},
    pipeline::FlushKind,
    processor::{EndEvidence, Processor},
};

/// What the flush policy remembers from one invocation to the next.
pub(crate) struct FlushState {
    mode: policy::FlushMode,
    max_hold: Duration,
    pub(crate) gaps: InvocationGaps,
    last: Option<Instant>,
    /// Whether the platform tells when invocations are over.
    pub(crate) told: bool,
    /// The last invocation of which nobody had told so in time.
    pub(crate) untold: Option<String>,
}

impl FlushState {
    pub(crate) fn new(config: &Config, told: bool) -> Self {
        let Config { flush: mode, max_hold, .. } = *config;
        Self { mode, max_hold, gaps: InvocationGaps::default(), last: None, told, untold: None }
    }

    /// Until when an invocation's end is waited for, and how sure it must be. Without the platform's
    /// word nothing may ever tell the end of a function that sends no spans. In busy traffic nobody is
    /// held, so the last of what it sends may go with the next flush.
    pub(crate) fn end(&self, now: Instant, deadline: Option<Instant>) -> (Instant, EndEvidence) {
        let until = deadline.filter(|_| self.told);
        let until = until.unwrap_or(policy::hold_until(now, deadline, self.max_hold));
        let sure = match self.told && !self.gaps.are_short() {
            true => EndEvidence::Certain,
            false => EndEvidence::Likely,
        };
        (until, sure)
    }

    /// An invocation ran to its deadline. If that is so twice in a row, and the first of them is still
    /// not over, the platform's events have ceased to come.
    pub(crate) fn note_untold(&mut self, request_id: &str, invocations: &Processor) {
        let before = self.untold.replace(request_id.to_owned());
        if self.told && before.is_some_and(|before| !invocations.has_ended(&before)) {
            warn!(
                "Lambda no longer tells when an invocation is over; Next waits for spans instead"
            );
            self.told = false;
        }
    }

    pub(crate) fn patience(
        &mut self,
        now: Instant,
        deadline: Option<Instant>,
        failed: bool,
    ) -> FlushKind {
        let (busy, max_hold) = (self.gaps.are_short(), self.max_hold);
        let situation = FlushInput { now, deadline, max_hold, busy, failed, last_flush: self.last };
        let patience = policy::patience(self.mode, &situation);
        if patience != FlushKind::Later {
            self.last = Some(now);
        }
        patience
    }
}
