//! A list that grows while a test runs, and that a test can wait on instead of sleeping.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// How long a question waits for its answer before it gives up.
///
/// Far more than anything takes on a loaded two-core machine; only failures wait so long.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What one side appends to and the other reads; clones share the list.
#[derive(Clone, Debug)]
pub struct Record<T>(watch::Sender<Vec<T>>);

impl<T: Clone> Default for Record<T> {
    fn default() -> Record<T> {
        Record(watch::Sender::new(Vec::new()))
    }
}

impl<T: Clone> Record<T> {
    /// Appends, and wakes whoever waits.
    pub fn push(&self, item: T) {
        self.0.send_modify(|items| items.push(item));
    }

    /// Everything so far, oldest first.
    pub fn all(&self) -> Vec<T> {
        self.0.borrow().clone()
    }

    /// Waits until `pick` finds something in the list, at most [`PATIENCE`]; `None` after that.
    pub async fn find<R>(&self, mut pick: impl FnMut(&[T]) -> Option<R>) -> Option<R> {
        let mut changes = self.0.subscribe();
        let search = async {
            loop {
                let found = pick(&changes.borrow_and_update());
                if found.is_some() {
                    return found;
                }
                // Never an error: this `Record` holds a sender.
                changes.changed().await.ok()?;
            }
        };
        timeout(PATIENCE, search).await.ok().flatten()
    }
}
