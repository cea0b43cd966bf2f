//! The evidence that an invocation is over, and waiting for it.
//!
//! A fast function may be done before its INVOKE reaches the extension, so the last ids are kept.

use std::{
    collections::VecDeque,
    time::{Duration, SystemTime},
};

use tokio::sync::watch;

/// Where the extension waits for ends, Lambda runs one invocation at a time, so a few ids suffice.
const REMEMBERED: usize = 16;

/// Evidence older than this at INVOKE belongs to an earlier attempt: Lambda waits a minute before it
/// retries an event.
/// <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>
const RETRY: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndEvidence {
    /// The server span has arrived; other spans may follow.
    Likely,
    /// The last span of our SDK has arrived, or `platform.runtimeDone`.
    Certain,
}

/// The last ids with one kind of evidence, and the time of it.
#[derive(Clone, Debug, Default)]
pub struct RecentIds(watch::Sender<VecDeque<(String, SystemTime)>>);

impl RecentIds {
    pub fn add(&self, id: String) {
        self.add_at(id, SystemTime::now());
    }

    pub fn add_at(&self, id: String, now: SystemTime) {
        self.0.send_modify(|ids| {
            if ids.len() == REMEMBERED {
                ids.pop_front();
            }
            ids.push_back((id, now));
        });
    }

    /// Removes the evidence of an earlier attempt.
    pub fn forget_old(&self, id: &str, now: SystemTime) {
        let is_old = |at: &SystemTime| now.duration_since(*at).is_ok_and(|age| age > RETRY);
        self.0.send_modify(|ids| ids.retain(|(known, at)| known != id || !is_old(at)));
    }

    pub fn has(&self, id: &str) -> bool {
        self.0.borrow().iter().any(|(known, _)| known == id)
    }

    pub async fn wait_for(&self, id: &str) {
        let mut ids = self.0.subscribe();
        // `wait_for` fails only without a sender, and `self` is one.
        let _ = ids.wait_for(|ids| ids.iter().any(|(known, _)| known == id)).await;
    }
}
