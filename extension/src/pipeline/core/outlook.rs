//! What a flush would cost.

use std::time::Duration;

use tokio::time::Instant;

use crate::delivery::DestinationId;
use crate::pipeline::core::destination::Destination;
use crate::pipeline::core::state::Core;

/// What a flush would cost, for [`crate::flush::policy`].
#[derive(Clone, Copy, Debug, Default)]
pub struct FlushOutlook {
    pub usual: Option<Duration>,
    pub pending: Option<Duration>,
    /// Whether an earlier process of the sandbox has left its sums.
    pub follows_crash: bool,
}

impl Core {
    /// The usual time until every healthy destination has answered, and that of those which lack
    /// something. `None` without such a destination. A destination without an answer yet counts as quick.
    pub fn outlook(&self, now: Instant) -> FlushOutlook {
        let healthy = self.destinations.iter().enumerate();
        let healthy = healthy.filter(|(id, it)| !self.is_internal(*id) && !it.health.is_open(now));
        let time = |it: &Destination| it.answer_time.unwrap_or_default();
        let lacking = healthy.clone().filter(|(id, _)| self.has_unsent(*id));
        FlushOutlook {
            usual: healthy.map(|(_, it)| time(it)).max(),
            pending: lacking.map(|(_, it)| time(it)).max(),
            follows_crash: self.follows_crash,
        }
    }

    /// Like [`has_pending`](Self::has_pending), with payloads that no flush has released yet.
    fn has_unsent(&self, id: DestinationId) -> bool {
        let has_new = |(_, kind)| self.buffer.lacking(id, kind).next().is_some();
        self.has_pending(id) || self.destinations[id].queues().any(has_new)
    }
}
