//! Finds the attempt to which an event belongs.
//!
//! Lambda retries a failed event under the same request id, usually after a minute and often in the
//! same sandbox. The last platform events of the first attempt may arrive after INVOKE of the second.
//! So INVOKE and the Telemetry API's events each advance by themselves:
//!
//! | event | its attempt, among those of the request id |
//! |---|---|
//! | INVOKE | the first without INVOKE that is not over, else a new one |
//! | `platform.start` | the first without start event and status, else a new one |
//! | `platform.runtimeDone` | the last started one without status, else the first without status |
//! | `platform.report` | the last started one, or the one before it if only that one is done |
//! | a log line | the last that had started at its time, else the last started one |
//! | a span or log record | the last that began before it ended, give or take [`RETRY`] |

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    mem,
    sync::Arc,
    time::{Duration, SystemTime},
};

use trace_context::TraceId;

use crate::bounded_map::BoundedMap;
use crate::invocation::attempt::{Attempt, AttemptId, LineOwner, SpanParent, TracingHeader};
use crate::invocation::end::{EndEvidence, EvidenceSet};
use crate::time::unix_ms;

/// Most attempts that are kept, at about 300 bytes each: an outage's worth of invocations whose spans wait
/// in the spool, and more than a managed instance runs at once.
pub(super) const MAX_ATTEMPTS: usize = 1_000;

/// Most unconfirmed attempts: spans may name any request id, and take no more places than that.
const MAX_UNCONFIRMED: usize = MAX_ATTEMPTS / 2;

/// Evidence further than this from an attempt belongs to another one: Lambda waits a minute before it
/// retries an event. Evidence less before it belongs to it, since INVOKE may arrive after the reply.
/// <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>
const RETRY: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(super) struct Attempts {
    /// Oldest first.
    by_id: BTreeMap<AttemptId, Attempt>,
    /// Oldest first, never empty.
    by_request: HashMap<Arc<str>, Vec<AttemptId>>,
    /// Request ids of evicted confirmed attempts: late spans do not open them again.
    tombstones: BoundedMap<Arc<str>, ()>,
    /// The last attempt in each X-Ray trace.
    by_root: HashMap<TraceId, AttemptId>,
    /// Attempts that have started and not ended, by the Telemetry API's events.
    running: BTreeSet<AttemptId>,
    last_started: Option<AttemptId>,
    next_id: u64,
    /// The last attempt with INVOKE. Where INVOKE arrives, Lambda runs one invocation at a time.
    pub(super) invoked: Option<AttemptId>,
    /// Whether an invocation has begun.
    pub(super) has_begun: bool,
    /// Attempts that were evicted before they were settled.
    pub(super) evicted: Vec<Attempt>,
}

impl Default for Attempts {
    fn default() -> Self {
        Self {
            by_id: BTreeMap::new(),
            by_request: HashMap::new(),
            tombstones: BoundedMap::new(MAX_ATTEMPTS),
            by_root: HashMap::new(),
            running: BTreeSet::new(),
            last_started: None,
            next_id: 0,
            invoked: None,
            has_begun: false,
            evicted: Vec::new(),
        }
    }
}

impl Attempts {
    pub(super) fn get(&self, id: AttemptId) -> Option<&Attempt> {
        self.by_id.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: AttemptId) -> Option<&mut Attempt> {
        self.by_id.get_mut(&id)
    }

