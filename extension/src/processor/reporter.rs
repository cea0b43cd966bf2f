//! Guards the failure reporter: a panic drops the evidence that the reporter held, and nothing else.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use tracing::error;

use crate::invocation::attempt::AttemptId;
use crate::otlp::payload::Payload;
use crate::processor::failures::FailureReporter;
use crate::processor::lock::locked;

/// Most panic messages that are logged, each once. Each is a bug, so a few suffice.
const MAX_MESSAGES: usize = 16;

/// Failures that are not in payloads. The pipeline reads both counts.
#[derive(Debug, Default)]
pub struct FailureCounts {
    /// Gathered, but not in a payload yet; see [`FailureReporter::pending_count`].
    pub waiting: AtomicU64,
    /// Dropped by panics, and not in the sums yet. Each panic counts at least one failure, because the
    /// failure that caused it may not have been counted before.
    pub lost: AtomicU64,
}

#[derive(Debug)]
pub(super) struct GuardedReporter {
    failures: Mutex<FailureReporter>,
    /// Panic messages that were logged.
    logged: Mutex<Vec<String>>,
    #[cfg(test)]
    pub(super) panics_next: std::sync::atomic::AtomicBool,
}

impl GuardedReporter {
    pub(super) fn new(failures: FailureReporter) -> Self {
        Self {
            failures: Mutex::new(failures),
            logged: Mutex::default(),
            #[cfg(test)]
            panics_next: Default::default(),
        }
    }

    /// Returns the items that `act` made, also before a panic. After a panic the evidence is dropped, since
    /// it may have caused the panic.
    pub(super) fn act(
        &self,
        counts: &FailureCounts,
        act: impl FnOnce(&mut FailureReporter),
    ) -> Vec<Payload> {
        let mut failures = locked(&self.failures);
        let acted = catch_unwind(AssertUnwindSafe(|| {
            #[cfg(test)]
            assert!(!self.panics_next.swap(false, Ordering::Relaxed), "a bug");
            act(&mut failures);
            failures.pending_count()
        }));
        let made = failures.take_items();
        let waiting = acted.unwrap_or_else(|panic| {
            let made: u64 = made.iter().map(|signal| signal.items).sum();
            let before = counts.waiting.load(Ordering::Relaxed).saturating_sub(made);
            let after = catch_unwind(AssertUnwindSafe(|| failures.pending_count())).unwrap_or(1);
            failures.drop_all();
            let lost = before.max(after).max(1);
            counts.lost.fetch_add(lost, Ordering::Relaxed);
            self.log(&*panic, lost);
            0
        });
        counts.waiting.store(waiting, Ordering::Relaxed);
        made
    }

    /// See [`FailureReporter::has_something`]; false if that panics.
    pub(super) fn has_something(&self, attempt: AttemptId) -> bool {
        let failures = locked(&self.failures);
        catch_unwind(AssertUnwindSafe(|| failures.has_something(attempt))).unwrap_or(false)
    }

    /// See [`FailureReporter::has_evidence`]; false if that panics.
    pub(super) fn has_evidence(&self) -> bool {
        let failures = locked(&self.failures);
        catch_unwind(AssertUnwindSafe(|| failures.has_evidence())).unwrap_or(false)
    }

    fn log(&self, panic: &(dyn Any + Send), lost: u64) {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or(panic.downcast_ref::<String>().map(String::as_str));
        let text = text.unwrap_or("no message");
        let mut logged = locked(&self.logged);
        if logged.len() < MAX_MESSAGES && !logged.iter().any(|known| known == text) {
            error!("The failure reporter panicked and dropped {lost} failures: {text}");
            logged.push(text.to_owned());
        }
    }
}
