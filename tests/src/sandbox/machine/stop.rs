//! How processes are ended: after a failure (reset) or for good (shutdown).
//!
//! The runtime goes first, then the extensions get SHUTDOWN, then what is left is killed.

use std::time::Instant;

use nix::sys::signal::Signal;
use serde_json::json;

use super::phases::epoch_ms;
use super::{Machine, Phase};
use crate::sandbox::journal::{Party, What};
use crate::sandbox::reply::FailureKind;

/// A stop in progress.
pub(super) struct Stop {
    reason: &'static str,
    /// When the last process is killed.
    limit: Instant,
    stage: Stage,
}

#[derive(PartialEq)]
enum Stage {
    /// The runtime has got SIGTERM and its slice of the time.
    Runtime,
    /// Extensions have got SHUTDOWN.
    Extensions,
    /// SIGKILL is out.
    Killed,
}

impl Machine {
    /// After a failure: no mercy for the runtime, SHUTDOWN for the extensions.
    pub(super) fn begin_reset(&mut self, failure: &FailureKind) {
        let reason = if failure.status() == "timeout" { "timeout" } else { "failure" };
        self.begin_stop(Phase::Resetting, reason);
        self.signal(&Party::Runtime, Signal::SIGKILL);
        self.stop_extensions();
    }

    /// For good: SIGTERM for the runtime if there is an extension, else SIGKILL at once.
    pub(super) fn begin_shutdown(&mut self) {
        self.begin_stop(Phase::Shutdown, "spindown");
        let graceful = self.agents.iter().any(|agent| agent.external);
        if graceful && self.running.contains_key(&Party::Runtime) {
            self.alarm = Some(Instant::now() + self.setup.limits.runtime_shutdown);
            self.signal(&Party::Runtime, Signal::SIGTERM);
        } else {
            self.signal(&Party::Runtime, Signal::SIGKILL);
            self.stop_extensions();
        }
    }

    fn begin_stop(&mut self, phase: Phase, reason: &'static str) {
        let limit = Instant::now() + self.setup.limits.shutdown;
        self.stop = Some(Stop { reason, limit, stage: Stage::Runtime });
        self.alarm = None;
        self.enter(phase);
        self.freeze(false);
        // A stream that closes is emptied.
        self.telemetry.flush();
        self.notes.write(What::Shutdown { reason });
    }

    fn stop_extensions(&mut self) {
        let Some(stop) = &mut self.stop else { return };
        stop.stage = Stage::Extensions;
        self.alarm = Some(stop.limit);
        let left = stop.limit.saturating_duration_since(Instant::now());
        let event = json!({
            "eventType": "SHUTDOWN", "shutdownReason": stop.reason, "deadlineMs": epoch_ms(left),
        });
        self.telemetry.flush();
        for agent in self.agents.iter_mut().filter(|agent| agent.wants_shutdown) {
            agent.send(event.clone());
        }
        let unasked: Vec<Party> = self
            .running
            .keys()
            .filter(|party| match party {
                Party::Runtime => false,
                Party::Extension(name) => {
                    !self.agents.iter().any(|agent| agent.name == *name && agent.wants_shutdown)
                }
            })
            .cloned()
            .collect();
        for party in unasked {
            self.signal(&party, Signal::SIGKILL);
        }
        self.go_on_stopping();
    }

    /// A process has ended, or a stage began.
    pub(super) fn go_on_stopping(&mut self) {
        let Some(stop) = &self.stop else { return };
        if stop.stage == Stage::Runtime && !self.running.contains_key(&Party::Runtime) {
            return self.stop_extensions();
        }
        if !self.running.is_empty() {
            return;
        }
        self.stop = None;
        self.alarm = None;
        self.runtime = None;
        self.agents.clear();
        if self.phase() == Phase::Shutdown {
            return self.enter(Phase::Over);
        }
        self.enter(Phase::Off);
        self.next_invocation();
    }

    /// A stage's time is over.
    pub(super) fn on_stop_alarm(&mut self) {
        let Some(stop) = &mut self.stop else { return };
        if stop.stage == Stage::Runtime {
            self.signal(&Party::Runtime, Signal::SIGKILL);
            return self.stop_extensions();
        }
        stop.stage = Stage::Killed;
        let late: Vec<Party> = self.running.keys().cloned().collect();
        for party in late {
            self.signal(&party, Signal::SIGKILL);
        }
    }
}
