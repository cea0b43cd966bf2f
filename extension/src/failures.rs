//! Failures: whatever went wrong in an invocation becomes one item, and each message that somebody
//! wants to be reported one more. The [Rollbar exporter](crate::exporter::rollbar) sends them.
//!
//! ```text
//! spans, log records ─┐                    one item for each
//! lines ──────────────┼─▶ gathered by ────▶ invocation, when ──▶ bursts ──▶ signals
//! platform events ────┘   request, trace    it is over           folded
//! ```
//! - **Whose.** A span is of the invocation whose server span is in its trace; one that comes
//!   before that waits. Where no server span ever comes, what came during an invocation is its.
//! - **When.** An invocation is over when the runtime is done with it, or the next one begins, or
//!   the sandbox ends. Where nothing tells (emulators, Managed Instances), with each request of
//!   spans; what only log records tell waits for those, but no longer than [`SPANS_FOLLOW`].
//! - **Once.** Of an invocation that was told nothing is told again, such as the platform's
//!   report, one invocation later. The item's `uuid` is made of the request's id: should another
//!   process tell the same again, Rollbar drops it.
//! - **At most.** `bursts` folds what repeats itself.
//!
//! Made items are signals like all others, of [`Kind::Failures`]: held, spooled, sent and accounted
//! for. In the account of Rollbar an item is one failure or message, or a burst of them.

mod bursts;
mod gathered;
mod item;
mod logged;
mod note;
mod otlp;
mod request;

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use serde_json::json;
use trace_context::XrayHeader;

pub use self::note::Note;
use self::{
    bursts::Bursts,
    gathered::{Ended, Gathered, Phase},
    item::{Known, Made, Maker, unix_ms},
    logged::Logged,
};
use crate::{
    config::Config,
    exporter::rollbar::{fit::fitted, payload::Entry},
    extensions_api::Invoke,
    lines,
    platform::Traces,
    signal::{Kind, Signal},
};

/// Invocations whose failures may still come. Our choice.
const REMEMBERED: usize = 16;

/// Traces without an invocation that are kept apart. Our choice.
const MAX_TRACES: usize = 64;

/// Ids of what was told. Our choice: many more than can still be told of.
const MAX_TOLD: usize = 512;

/// Lines that an item has. Our choice.
const LAST_LINES: usize = 20;

/// Lines that are kept, of several invocations; and the longest one. Our choice.
const KEPT_LINES: usize = 3 * LAST_LINES;
const MAX_LINE_BYTES: usize = 4_096;

/// How long log records wait for the spans of their invocation, where nothing tells its end. Our
/// choice: they are sent one after the other.
pub const SPANS_FOLLOW: Duration = Duration::from_secs(1);

/// Looks up what the platform knows of an invocation.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Traces;

/// One item, as it waits in a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its `uuid`.
    pub id: &'a str,
    /// The request's body.
    pub json: &'a str,
}

/// The items of a signal, or of several in a row. What is no item is left out.
pub fn read(signals: &[u8]) -> impl Iterator<Item = Line<'_>> {
    signals.split(|byte| *byte == b'\n').filter_map(|line| {
        let (id, json) = std::str::from_utf8(line).ok()?.split_once(' ')?;
        Some(Line { id, json })
    })
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Failures {
    maker: Maker,
    bursts: Bursts,
    /// Oldest first.
    invocations: VecDeque<Invocation>,
    /// Of no known invocation, oldest first. Without a trace: what was logged outside of any.
    strays: VecDeque<Gathered>,
    /// Oldest first.
    told: VecDeque<String>,
    /// Time in Unix milliseconds, and JSON; oldest first.
    lines: VecDeque<(i64, Bytes)>,
    /// An init that failed during an invocation, until that is told.
    failed_init: Option<Ended>,
    /// When the first of the log records came that wait for their spans.
    spans_follow: Option<SystemTime>,
    /// Whether somebody tells when an invocation begins and ends.
    ends_are_told: bool,
    /// Until then what is logged may be why it fails.
    init_is_over: bool,
    made: Vec<Signal>,
}

#[derive(Debug, Default)]
struct Invocation {
    request_id: String,
    deadline_ms: Option<i64>,
    max_memory_mb: Option<f64>,
    /// The runtime has finished it.
    is_done: bool,
    gathered: Gathered,
}

