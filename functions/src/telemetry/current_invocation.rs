//! The invocation that the present task runs, for log lines and spans.
//!
//! A managed instance runs several invocations at once, so their state is task-local.

use std::{
    backtrace::Backtrace,
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use lambda_runtime::Context;

/// Lambda accepts tenant ids of at most 256 characters. A longer one comes from an emulator.
const MAX_TENANT_CHARS: usize = 256;

tokio::task_local! {
    static CURRENT: Invocation;
}

/// The number of the next invocation of this process.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// One invocation of this process.
#[derive(Debug)]
struct Invocation {
    number: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    ids: Ids,
    deadline: Option<SystemTime>,
    failed_at: Option<Arc<Backtrace>>,
}

/// The invocation's fields of its log lines; empty outside an invocation.
#[derive(Clone, Debug, Default)]
pub(super) struct Ids {
    /// Lambda's id of the invocation.
    pub(super) request_id: Option<String>,
    /// X-Ray's id of the trace, `1-<8 hex>-<24 hex>`.
    pub(super) xray_trace_id: Option<String>,
    /// The tenant in whose sandbox the function runs.
    pub(super) tenant_id: Option<String>,
}

/// Runs `work` as an invocation.
pub(super) async fn scope<T>(work: impl Future<Output = T>) -> T {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    CURRENT.scope(Invocation { number, state: Mutex::default() }, work).await
}

/// Sets ids and deadline. Does nothing outside an invocation.
pub(super) fn identify(context: &Context) {
    let header = context.xray_trace_id.as_deref().unwrap_or_default();
    let root = header.split(';').find_map(|part| part.trim().strip_prefix("Root="));
    with_state(|state| {
        state.ids = Ids {
            request_id: Some(context.request_id.clone()),
            xray_trace_id: root.map(str::to_owned),
            tenant_id: tenant_id(context),
        };
        state.deadline = Some(context.deadline());
    });
}

/// The tenant of the sandbox, without control characters and cut to [`MAX_TENANT_CHARS`].
pub(super) fn tenant_id(context: &Context) -> Option<String> {
    let visible = context.tenant_id.iter().flat_map(|id| id.trim().chars());
    let text: String = visible.filter(|char| !char.is_control()).take(MAX_TENANT_CHARS).collect();
    (!text.is_empty()).then_some(text)
}

/// Keeps the stack of the invocation's failure.
pub(super) fn failed_at(backtrace: Arc<Backtrace>) {
    with_state(|state| state.failed_at = Some(backtrace));
}

/// The stack of the invocation's failure, if it failed.
pub(super) fn take_failed_at() -> Option<Arc<Backtrace>> {
    with_state(|state| state.failed_at.take()).flatten()
}

pub(super) fn ids() -> Ids {
    with_state(|state| state.ids.clone()).unwrap_or_default()
}

/// Time until the invocation times out. `None` if there is no deadline, or one in the past, which
/// emulators give (cargo-lambda's lies in 1970).
pub(super) fn time_left(now: SystemTime) -> Option<Duration> {
    with_state(|state| state.deadline).flatten()?.duration_since(now).ok()
}

/// Whether this is the first invocation of the process that asks.
#[derive(Debug, Default)]
pub(super) struct ColdStart(AtomicBool);

impl ColdStart {
    pub(super) fn take(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }
}

fn with_state<T>(act: impl FnOnce(&mut State) -> T) -> Option<T> {
    CURRENT.try_with(|it| act(&mut lock(&it.state))).ok()
}

fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A value of each running invocation, and one for the time outside invocations.
#[derive(Debug)]
pub(super) struct PerInvocation<T>(Arc<Mutex<HashMap<Option<u64>, T>>>);

impl<T: Default> PerInvocation<T> {
    /// Changes the value of the present invocation, if there is one.
    pub(super) fn update<R>(&self, act: impl FnOnce(&mut T) -> R) -> R {
        act(lock(&self.0).entry(Self::number()).or_default())
    }

    /// Takes the value of the present invocation, if there is one.
    pub(super) fn take(&self) -> T {
        lock(&self.0).remove(&Self::number()).unwrap_or_default()
    }

    /// Takes the value for the time outside invocations.
    pub(super) fn take_outside(&self) -> T {
        lock(&self.0).remove(&None).unwrap_or_default()
    }

    /// Changes the value for the time outside invocations.
    pub(super) fn update_outside<R>(&self, act: impl FnOnce(&mut T) -> R) -> R {
        act(lock(&self.0).entry(None).or_default())
    }

    fn number() -> Option<u64> {
        CURRENT.try_with(|it| it.number).ok()
    }
}

impl<T> Clone for PerInvocation<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for PerInvocation<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[tokio::test]
    async fn a_deadline_in_the_past_is_none() {
        let mut context = Context::default();
        context.deadline = 600_000; // cargo-lambda's
        scope(async {
            identify(&context);

            let ten_minutes = UNIX_EPOCH + Duration::from_secs(600);
            let second = Duration::from_secs(1);
            assert_eq!(time_left(ten_minutes - second), Some(second));
            assert_eq!(time_left(ten_minutes + second), None);
        })
        .await;
    }

    #[test]
    fn a_tenant_id_is_cut_and_loses_its_control_characters() {
        let long = "ä".repeat(300);
        for (given, expected) in [
            (None, None),
            (Some(""), None),
            (Some(" \n\u{0} "), None),
            (Some(" acme\r\n1 "), Some("acme1".to_owned())),
            (Some(&*long), Some("ä".repeat(MAX_TENANT_CHARS))),
        ] {
            let mut context = Context::default();
            context.tenant_id = given.map(str::to_owned);

            assert_eq!(tenant_id(&context), expected, "{given:?}");
        }
    }
}
