use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex that is held for a few statements and never across an await. A panic under the lock
/// leaves no half-done state, so poisoning is ignored.
pub(super) fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
