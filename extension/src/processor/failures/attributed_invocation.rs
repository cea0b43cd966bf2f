use crate::processor::failures::evidence::Evidence;

/// The error type of an invocation whose process has exited. Its later report may name the cause.
pub(super) const EXIT: &str = "Runtime.ExitError";

#[derive(Debug, Default)]
pub(super) struct AttributedInvocation {
    pub(super) request_id: String,
    pub(super) deadline_ms: Option<i64>,
    pub(super) max_memory_mb: Option<f64>,
    /// Whether it is the first of the sandbox.
    pub(super) is_first: Option<bool>,
    pub(super) is_done: bool,
    /// Whether the platform's report has arrived, or is no longer awaited.
    pub(super) is_reported: bool,
    /// Whether it has new evidence.
    pub(super) has_changed: bool,
    pub(super) gathered: Evidence,
}

impl AttributedInvocation {
    /// Whether the report may still name the cause of its end.
    pub(super) fn awaits_report(&self) -> bool {
        let ended = self.gathered.ended.as_ref();
        !self.is_reported && ended.is_some_and(|ended| ended.error_type == EXIT)
    }
}
