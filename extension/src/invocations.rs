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
    ended: Ids,
    /// Those that the runtime has finished: their lines have come.
    done: Ids,
    failed: Ids,
    reported: Ids,
    platform: Arc<Mutex<Platform>>,
    /// `None` if no destination wants them.
    lines: Option<Arc<Mutex<Lines>>>,
}

impl Invocations {
    /// None has begun.
    pub fn new(platform: Platform, lines: Option<Lines>) -> Self {
        let lines = lines.map(|lines| Arc::new(Mutex::new(lines)));
        Self {
            ended: Ids::default(),
            done: Ids::default(),
            failed: Ids::default(),
            reported: Ids::default(),
            platform: Arc::new(Mutex::new(platform)),
            lines,
        }
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
        if server.failed {
            self.failed.note(server.request_id.clone());
        }
        self.platform().server_span(server, SystemTime::now())
    }

    /// The platform has said something.
    pub fn platform_event(&self, event: Event) -> PlatformNews {
        let mut news = PlatformNews { spans: None, done: None, reported: None };
        match &event.record {
            Record::RuntimeDone(done) => {
                if done.failure().is_some() {
                    self.failed.note(done.request_id.clone());
                }
                news.done = Some(done.request_id.clone());
            }
            Record::Report(report) => news.reported = Some(report.request_id.clone()),
            _ => {}
        }
        news.spans = self.platform().event(event, SystemTime::now());
        news
    }

    /// What the Telemetry API has delivered, as lines for whoever wants them.
    pub fn lines(&self, events: &[RawEvent<'_>]) -> Vec<Signal> {
        let Some(lines) = &self.lines else { return Vec::new() };
        locked(lines).take(events, |request_id| self.platform().traces(request_id))
    }

    /// The invocation whose cost is yet to be told to those who want lines.
    pub fn unreported(&self) -> Option<String> {
        locked(self.lines.as_ref()?).unreported()
    }

    /// Lines about the end of the sandbox.
    pub fn last_lines(&self, shutdown: &Shutdown) -> Vec<Signal> {
        let Some(lines) = &self.lines else { return Vec::new() };
        locked(lines).shut_down(shutdown, SystemTime::now())
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
        self.ended.note(request_id);
    }

    /// What the news say of an invocation, once the pipeline has all that came with them.
    pub fn told(&self, news: PlatformNews) {
        if let Some(request_id) = news.done {
            self.done.note(request_id.clone());
            self.ended.note(request_id);
        }
        news.reported.into_iter().for_each(|request_id| self.reported.note(request_id));
    }

    /// Returns when the invocation is over, at once if it already is.
    pub async fn wait_for_end(&self, request_id: &str) {
        self.ended.wait_for(request_id).await;
    }

    /// Returns when the platform says that the runtime has finished the invocation.
    pub async fn wait_for_runtime_done(&self, request_id: &str) {
        self.done.wait_for(request_id).await;
    }

    /// Returns when the platform has reported on the invocation.
    pub async fn wait_for_report(&self, request_id: &str) {
        self.reported.wait_for(request_id).await;
    }

    /// Whether somebody has said that the invocation failed.
    pub fn has_failed(&self, request_id: &str) -> bool {
        self.failed.has(request_id)
    }

    fn platform(&self) -> MutexGuard<'_, Platform> {
        locked(&self.platform)
    }
}

/// What an event of the platform leads to.
#[derive(Debug)]
pub struct PlatformNews {
    /// Spans for the pipeline.
    pub spans: Option<Signal>,
    done: Option<String>,
    reported: Option<String>,
}

/// The last few ids of which something became known.
#[derive(Clone, Debug, Default)]
struct Ids(watch::Sender<VecDeque<String>>);

impl Ids {
    fn note(&self, id: String) {
        self.0.send_modify(|ids| {
            if ids.len() == REMEMBERED {
                ids.pop_front();
            }
            ids.push_back(id);
        });
    }

    fn has(&self, id: &str) -> bool {
        self.0.borrow().iter().any(|known| known == id)
    }

    async fn wait_for(&self, id: &str) {
        let mut known = self.0.subscribe();
        // An error means that the sender is gone, which `self` is not.
        let _ = known.wait_for(|ids| ids.iter().any(|known| known == id)).await;
    }
}

/// Held for a few steps and never across an await; a panic in them leaves nothing half done.
fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