impl Failures {
    /// `None` if Rollbar is to have nothing.
    pub fn new(config: &Config) -> Option<Self> {
        let rollbar = config.rollbar.as_ref()?;
        Some(Self {
            maker: Maker::new(rollbar, config),
            bursts: Bursts::default(),
            invocations: VecDeque::new(),
            strays: VecDeque::new(),
            told: VecDeque::new(),
            lines: VecDeque::new(),
            failed_init: None,
            spans_follow: None,
            ends_are_told: false,
            init_is_over: false,
            made: Vec::new(),
        })
    }

    /// The items that were made since the last call.
    pub fn take_made(&mut self) -> Vec<Signal> {
        std::mem::take(&mut self.made)
    }

    /// An invocation has begun, so all others are over.
    pub fn begun(&mut self, invoke: &Invoke, now: SystemTime, lookup: Lookup<'_>) {
        self.ends_are_told = true;
        self.init_is_over = true;
        let others = self.invocations.iter_mut().filter(|it| it.request_id != invoke.request_id);
        let over = others.filter_map(|it| {
            let was_done = std::mem::replace(&mut it.is_done, true);
            (!was_done || !it.gathered.is_empty()).then(|| it.request_id.clone())
        });
        let over: Vec<_> = over.collect();
        over.iter().for_each(|request_id| self.conclude(request_id, now, lookup));
        let invocation = self.invocation(&invoke.request_id, now, lookup);
        invocation.is_done = false; // Lambda tries it again
        invocation.deadline_ms = i64::try_from(invoke.deadline_ms).ok().filter(|ms| *ms > 0);
    }

    /// A request has come by OTLP.
    pub fn otlp(&mut self, signal: &Signal, now: SystemTime, lookup: Lookup<'_>) {
        if signal.kind == Kind::Metrics {
            return;
        }
        self.overdue(now, lookup);
        for (time_ms, json) in otlp::lines(signal) {
            self.keep_line(time_ms, &json);
        }
        let findings = otlp::find(signal);
        if findings.is_empty() {
            return self.fold(now);
        }
        let claims = findings
            .iter()
            .filter_map(|finding| Some((finding.trace_id.clone(), finding.request_id.clone()?)));
        let claims: HashMap<String, String> = claims.collect();
        let mut touched: Vec<String> = claims.values().cloned().collect();
        for finding in findings {
            let claim = finding.request_id.as_ref().or_else(|| claims.get(&finding.trace_id));
            let request_id = claim.cloned().or_else(|| self.of_trace(&finding.trace_id));
            let gathered = match &request_id {
                Some(request_id) => &mut self.invocation(request_id, now, lookup).gathered,
                None => self.stray(&finding.trace_id, now),
            };
            gathered.add_trace(&finding.trace_id);
            finding.failures.into_iter().for_each(|failure| gathered.add_failure(failure));
            finding.messages.into_iter().for_each(|message| gathered.add_message(message));
            finding.context.into_iter().for_each(|context| gathered.add_context(context));
            touched.extend(request_id);
        }
        if signal.kind == Kind::Logs && !self.ends_are_told {
            self.spans_follow.get_or_insert(now);
            return self.fold(now);
        }
        self.tell_of(touched, now, lookup);
        if !self.ends_are_told {
            self.tell_of_strays(now);
            if self.invocations.iter().all(|it| it.gathered.is_empty()) {
                self.spans_follow = None;
            }
        }
    }

    /// Some time has passed: what has waited long enough is told.
    pub fn overdue(&mut self, now: SystemTime, lookup: Lookup<'_>) {
        let is_over = |since: &SystemTime| match now.duration_since(*since) {
            Ok(age) => age >= SPANS_FOLLOW,
            Err(_) => true, // the clock was set back
        };
        if self.spans_follow.take_if(|since| is_over(since)).is_some() {
            let all = self.invocations.iter().map(|it| it.request_id.clone()).collect();
            self.tell_of(all, now, lookup);
            self.tell_of_strays(now);
        }
        self.fold(now);
    }

