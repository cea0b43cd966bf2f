//! Makes lines of the Telemetry API's events.

use std::{borrow::Cow, sync::Arc, time::SystemTime};

use serde_json::{Value, json};
use trace_context::TraceId;

use crate::invocation::attempt::{Attempt, AttemptId, LineOwner};
use crate::invocation::registry::Registry;
use crate::lambda::extensions_api::Shutdown;
use crate::lambda::telemetry_event::RawEvent;
use crate::otlp::line_codec::{LinePayloads, LogLine, MAX_LINE_BYTES};
use crate::otlp::log_level::LogLevel;
use crate::otlp::payload::Payload;
use crate::processor::log_lines::emf::{AccessLines, EmfMetrics, InvocationOutcome};
use crate::processor::log_lines::invocation_fields::{InvocationFields, LastFields, PLATFORMS_OWN};
use crate::processor::log_lines::json::{JsonFields, JsonObject, cut, is_unset_id, text_of};
use crate::processor::log_lines::level::level_in;
use crate::processor::log_lines::sandbox_facts::SandboxFacts;
use crate::processor::log_lines::shorten::MESSAGE_BYTES;
use crate::processor::log_lines::{emf, platform_message};
use crate::scrub::Scrubber;
use crate::text::without_colours;
use crate::time::{timestamp, unix_ms};

/// The function's description in lines, and the secrets to mask.
#[derive(Clone, Debug)]
pub struct LineSettings {
    pub function_name: String,
    pub function_version: Option<String>,
    /// Names of secrets in addition to the built-in list; `None` masks nothing.
    pub scrub: Option<Vec<String>>,
}

/// Makes lines, with the state of the platform's earlier events.
#[derive(Debug)]
pub struct LineEnricher {
    scrubber: Scrubber,
    facts: SandboxFacts,
    /// The facts for the posts of an earlier process; the present ones while such a post is read.
    other_facts: SandboxFacts,
    is_earlier: bool,
    /// Made of the present facts.
    last_fields: LastFields,
    registry: Registry,
    access_lines: AccessLines,
}

impl LineEnricher {
    pub fn new(settings: LineSettings, registry: Registry) -> Self {
        let LineSettings { function_name, function_version, scrub } = settings;
        let facts = SandboxFacts::new(function_name, function_version);
        let mut other_facts = facts.clone();
        other_facts.on_start();
        let access_lines = AccessLines::default();
        let scrubber = Scrubber::configured(scrub.as_deref());
        let last_fields = LastFields::default();
        Self {
            scrubber,
            facts,
            other_facts,
            is_earlier: false,
            last_fields,
            registry,
            access_lines,
        }
    }

    /// The next events arrived in this process, or in an earlier one of the sandbox.
    pub fn set_earlier(&mut self, is_earlier: bool) {
        if is_earlier != self.is_earlier {
            std::mem::swap(&mut self.facts, &mut self.other_facts);
            self.last_fields.clear();
            self.is_earlier = is_earlier;
        }
    }

    /// Makes the line of an event. `attempt` is the one that a platform event is about, and `owner` that of
    /// other lines.
    pub fn add_line(
        &mut self,
        event: &RawEvent<'_>,
        attempt: Option<AttemptId>,
        owner: LineOwner,
        lines: &mut LinePayloads,
    ) {
        let (json, is_error) = match event.kind.as_ref() {
            "function" => self.function(event, owner),
            // Lines of extensions, also our own: these must not return to us.
            "extension" => return,
            _ => self.platform(event, attempt, owner),
        };
        lines.push(LogLine { time_ms: unix_ms(event.time), json: &json }, is_error);
    }

    /// Handles SHUTDOWN: makes a line for each invocation whose report will never arrive.
    pub fn shut_down(&mut self, shutdown: &Shutdown, now: SystemTime) -> Vec<Payload> {
        self.set_earlier(false);
        let mut signals = LinePayloads::default();
        let reason = shutdown.shutdown_reason.to_ascii_lowercase();
        let left = self.registry.without_metrics();
        for (index, attempt) in left.iter().enumerate() {
            // The reason of the SHUTDOWN applies to the last invocation, and to others whose end no event
            // has reported.
            let is_over = index + 1 < left.len() && attempt.is_done();
            let ended_well = is_over || !shutdown.is_failure();
            let outcome = self.outcome(attempt, (!ended_well).then_some(reason.as_str()));
            let metrics = Some(emf::invocation(&self.facts.function, outcome, &Value::Null));
            let json = json!({ "requestId": &*attempt.request_id, "reason": reason }).to_string();
            let kind = "extension.shutdown";
            let record = LineRecord { kind, json: &json, metrics };
            let level = if ended_well { "INFO" } else { "ERROR" };
            let text = format!("The sandbox ends before the invocation's report: {reason}");
            let fields = InvocationFields::of(&self.facts, attempt);
            let json = wrapped(now, Some(level), &text, Some(&record), &fields);
            signals.push(LogLine { time_ms: unix_ms(now), json: &json }, !ended_well);
        }
        signals.finish()
    }

