use std::sync::{Mutex, MutexGuard, PoisonError};

/// Held for a few steps and never across an await; a panic in them leaves nothing half done.
pub(super) fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