    /// Lines have come, made by [`lines::Lines`].
    pub fn lines(&mut self, signals: &[Signal], now: SystemTime, lookup: Lookup<'_>) {
        let mut touched = Vec::new();
        for signal in signals {
            for line in lines::read(&signal.bytes) {
                self.keep_line(line.time_ms, line.json);
                let failure = signal.has_error.then(|| Logged::read(line.json)).flatten();
                let Some(logged) = failure else { continue };
                let Some(failure) = logged.failure(line.time_ms) else { continue };
                let gathered = match &logged.request_id {
                    Some(request_id) => &mut self.invocation(request_id, now, lookup).gathered,
                    None => self.stray("", now),
                };
                gathered.add_failure(failure);
                if logged.request_id.is_some() {
                    gathered.add_trace(&logged.trace_id);
                }
                touched.extend(logged.request_id);
            }
        }
        self.tell_of(touched, now, lookup);
        if !self.ends_are_told && self.init_is_over {
            self.tell_of_strays(now);
        }
    }

    /// The platform has said something, and knows of it already when it is looked up.
    pub fn platform(&mut self, note: Note, now: SystemTime, lookup: Lookup<'_>) {
        let Note { request_id, is_done, max_memory_mb, ended, is_init, is_repeated_init } = note;
        self.init_is_over |= is_init;
        let Some(request_id) = request_id else {
            match ended {
                Some(ended) if is_repeated_init => self.failed_init = Some(ended),
                Some(ended) => self.tell_of_init(ended, now),
                // What was logged then has no invocation.
                None if !is_repeated_init => {
                    let logged = self.stray("", now).take();
                    self.tell_of_stray(logged, now);
                }
                None => {}
            }
            return;
        };
        if ended.is_some() {
            self.failed_init = None;
        }
        let invocation = self.invocation(&request_id, now, lookup);
        invocation.is_done |= is_done;
        invocation.max_memory_mb = max_memory_mb.or(invocation.max_memory_mb);
        let gathered = &mut invocation.gathered;
        gathered.ended = gathered.ended.take().or(ended);
        if is_done || !gathered.is_empty() {
            self.conclude(&request_id, now, lookup);
        }
        self.fold(now);
    }

    /// The sandbox ends, and an invocation with it.
    pub fn ended_with_sandbox(
        &mut self,
        request_id: &str,
        error_type: String,
        now: SystemTime,
        lookup: Lookup<'_>,
    ) {
        let ended = Ended { error_type, time_ms: unix_ms(now), phase: Phase::Invocation };
        let gathered = &mut self.invocation(request_id, now, lookup).gathered;
        gathered.ended = gathered.ended.take().or(Some(ended));
        self.failed_init = None;
        self.conclude(request_id, now, lookup);
    }

    /// How many items there would be of all that is gathered, if it were told now; more, where spans
    /// that are yet to come show that some of it is one.
    pub fn waiting(&self) -> u64 {
        // What is nobody's yet will be told with the invocation that goes on.
        let open = self.invocations.iter().rposition(|it| !it.is_done);
        let is_its = |stray: &&Gathered| {
            open.is_some_and(|index| self.invocations[index].gathered.takes(stray))
        };
        let (its, others): (Vec<_>, Vec<_>) = self.strays.iter().partition(is_its);
        let fails = |gathered: &&Gathered| self.maker.level(gathered).is_some();
        let failing = self.invocations.iter().enumerate().filter(|(index, it)| {
            let more = its.iter().copied().filter(|_| open == Some(*index));
            !self.told.contains(&it.request_id)
                && std::iter::once(&it.gathered).chain(more).any(|part| fails(&part))
        });
        let gathered = self.invocations.iter().map(|it| &it.gathered).chain(&self.strays);
        let items = failing.count()
            + others.iter().copied().filter(fails).count()
            + gathered.map(|gathered| gathered.messages.len()).sum::<usize>()
            + usize::from(self.failed_init.is_some())
            + self.bursts.waiting();
        items as u64
    }

    /// Whether there is something to be told of an invocation as soon as it is over.
    pub fn has_something(&self, request_id: &str) -> bool {
        let found = self.invocations.iter().find(|it| it.request_id == request_id);
        found.is_some_and(|it| !it.gathered.is_empty())
            || self.strays.iter().any(|gathered| !gathered.is_empty())
    }

