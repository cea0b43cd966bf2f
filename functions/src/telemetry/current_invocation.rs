//! The invocation in progress, for log lines and spans.

use std::{
    backtrace::Backtrace,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use lambda_runtime::Context;

/// The invocation in progress, if there is one.
#[derive(Debug, Default)]
pub(super) struct CurrentInvocation(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    started_before: bool,
    ids: Ids,
    deadline: Option<SystemTime>,
    failed_at: Option<Arc<Backtrace>>,
}

/// What log lines say about it; empty between invocations.
#[derive(Clone, Debug, Default)]
pub(super) struct Ids {
    /// Lambda's id of the invocation.
    pub(super) request_id: Option<String>,
    /// X-Ray's id of the trace, `1-<8 hex>-<24 hex>`.
    pub(super) xray_trace_id: Option<String>,
}

impl CurrentInvocation {
    /// Begins an invocation. True for the first one of the process.
    pub(super) fn set(&self, context: &Context) -> bool {
        let header = context.xray_trace_id.as_deref().unwrap_or_default();
        let root = header.split(';').find_map(|part| part.trim().strip_prefix("Root="));
        let mut state = self.lock();
        state.ids = Ids {
            request_id: Some(context.request_id.clone()),
            xray_trace_id: root.map(str::to_owned),
        };
        state.deadline = Some(context.deadline());
        !std::mem::replace(&mut state.started_before, true)
    }

    /// Ends it.
    pub(super) fn clear(&self) {
        let mut state = self.lock();
        *state = State { started_before: state.started_before, ..State::default() };
    }

    /// Notes the calls that led to its failure.
    pub(super) fn failed_at(&self, backtrace: Arc<Backtrace>) {
        self.lock().failed_at = Some(backtrace);
    }

    /// The calls that led to its failure, if it failed.
    pub(super) fn take_failed_at(&self) -> Option<Arc<Backtrace>> {
        self.lock().failed_at.take()
    }

    /// The ids of the invocation in progress.
    pub(super) fn ids(&self) -> Ids {
        self.lock().ids.clone()
    }

    /// Until the invocation times out. `None` if there is no deadline, or one in the past, which
    /// emulators give (cargo-lambda's lies in 1970).
    pub(super) fn time_left(&self, now: SystemTime) -> Option<Duration> {
        self.lock().deadline?.duration_since(now).ok()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn a_deadline_in_the_past_is_none() {
        let current = CurrentInvocation::default();
        let mut context = Context::default();
        context.deadline = 600_000; // cargo-lambda's
        current.set(&context);

        let ten_minutes = UNIX_EPOCH + Duration::from_secs(600);
        let second = Duration::from_secs(1);
        assert_eq!(current.time_left(ten_minutes - second), Some(second));
        assert_eq!(current.time_left(ten_minutes + second), None);
    }
}
