use crate::invocation::attempt::AttemptId;
use crate::processor::failures::evidence::Evidence;

/// The error type of an invocation whose process has exited. Its later report may name the cause.
pub(super) const EXIT: &str = "Runtime.ExitError";

/// An invocation and the evidence of its failures.
#[derive(Debug)]
pub(super) struct AttributedInvocation {
    pub(super) id: AttemptId,
    pub(super) gathered: Evidence,
}

impl AttributedInvocation {
    pub(super) fn new(id: AttemptId) -> Self {
        Self { id, gathered: Evidence::default() }
    }

    /// Whether the process has exited, so that the platform's report may name the cause.
    pub(super) fn has_exited(&self) -> bool {
        self.gathered.end.as_ref().is_some_and(|ended| ended.error_type == EXIT)
    }
}