    /// An invocation is over: tells of it.
    pub fn conclude(&mut self, request_id: &str, now: SystemTime, lookup: Lookup<'_>) {
        let found = self.invocations.iter().position(|it| it.request_id == request_id);
        let Some(index) = found else { return };
        let traces = lookup(request_id);
        let invocation = &mut self.invocations[index];
        if invocation.gathered.trace_ids.is_empty() {
            let root = traces.xray_header.as_deref().and_then(XrayHeader::parse);
            let server = traces.server.map(|(trace_id, _)| trace_id);
            let trace_id = server.or(root.map(|header| header.root));
            trace_id.iter().for_each(|id| invocation.gathered.add_trace(&id.to_string()));
        }
        let mut others = Vec::new();
        for stray in self.strays.drain(..) {
            match invocation.gathered.takes(&stray) {
                true => invocation.gathered.merge(stray),
                false => others.push(stray),
            }
        }
        let gathered = invocation.gathered.take();
        let known = Known {
            key: request_id.to_owned(),
            request_id: Some(request_id.to_owned()),
            traces,
            deadline_ms: invocation.deadline_ms,
            max_memory_mb: invocation.max_memory_mb,
            lines: Vec::new(),
        };
        self.tell(gathered, known, now);
        others.into_iter().for_each(|stray| self.tell_of_stray(stray, now));
    }

    /// Tells all that is left: nothing more will come.
    pub fn finish(&mut self, now: SystemTime, lookup: Lookup<'_>) {
        let all: Vec<_> = self.invocations.iter().map(|it| it.request_id.clone()).collect();
        all.iter().for_each(|request_id| self.conclude(request_id, now, lookup));
        if let Some(ended) = self.failed_init.take() {
            self.tell_of_init(ended, now);
        }
        self.tell_of_strays(now);
        let folded = self.bursts.finish();
        folded.into_iter().for_each(|made| self.push(made));
    }
}

impl Failures {
    /// Something new of these invocations: those that are over are told of at once.
    fn tell_of(&mut self, touched: Vec<String>, now: SystemTime, lookup: Lookup<'_>) {
        for request_id in touched {
            let found = self.invocations.iter().find(|it| it.request_id == request_id);
            if !self.ends_are_told || found.is_some_and(|it| it.is_done) {
                self.conclude(&request_id, now, lookup);
            }
        }
        self.fold(now);
    }

    fn tell_of_strays(&mut self, now: SystemTime) {
        let strays = std::mem::take(&mut self.strays);
        strays.into_iter().for_each(|stray| self.tell_of_stray(stray, now));
    }

    fn tell_of_init(&mut self, ended: Ended, now: SystemTime) {
        let key = format!("init {}", ended.time_ms);
        let mut gathered = self.stray("", now).take();
        gathered.ended = Some(ended);
        self.tell(gathered, Known { key, ..Known::default() }, now);
    }

    /// Of no invocation, or too late for its own.
    fn tell_of_stray(&mut self, gathered: Gathered, now: SystemTime) {
        let has_trace = |it: &&Invocation| {
            it.gathered.trace_ids.iter().any(|id| gathered.trace_ids.contains(id))
        };
        if let Some(owner) = self.invocations.iter().rev().find(has_trace) {
            let request_id = Some(owner.request_id.clone());
            let known = Known { key: owner.request_id.clone(), request_id, ..Known::default() };
            return self.tell(gathered, known, now);
        }
        let logged = || {
            let first = gathered.failures.first()?;
            Some(format!("log {} {}", first.time_ms, first.message))
        };
        let key = gathered.trace_ids.first().cloned().or_else(logged).unwrap_or_default();
        self.tell(gathered, Known { key, ..Known::default() }, now);
    }

    fn tell(&mut self, gathered: Gathered, mut known: Known, now: SystemTime) {
        if gathered.is_empty() {
            return;
        }
        known.lines = self.last_lines(known.request_id.as_deref(), &gathered.trace_ids);
        for made in self.maker.messages(&gathered, &known) {
            self.offer(made, now);
        }
        // Spans of a service that were told of before anybody knew whose they are.
        let service = gathered.service().to_owned();
        let as_stray = |trace_id: &String| format!("{trace_id} {service}");
        let mut keys: Vec<_> = gathered.trace_ids.iter().map(as_stray).collect();
        let is_told = |key: &String| self.told.contains(key);
        if !is_told(&known.key)
            && !keys.iter().any(is_told)
            && let Some(made) = self.maker.failure(&gathered, &known)
        {
            if known.request_id.is_some() {
                keys.clear();
            }
            keys.push(known.key);
            keys.into_iter().for_each(|key| self.remember(key));
            self.offer(made, now);
        }
    }

