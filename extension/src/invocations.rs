//! Which invocations are over: said by the receivers, awaited by the lifecycle.
//!
//! A fast function may be done before the extension has been told that it began, so the last few
//! ids are kept.

use std::collections::VecDeque;

use tokio::sync::watch;

/// Lambda runs one invocation at a time, so a few ids are plenty. Our choice.
const REMEMBERED: usize = 16;

/// The sending side; every receiver holds a clone.
#[derive(Clone, Debug)]
pub struct EndedInvocations(watch::Sender<VecDeque<String>>);

impl EndedInvocations {
    /// A log of ended invocations, empty.
    pub fn new() -> Self {
        Self(watch::Sender::new(VecDeque::with_capacity(REMEMBERED)))
    }

    /// Notes that an invocation is over.
    pub fn push(&self, request_id: String) {
        self.0.send_modify(|ids| {
            if ids.len() == REMEMBERED {
                ids.pop_front();
            }
            ids.push_back(request_id);
        });
    }

    /// Returns when the invocation is over, at once if it already is.
    pub async fn wait_for(&self, request_id: &str) {
        let mut ended = self.0.subscribe();
        // An error means that the sender is gone, which `self` is not.
        let _ = ended.wait_for(|ids| ids.iter().any(|id| id == request_id)).await;
    }
}

impl Default for EndedInvocations {
    fn default() -> Self {
        Self::new()
    }
}
