//! Failures in platform events.

use crate::invocation::attempt::AttemptId;
use crate::lambda::telemetry_event::{OUT_OF_MEMORY, PlatformEvent, PlatformRecord};
use crate::processor::failures::evidence::{FailedPhase, PlatformEnd};
use crate::time::unix_ms;

/// The parts of a platform event that concern failures.
#[derive(Debug)]
pub struct PlatformFailure {
    pub(super) attempt: Option<AttemptId>,
    pub(super) is_done: bool,
    pub(super) is_report: bool,
    pub(super) max_memory_mb: Option<f64>,
    pub(super) ended: Option<PlatformEnd>,
    pub(super) is_init: bool,
    pub(super) is_repeated_init: bool,
}

impl PlatformFailure {
    /// `None` for events that do not concern failures. `attempt` is the one that the event is about.
    pub fn of(event: &PlatformEvent, attempt: Option<AttemptId>) -> Option<Self> {
        let ended = |error_type: Option<String>, phase| {
            let time_ms = unix_ms(event.time);
            error_type.map(|error_type| PlatformEnd { error_type, time_ms, phase })
        };
        let mut failure = Self {
            attempt,
            is_done: false,
            is_report: false,
            max_memory_mb: None,
            ended: None,
            is_init: false,
            is_repeated_init: false,
        };
        match &event.record {
            PlatformRecord::RuntimeDone(done) => {
                failure.is_done = true;
                failure.ended = ended(done.failure(), FailedPhase::Invocation);
            }
            PlatformRecord::Report(report) => {
                failure.is_report = true;
                failure.max_memory_mb = report.max_memory_used_mb();
                let error = match report.is_out_of_memory() {
                    true => Some(OUT_OF_MEMORY.to_owned()),
                    false => report.failure(),
                };
                failure.ended = ended(error, FailedPhase::Invocation);
            }
            PlatformRecord::Init(phase) => {
                failure.is_init = true;
                failure.ended = ended(phase.failure(), FailedPhase::Init);
                failure.is_repeated_init = phase.is_repeated();
            }
            PlatformRecord::Restore(phase) => {
                failure.ended = ended(phase.failure(), FailedPhase::Restore)
            }
            PlatformRecord::Begin(_) | PlatformRecord::Start(_) | PlatformRecord::Other => {
                return None;
            }
        }
        (failure.is_init || failure.ended.is_some() || attempt.is_some()).then_some(failure)
    }
}
