//! What the platform says of failures.

use crate::processor::{
    failures::{
        evidence::{Ended, Phase},
        item_builder::unix_ms,
    },
    platform_spans::{Event, Record},
};

/// What a platform event says of failures.
#[derive(Debug)]
pub struct Note {
    pub(super) request_id: Option<String>,
    pub(super) is_done: bool,
    pub(super) is_report: bool,
    pub(super) max_memory_mb: Option<f64>,
    pub(super) ended: Option<Ended>,
    pub(super) is_init: bool,
    pub(super) is_repeated_init: bool,
}

impl Note {
    /// `None` for events that say nothing of the kind.
    pub fn of(event: &Event) -> Option<Self> {
        let ended = |error_type: Option<String>, phase| {
            let time_ms = unix_ms(event.time);
            error_type.map(|error_type| Ended { error_type, time_ms, phase })
        };
        let mut note = Self {
            request_id: None,
            is_done: false,
            is_report: false,
            max_memory_mb: None,
            ended: None,
            is_init: false,
            is_repeated_init: false,
        };
        match &event.record {
            Record::RuntimeDone(done) => {
                note.request_id = Some(done.request_id.clone());
                note.is_done = true;
                note.ended = ended(done.failure(), Phase::Invocation);
            }
            Record::Report(report) => {
                note.request_id = Some(report.request_id.clone());
                note.is_report = true;
                note.max_memory_mb = report.max_memory_used_mb();
                note.ended = ended(report.failure(), Phase::Invocation);
            }
            Record::Init(phase) => {
                note.is_init = true;
                note.ended = ended(phase.failure(), Phase::Init);
                note.is_repeated_init = phase.is_repeated();
            }
            Record::Restore(phase) => note.ended = ended(phase.failure(), Phase::Restore),
            Record::Other => return None,
        }
        (note.is_init || note.ended.is_some() || note.request_id.is_some()).then_some(note)
    }
}