    fn function(&mut self, event: &RawEvent<'_>, owner: LineOwner) -> (String, bool) {
        if let Some(fields) = JsonFields::read(event.record) {
            return self.object(event, owner, &fields);
        }
        // A string with an invalid escape is kept as it came.
        let text = text_of(event.record);
        let text = text.unwrap_or(Cow::Borrowed(event.record.trim_matches('"')));
        match JsonFields::read(&text) {
            Some(fields) => self.object(event, owner, &fields),
            None => self.text(event, owner, &text),
        }
    }

    /// A line that is a JSON object.
    fn object(
        &mut self,
        event: &RawEvent<'_>,
        owner: LineOwner,
        fields: &JsonFields<'_>,
    ) -> (String, bool) {
        let is_error = fields.level() >= Some(LogLevel::Error);
        let attempt = self.attempt(event, owner, fields);
        self.mark_error(attempt.as_ref(), is_error);
        let ours = self.invocation_fields(attempt.as_ref());
        let mut line = object_begun(fields, &ours);
        let value = |key: &str| serde_json::from_str(fields.get(key)?).ok();
        let members = self.access_lines.members(event.time, value);
        members.iter().for_each(|(key, value)| line.add(key, value));
        let json = self.scrubber.json(&line.end());
        if json.len() <= MAX_LINE_BYTES {
            return (json, is_error);
        }
        let level = fields.level().map(LogLevel::name);
        (wrapped(event.time, level, &json, None, &ours), is_error)
    }

    /// The attempt that a JSON line belongs to, whose first trace id it may bring.
    fn attempt(
        &mut self,
        event: &RawEvent<'_>,
        owner: LineOwner,
        fields: &JsonFields<'_>,
    ) -> Option<Attempt> {
        let trace_id = fields.text("trace_id").and_then(|id| TraceId::from_hex(&id));
        let owner = match trace_id.and_then(|id| self.registry.of_trace(id)) {
            Some(attempt) => Some(attempt).into(),
            None => owner,
        };
        let mut attempt =
            self.attempt_of(fields.text("requestId").as_deref(), owner, event.time)?;
        if let (None, Some(trace_id)) = (attempt.line_trace_id, trace_id) {
            self.registry.set_line_trace(attempt.id, trace_id);
            attempt.line_trace_id = Some(trace_id);
        }
        Some(attempt)
    }

    fn attempt_of(
        &mut self,
        named: Option<&str>,
        owner: LineOwner,
        time: SystemTime,
    ) -> Option<Attempt> {
        let id = self.registry.of_line(named, owner, time)?;
        if !self.facts.has_started() {
            self.facts.on_start(); // the start event has not arrived
            self.last_fields.clear();
        }
        self.registry.get(id)
    }

    fn mark_error(&self, attempt: Option<&Attempt>, is_error: bool) {
        if let Some(attempt) = attempt.filter(|it| is_error && !it.has_error_line) {
            self.registry.set_error_line(attempt.id);
        }
    }

    fn invocation_fields(&mut self, attempt: Option<&Attempt>) -> Arc<InvocationFields> {
        match attempt {
            Some(attempt) => self.last_fields.get(&self.facts, attempt),
            None => InvocationFields::of_none(&self.facts, &self.registry).into(),
        }
    }

    fn text(&mut self, event: &RawEvent<'_>, owner: LineOwner, text: &str) -> (String, bool) {
        let plain = without_colours(text);
        let level = level_in(&plain);
        let masked = self.scrubber.text(plain.trim_end_matches(['\n', '\r'])).into_owned();
        let is_error = level.and_then(LogLevel::parse) >= Some(LogLevel::Error);
        let attempt = self.attempt_of(None, owner, event.time);
        self.mark_error(attempt.as_ref(), is_error);
        let ours = self.invocation_fields(attempt.as_ref());
        (wrapped(event.time, level, &masked, None, &ours), is_error)
    }