    fn offer(&mut self, made: Made, now: SystemTime) {
        if let Some(made) = self.bursts.offer(made, now) {
            self.push(made);
        }
    }

    fn fold(&mut self, now: SystemTime) {
        let due = self.bursts.due(now);
        due.into_iter().for_each(|made| self.push(made));
    }

    fn push(&mut self, made: Made) {
        let Made { id, item, is_error, .. } = made;
        let bytes = format!("{id} {}\n", fitted(item)).into();
        let (kind, has_error) = (Kind::Failures, is_error);
        self.made.push(Signal { kind, bytes, items: 1, has_error, has_unsampled: false });
    }

    fn remember(&mut self, key: String) {
        if self.told.len() == MAX_TOLD {
            self.told.pop_front();
        }
        self.told.push_back(key);
    }

    fn keep_line(&mut self, time_ms: i64, json: &str) {
        if json.len() > MAX_LINE_BYTES {
            return;
        }
        if self.lines.len() == KEPT_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back((time_ms, Bytes::copy_from_slice(json.as_bytes())));
    }

    /// Of an invocation, or outside of any. Log records may name only the trace.
    fn last_lines(&self, request_id: Option<&str>, trace_ids: &[String]) -> Vec<Entry> {
        let is_its = |line: &Logged| match &line.request_id {
            None if !line.trace_id.is_empty() => trace_ids.contains(&line.trace_id),
            named => named.as_deref() == request_id,
        };
        let mut entries: Vec<Entry> = Vec::new();
        for (time_ms, json) in self.lines.iter().rev() {
            let logged = std::str::from_utf8(json).ok().and_then(Logged::read);
            let Some(logged) = logged.filter(is_its) else { continue };
            entries.push(Entry {
                level: logged.level,
                kind: "log".to_owned(),
                source: "server".to_owned(),
                timestamp_ms: (*time_ms).max(0),
                body: json!({ "message": logged.message }),
            });
            if entries.len() == LAST_LINES {
                break;
            }
        }
        entries.reverse();
        entries
    }

    /// The invocation in whose trace something happened: one that is going on, unless its server
    /// span may come yet; then one that is over.
    fn of_trace(&self, trace_id: &str) -> Option<String> {
        if trace_id.is_empty() {
            return None;
        }
        let mut known = self.invocations.iter().rev();
        let has_it = |it: &&Invocation| it.gathered.trace_ids.iter().any(|id| id == trace_id);
        let is_going_on = |it: &&Invocation| !it.is_done;
        let going_on = self.ends_are_told && known.clone().any(|it| is_going_on(&it));
        let found = known.find(|it| has_it(it) && (!going_on || is_going_on(it)));
        found.map(|it| it.request_id.clone())
    }

    fn stray(&mut self, trace_id: &str, now: SystemTime) -> &mut Gathered {
        let is_it = |stray: &Gathered| match trace_id {
            "" => stray.trace_ids.is_empty(),
            trace_id => stray.trace_ids.iter().any(|id| id == trace_id),
        };
        let index = self.strays.iter().position(is_it).unwrap_or_else(|| {
            if self.strays.len() == MAX_TRACES
                && let Some(oldest) = self.strays.pop_front()
            {
                self.tell_of_stray(oldest, now);
            }
            self.strays.push_back(Gathered::default());
            self.strays.len() - 1
        });
        &mut self.strays[index]
    }

    fn invocation(
        &mut self,
        request_id: &str,
        now: SystemTime,
        lookup: Lookup<'_>,
    ) -> &mut Invocation {
        let found = self.invocations.iter().position(|it| it.request_id == request_id);
        let index = found.unwrap_or_else(|| {
            if self.invocations.len() == REMEMBERED {
                let oldest = self.invocations[0].request_id.clone();
                self.conclude(&oldest, now, lookup);
                self.invocations.pop_front();
            }
            let request_id = request_id.to_owned();
            self.invocations.push_back(Invocation { request_id, ..Invocation::default() });
            self.invocations.len() - 1
        });
        &mut self.invocations[index]
    }
}

#[cfg(test)]
mod tests;
