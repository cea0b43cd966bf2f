//! Panics: caught, or logged as a line.

use std::{
    any::Any,
    backtrace::Backtrace,
    cell::{Cell, RefCell},
    fmt,
    panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook},
    sync::Arc,
    task::Poll,
};

use tracing::error;

/// A panic that was caught.
#[derive(Clone, Debug)]
pub struct Panic {
    /// What it said.
    pub message: String,
    /// `file:line:column`; empty if the hook did not run.
    pub location: String,
    /// The calls that led to it.
    pub backtrace: Arc<Backtrace>,
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.location.as_str() {
            "" => f.write_str(&self.message),
            location => write!(f, "{} (at {location})", self.message),
        }
    }
}

thread_local! {
    /// Whether [`catch`] is below us on the stack.
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    /// What the hook saw, for [`catch`].
    static LAST: RefCell<Option<Panic>> = const { RefCell::new(None) };
}

/// Logs each uncaught panic as a JSON line, because the standard library would write plain text.
pub(crate) fn log_uncaught() {
    set_hook(Box::new(|info| {
        let panic = Panic::noted(info);
        match CATCHING.get() {
            true => LAST.set(Some(panic)),
            false => {
                let Panic { message, location, backtrace } = panic;
                error!(location, %backtrace, "Panicked: {message}");
            }
        }
    }));
}

/// Runs `work` and catches a panic. Shared state must be unwind-safe.
pub(crate) fn catch<T>(work: impl FnOnce() -> T) -> Result<T, Panic> {
    let outer = CATCHING.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    CATCHING.set(outer);
    outcome.map_err(|payload| LAST.take().unwrap_or_else(|| Panic::unnoted(payload.as_ref())))
}

/// Runs `work` to its end and catches a panic. Shared state must be unwind-safe.
pub(crate) fn catch_async<T>(
    work: impl Future<Output = T>,
) -> impl Future<Output = Result<T, Panic>> {
    // On the heap, so that the size of the nested future does not grow its callers.
    let mut work = Box::pin(work);
    std::future::poll_fn(move |context| match catch(|| work.as_mut().poll(context)) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
}

impl Panic {
    fn noted(info: &PanicHookInfo<'_>) -> Self {
        Self {
            message: message(info.payload()),
            location: info.location().map(ToString::to_string).unwrap_or_default(),
            backtrace: Arc::new(Backtrace::force_capture()),
        }
    }

    /// Without the hook there is only what was thrown.
    fn unnoted(payload: &(dyn Any + Send)) -> Self {
        let (location, backtrace) = (String::new(), Arc::new(Backtrace::disabled()));
        Self { message: message(payload), location, backtrace }
    }
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_message_of_a_panic_is_kept_and_what_does_not_panic_is_passed_on() {
        assert_eq!(catch(|| 1).unwrap(), 1);
        assert_eq!(catch(|| panic!("a {}", "text")).unwrap_err().message, "a text");
        assert_eq!(catch(|| std::panic::panic_any(7)).unwrap_err().message, "no message");

        assert_eq!(catch_async(async { 1 }).await.unwrap(), 1);
        let panics_late = async {
            tokio::task::yield_now().await;
            panic!("late");
        };
        let caught: Result<(), Panic> = catch_async(panics_late).await;
        assert_eq!(caught.unwrap_err().message, "late");
        assert!(!CATCHING.get());
    }
}
