use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex that is never held across an await. Poisoning is ignored: a panic under the lock costs
/// the work of one call, not that of all later calls.
pub(super) fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