    /// Oldest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Attempt> {
        self.by_id.values()
    }

    /// Whether no more events of the attempt are expected.
    pub(super) fn is_over(&self, attempt: &Attempt) -> bool {
        attempt.is_reported || self.is_past(attempt.id)
    }

    /// Whether another invocation has begun where Lambda runs one at a time.
    pub(super) fn is_past(&self, id: AttemptId) -> bool {
        self.invoked.is_some_and(|last| id < last)
    }

    /// Whether it is over, and the payloads of its report are in the pipeline.
    fn is_settled(&self, attempt: &Attempt) -> bool {
        let has_report = attempt.evidence.contains(EndEvidence::Report);
        self.is_over(attempt) && (has_report || !attempt.is_reported)
    }

    pub(super) fn on_invoke(
        &mut self,
        request_id: &Arc<str>,
        header: Option<TracingHeader>,
        deadline_ms: Option<u64>,
        now: SystemTime,
    ) -> AttemptId {
        let is_open = |it: &Attempt| {
            let is_old = is_long_after(now, it.began);
            !it.has_invoke && !it.is_reported && (it.has_start || !is_old)
        };
        let known = self.first_of(request_id, is_open);
        let id = known.unwrap_or_else(|| self.open(request_id, now));
        self.begin(id);
        self.invoked = Some(id);
        if let Some(attempt) = self.by_id.get_mut(&id) {
            if !attempt.has_start {
                attempt.began = now;
            }
            attempt.has_invoke = true;
            attempt.deadline_ms = deadline_ms;
        }
        self.set_header(id, header);
        id
    }

    pub(super) fn on_start(
        &mut self,
        request_id: &Arc<str>,
        (header, tenant_id): (Option<TracingHeader>, Option<Arc<str>>),
        time: SystemTime,
    ) -> AttemptId {
        let known = self.first_of(request_id, |it| !it.has_start && !it.is_done());
        let id = known.unwrap_or_else(|| self.open(request_id, time));
        self.begin(id);
        if let Some(attempt) = self.by_id.get_mut(&id) {
            attempt.has_start = true;
            attempt.began = time;
            attempt.tenant_id = tenant_id;
        }
        self.set_header(id, header);
        self.running.insert(id);
        self.last_started = Some(id);
        id
    }

    pub(super) fn on_runtime_done(
        &mut self,
        request_id: &Arc<str>,
        status: Arc<str>,
        has_failed: bool,
        time: SystemTime,
    ) -> AttemptId {
        let started = self.last_of(request_id, |it| it.has_start && !it.is_done());
        let known = started.or_else(|| self.first_of(request_id, |it| !it.is_done()));
        let known = known.or_else(|| self.last_of(request_id, |_| true));
        let id = known.unwrap_or_else(|| self.open(request_id, time));
        if let Some(attempt) = self.by_id.get_mut(&id) {
            attempt.status = Some(status);
            attempt.done_at = attempt.done_at.max(Some(time));
            attempt.has_failed |= has_failed;
        }
        self.running.remove(&id);
        id
    }

    pub(super) fn on_report(
        &mut self,
        request_id: &Arc<str>,
        has_failed: bool,
        time: SystemTime,
    ) -> AttemptId {
        let current = self.last_started(request_id);
        let earlier = || self.last_of(request_id, |it| it.is_done() && !it.is_reported);
        let is_running = |id: &AttemptId| self.by_id.get(id).is_some_and(|it| !it.is_done());
        let known = match current {
            Some(id) if is_running(&id) => earlier().or(current),
            current => current,
        };
        let id = known.unwrap_or_else(|| self.open(request_id, time));
        if let Some(attempt) = self.by_id.get_mut(&id) {
            attempt.is_reported = true;
            attempt.has_failed |= has_failed;
        }
        self.running.remove(&id);
        id
    }

    /// `None` if the attempt was evicted, or if there is no room for an id that only spans name.
    pub(super) fn on_server_span(
        &mut self,
        request_id: &Arc<str>,
        parent: Option<SpanParent>,
        (ended, has_failed): (Option<SystemTime>, bool),
        now: SystemTime,
    ) -> Option<AttemptId> {
        // A retry may reply before its INVOKE arrives.
        let is_next = |id: &AttemptId| {
            let done_at = self.by_id.get(id).and_then(|it| it.done_at);
            done_at.zip(ended).is_some_and(|(done_at, ended)| is_long_after(ended, done_at))
        };
        let id = match self.of_span(request_id, ended).filter(|id| !is_next(id)) {
            Some(id) => id,
            None if self.tombstones.get(&**request_id).is_some() => return None,
            None if !self.make_room(false) => return None,
            None => self.open(request_id, now),
        };
        let attempt = self.by_id.get_mut(&id)?;
        attempt.server = parent.or(attempt.server);
        attempt.has_failed |= has_failed;
        Some(id)
    }

    /// The attempt in which a span ended.
    pub(super) fn of_span(&self, request_id: &str, ended: Option<SystemTime>) -> Option<AttemptId> {
        let is_before = |it: &Attempt| ended.is_some_and(|ended| is_long_after(it.began, ended));
        let last = self.last_of(request_id, |it| !is_before(it));
        last.or_else(|| self.first_of(request_id, |_| true))
    }

    /// The attempt to which a line with this request id belongs: the last that had started at its time,
    /// else the last started one.
    pub(super) fn started_at(&self, request_id: &str, time: SystemTime) -> Option<AttemptId> {
        let time_ms = unix_ms(time);
        let had_started = |it: &Attempt| it.has_start && unix_ms(it.began) <= time_ms;
        self.last_of(request_id, had_started).or_else(|| self.last_started(request_id))
    }

    /// The attempt to which a report with this request id belongs.
    pub(super) fn last_started(&self, request_id: &str) -> Option<AttemptId> {
        let started = self.last_of(request_id, |it| it.has_start);
        started.or_else(|| self.first_of(request_id, |_| true))
    }

    /// The attempt to which lines without a request id belong that arrive now: the last started one or,
    /// where several run at once, the only running one.
    pub(super) fn line_owner(&self) -> LineOwner {
        let Some(last) = self.last_started else {
            // This process began during the invocation, so its start event never arrives.
            let invoked = self.invoked.and_then(|id| self.by_id.get(&id));
            let attempt = invoked.map(|it| it.id);
            return LineOwner { attempt, since: invoked.map(|it| it.began) };
        };
        let mut running = self.running.iter();
        let attempt = match (running.next(), running.next()) {
            _ if self.invoked.is_some() => Some(last),
            (None, _) => Some(last),
            (only, None) => only.copied(),
            _ => None,
        };
        attempt.into()
    }

    pub(super) fn of_root(&self, root: TraceId) -> Option<AttemptId> {
        self.by_root.get(&root).copied()
    }

    fn set_header(&mut self, id: AttemptId, header: Option<TracingHeader>) {
        let attempt = self.by_id.get_mut(&id).filter(|it| it.xray_header.is_none());
        if let (Some(header), Some(attempt)) = (header, attempt) {
            self.by_root.insert(header.parsed.root, id);
            attempt.xray_header = Some(header);
        }
    }

    fn first_of(&self, request_id: &str, is_it: impl Fn(&Attempt) -> bool) -> Option<AttemptId> {
        let mut ids = self.by_request.get(request_id)?.iter();
        ids.find(|id| self.by_id.get(id).is_some_and(&is_it)).copied()
    }

    fn last_of(&self, request_id: &str, is_it: impl Fn(&Attempt) -> bool) -> Option<AttemptId> {
        let mut ids = self.by_request.get(request_id)?.iter();
        ids.rfind(|id| self.by_id.get(id).is_some_and(&is_it)).copied()
    }

    fn open(&mut self, request_id: &Arc<str>, began: SystemTime) -> AttemptId {
        self.make_room(true);
        self.next_id += 1;
        let id = AttemptId(self.next_id);
        let ids = self.by_request.entry(Arc::clone(request_id)).or_default();
        let before = ids.last().and_then(|id| self.by_id.get(id));
        let attempt = Attempt {
            id,
            request_id: Arc::clone(request_id),
            number: before.map_or(1, |it| it.number + 1),
            is_first: false,
            began,
            deadline_ms: None,
            xray_header: None,
            tenant_id: None,
            server: None,
            line_trace_id: None,
            status: None,
            done_at: None,
            ended_at: None,
            hold: None,
            usage: None,
            has_failed: false,
            is_reported: false,
            has_metrics_line: false,
            has_error_line: false,
            is_concluded: false,
            has_invoke: false,
            has_start: false,
            evidence: EvidenceSet::default(),
        };
        ids.push(id);
        self.by_id.insert(id, attempt);
        id
    }

    /// The attempt begins by INVOKE or by its start event. Call it before either is recorded.
    fn begin(&mut self, id: AttemptId) {
        if let Some(attempt) = self.by_id.get_mut(&id).filter(|it| !it.has_begun()) {
            attempt.is_first = !mem::replace(&mut self.has_begun, true);
        }
    }

    /// Evicts an attempt if all places are taken: one that is settled, else one that only spans have named,
    /// else the oldest, but that only for a confirmed attempt. False if there is no room.
    fn make_room(&mut self, is_confirmed: bool) -> bool {
        let mut unconfirmed = self.by_id.values().filter(|it| !it.is_confirmed());
        let evicted = if !is_confirmed && unconfirmed.clone().count() >= MAX_UNCONFIRMED {
            unconfirmed.next()
        } else if self.by_id.len() < MAX_ATTEMPTS {
            return true;
        } else {
            let oldest = || self.by_id.values().next().filter(|_| is_confirmed);
            let settled = self.by_id.values().find(|it| self.is_settled(it));
            settled.or_else(|| unconfirmed.next()).or_else(oldest)
        };
        let evicted = evicted.map(|it| it.id);
        let Some(attempt) = evicted.and_then(|id| self.by_id.remove(&id)) else { return false };
        if let Some(ids) = self.by_request.get_mut(&attempt.request_id) {
            ids.retain(|id| *id != attempt.id);
            if ids.is_empty() {
                self.by_request.remove(&attempt.request_id);
            }
        }
        let root = attempt.xray_header.as_ref().map(|header| header.parsed.root);
        if let Some(root) = root.filter(|root| self.by_root.get(root) == Some(&attempt.id)) {
            self.by_root.remove(&root);
        }
        self.running.remove(&attempt.id);
        if attempt.is_confirmed() {
            self.tombstones.insert(Arc::clone(&attempt.request_id), ());
        }
        if !self.is_settled(&attempt) {
            self.evicted.push(attempt);
        }
        true
    }
}

fn is_long_after(later: SystemTime, earlier: SystemTime) -> bool {
    later.duration_since(earlier).is_ok_and(|gap| gap > RETRY)
}
