//! The parts of platform events that concern failures.

use crate::invocation::attempt::AttemptId;
use crate::lambda::telemetry_event::{OUT_OF_MEMORY, PlatformEvent, PlatformRecord};
use crate::processor::failures::evidence::{FailedPhase, PlatformEnd};
use crate::time::unix_ms;

#[derive(Debug)]
pub enum PlatformFailure {
    /// The end of an init, or a restore that failed.
    Init { end: Option<PlatformEnd>, is_repeated: bool },
    /// `platform.runtimeDone` or `platform.report` of an attempt. `end`: `None` if it succeeded.
    Invocation {
        attempt: AttemptId,
        end: Option<PlatformEnd>,
        is_report: bool,
        max_memory_mb: Option<f64>,
    },
}

impl PlatformFailure {
    /// `None` for events that do not concern failures. `attempt` is the one that the event is about.
    pub fn of(event: &PlatformEvent, attempt: Option<AttemptId>) -> Option<Self> {
        let end = |error_type: Option<String>, phase| {
            let time_ms = unix_ms(event.time);
            error_type.map(|error_type| PlatformEnd { error_type, time_ms, phase })
        };
        let invocation = |error_type, is_report, max_memory_mb| {
            let end = end(error_type, FailedPhase::Invocation);
            Some(Self::Invocation { attempt: attempt?, end, is_report, max_memory_mb })
        };
        match &event.record {
            PlatformRecord::RuntimeDone(done) => invocation(done.failure(), false, None),
            PlatformRecord::Report(report) => {
                let error = match report.is_out_of_memory() {
                    true => Some(OUT_OF_MEMORY.to_owned()),
                    false => report.failure(),
                };
                invocation(error, true, report.max_memory_used_mb())
            }
            PlatformRecord::Init(phase) => {
                let end = end(phase.failure(), FailedPhase::Init);
                Some(Self::Init { end, is_repeated: phase.is_repeated() })
            }
            PlatformRecord::Restore(phase) => {
                let end = Some(end(phase.failure(), FailedPhase::Restore)?);
                Some(Self::Init { end, is_repeated: false })
            }
            PlatformRecord::Begin(_) | PlatformRecord::Start(_) | PlatformRecord::Other => None,
        }
    }
}
