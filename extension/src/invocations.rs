//! The invocations: what the receivers learn of them, and the lifecycle waits for.
//!
//! A fast function may be done before the extension has been told that it began, so the last few
//! ids are kept. What the platform tells beside that becomes spans in [`crate::platform`].

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use tokio::sync::watch;

use crate::{
    extensions_api::{Invoke, Shutdown},
    lines::Lines,
    platform::{Event, Platform, RawEvent, Record},
    signal::{ServerSpan, Signal},
};

/// Lambda runs one invocation at a time, so a few ids are plenty. Our choice.
const REMEMBERED: usize = 16;

/// Shared by the receivers and the lifecycle. The signals that it returns are spans of the
/// platform and lines, for the caller to hand to the pipeline.
#[derive(Clone, Debug)]
pub struct Invocations {
    ended: watch::Sender<VecDeque<String>>,
    platform: Arc<Mutex<Platform>>,
    /// `None` if no destination wants them.
    lines: Option<Arc<Mutex<Lines>>>,
}

impl Invocations {
    /// None has begun.
    pub fn new(platform: Platform, lines: Option<Lines>) -> Self {
        let ended = watch::Sender::new(VecDeque::with_capacity(REMEMBERED));
        let lines = lines.map(|lines| Arc::new(Mutex::new(lines)));
        Self { ended, platform: Arc::new(Mutex::new(platform)), lines }
    }

    /// An invocation has begun.
    pub fn begun(&self, invoke: &Invoke) {
        let now = SystemTime::now();
        self.platform().invoked(invoke, now);
        if let Some(lines) = &self.lines {
            locked(lines).invoked(invoke, now);
        }
    }

    /// The function has sent its server span.
    pub fn server_span(&self, server: &ServerSpan) -> Option<Signal> {
        self.platform().server_span(server, SystemTime::now())
    }

    /// The platform has said something; the id of an invocation that is over with it.
    pub fn platform_event(&self, event: Event) -> (Option<Signal>, Option<String>) {
        let ended = match &event.record {
            Record::RuntimeDone(done) => Some(done.request_id.clone()),
            _ => None,
        };
        (self.platform().event(event, SystemTime::now()), ended)
    }

    /// What the Telemetry API has delivered, as lines for whoever wants them.
    pub fn lines(&self, events: &[RawEvent<'_>]) -> Vec<Signal> {
        let Some(lines) = &self.lines else { return Vec::new() };
        locked(lines).take(events, |request_id| self.platform().traces(request_id))
    }

    /// The invocation that failed with the sandbox, if nobody has said why yet.
    pub fn unexplained(&self, shutdown: &Shutdown) -> Option<String> {
        self.platform().unexplained(shutdown).map(str::to_owned)
    }

    /// The sandbox is about to end.
    pub fn shut_down(&self, shutdown: &Shutdown) -> Option<Signal> {
        self.platform().shut_down(shutdown, SystemTime::now())
    }

    /// An invocation is over.
    pub fn ended(&self, request_id: String) {
        self.ended.send_modify(|ids| {
            if ids.len() == REMEMBERED {
                ids.pop_front();
            }
            ids.push_back(request_id);
        });
    }

    /// Returns when the invocation is over, at once if it already is.
    pub async fn wait_for_end(&self, request_id: &str) {
        let mut ended = self.ended.subscribe();
        // An error means that the sender is gone, which `self` is not.
        let _ = ended.wait_for(|ids| ids.iter().any(|id| id == request_id)).await;
    }

    fn platform(&self) -> MutexGuard<'_, Platform> {
        locked(&self.platform)
    }
}

/// Held for a few steps and never across an await; a panic in them leaves nothing half done.
fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