    fn platform(
        &mut self,
        event: &RawEvent<'_>,
        attempt: Option<AttemptId>,
        owner: LineOwner,
    ) -> (String, bool) {
        let record = serde_json::from_str(event.record).unwrap_or(Value::Null);
        self.facts.on_platform_event(&event.kind, &record);
        self.last_fields.clear();
        let (level, message) = platform_message::of(&event.kind, &record);
        let json = self.scrubber.json(event.record);
        let request_id = record["requestId"].as_str();
        let attempt = attempt.or_else(|| self.registry.of_line(request_id, owner, event.time));
        let attempt = attempt.and_then(|id| self.registry.get(id));
        let attempt = attempt.filter(|it| request_id.is_none_or(|id| *id == *it.request_id));
        let metrics = (event.kind == "platform.report").then(|| {
            let known = attempt.as_ref().filter(|it| it.has_begun());
            let outcome = known.and_then(|it| self.outcome(it, record["status"].as_str()));
            emf::invocation(&self.facts.function, outcome, &record)
        });
        let record = LineRecord { kind: &event.kind, json: &json, metrics };
        let ours = match (&attempt, request_id) {
            // The record may be about an invocation that began before this process.
            (None, Some(unknown)) => InvocationFields::of_unknown(&self.facts, unknown).into(),
            (attempt, _) => self.invocation_fields(attempt.as_ref()),
        };
        let json = wrapped(event.time, Some(level), &message, Some(&record), &ours);
        (json, level == "ERROR")
    }

    /// The outcome of an invocation; `None` from the second call on.
    fn outcome(&self, attempt: &Attempt, status: Option<&str>) -> Option<InvocationOutcome> {
        let status = status.or(attempt.status.as_deref()).filter(|status| !status.is_empty());
        let status = status.unwrap_or("success");
        self.registry.claim_metrics(attempt.id).then(|| InvocationOutcome {
            is_first: attempt.is_first,
            failed: status != "success",
            timed_out: status == "timeout",
        })
    }
}

/// A JSON line of the function with our fields, without its end.
fn object_begun(fields: &JsonFields<'_>, ours: &InvocationFields) -> JsonObject {
    let mut line = JsonObject::new();
    let mut claimed = JsonObject::new();
    for (key, value) in &fields.0 {
        let key = key.as_ref();
        if ["trace_id", "span_id"].contains(&key) && is_unset_id(value) {
            continue; // an unset id is replaced by ours
        }
        if !PLATFORMS_OWN.contains(&key) {
            line.raw(key, value);
        } else if !ours.says(key, value) {
            claimed.raw(key, value);
        }
    }
    ours.write(&mut line, |key| match key {
        "tenantId" => fields.get(key).is_some(),
        _ => fields.has_id(key),
    });
    if !claimed.is_empty() {
        line.raw("claimed", &claimed.end());
    }
    line
}

/// Makes a line of a text, a platform record, or a JSON line that is too long.
fn wrapped(
    time: SystemTime,
    level: Option<&str>,
    text: &str,
    record: Option<&LineRecord<'_>>,
    ours: &InvocationFields,
) -> String {
    let mut line = JsonObject::new();
    line.add("timestamp", &timestamp(time));
    if let Some(level) = level {
        line.add("level", &level);
    }
    let (mut rest, mut cut_from) = (JsonObject::new(), 0);
    if let Some(record) = record {
        rest.add("type", &record.kind);
        if record.json.len() < MAX_LINE_BYTES / 2 {
            rest.raw("record", record.json);
        } else {
            cut_from += record.json.len();
        }
        let members = record.metrics.iter().flat_map(|metrics| metrics.members(time));
        members.for_each(|(key, value)| rest.add(key, &value));
    }
    ours.write(&mut rest, |_| false);
    let room = MAX_LINE_BYTES.saturating_sub(line.len() + rest.len() + MESSAGE_BYTES);
    let room = room.saturating_sub(CUT_BYTES);
    let kept = cut(text, room);
    if kept.len() < text.len() {
        cut_from += text.len();
    }
    if cut_from > 0 {
        line.add("cut_from_bytes", &cut_from);
    }
    line.add("message", &kept);
    line.extend(&rest);
    line.end()
}

/// Most bytes of the member `cut_from_bytes`.
const CUT_BYTES: usize = 40;

/// A record of the platform, or of the end of the sandbox.
#[derive(Debug)]
struct LineRecord<'a> {
    kind: &'a str,
    json: &'a str,
    metrics: Option<EmfMetrics>,
}
