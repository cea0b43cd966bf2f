use crate::processor::failures::evidence::Evidence;

/// How an invocation ends whose process is gone; the report, which comes later, may know why.
pub(super) const EXIT: &str = "Runtime.ExitError";

/// What is known of an invocation.
#[derive(Debug, Default)]
pub(super) struct AttributedInvocation {
    pub(super) request_id: String,
    pub(super) deadline_ms: Option<i64>,
    pub(super) max_memory_mb: Option<f64>,
    /// The sandbox's first.
    pub(super) is_first: Option<bool>,
    /// The runtime has finished it.
    pub(super) is_done: bool,
    /// Nothing more is to be expected of the platform.
    pub(super) is_reported: bool,
    /// Something new was found.
    pub(super) is_touched: bool,
    pub(super) gathered: Evidence,
}

impl AttributedInvocation {
    /// Whether the platform may yet say why it ended.
    pub(super) fn awaits_report(&self) -> bool {
        let ended = self.gathered.ended.as_ref();
        !self.is_reported && ended.is_some_and(|ended| ended.error_type == EXIT)
    }
}
