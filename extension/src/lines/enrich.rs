//! Events of the Telemetry API become lines.

use std::{borrow::Cow, time::SystemTime};

use anstream::adapter::strip_str;
use serde_json::{Value, json};

use super::{
    Line, MAX_LINE_BYTES, MESSAGE_BYTES, Signals,
    context::{Context, Invocation, xray_trace_id},
    emf::{self, AccessLines, Metrics, Outcome},
    json::{Fields, Object, cut},
    level::{Level, level_in},
    ours::{Ours, PLATFORMS_OWN},
    timestamp, unix_ms, wording,
};
use crate::{
    config::Config,
    extensions_api::{Invoke, Shutdown},
    platform::{RawEvent, Traces},
    scrub::Scrubber,
    signal::Signal,
};

/// Makes lines; knows what the platform has told so far.
#[derive(Debug)]
pub struct Lines {
    scrubber: Scrubber,
    context: Context,
    access_lines: AccessLines,
}

impl Lines {
    /// Nothing has happened yet.
    pub fn new(config: &Config) -> Self {
        let Config { function_name, function_version, scrub, .. } = config;
        let context = Context::new(function_name.clone(), function_version.clone());
        let access_lines = AccessLines::default();
        Self { scrubber: Scrubber::new(scrub), context, access_lines }
    }

    /// The Extensions API tells of an invocation.
    pub fn invoked(&mut self, invoke: &Invoke, now: SystemTime) {
        self.context.invoked(invoke, now);
    }

    /// The lines of one POST. `traces` looks an invocation up.
    pub fn take(
        &mut self,
        events: &[RawEvent<'_>],
        traces: impl Fn(&str) -> Traces,
    ) -> Vec<Signal> {
        let mut signals = Signals::default();
        for event in events {
            let (json, is_error) = match event.kind.as_ref() {
                "function" => self.function(event, &traces),
                // Ours among them: its own log lines must never come back to it.
                "extension" => continue,
                _ => self.platform(event, &traces),
            };
            signals.push(Line { time_ms: unix_ms(event.time), json: &json }, is_error);
        }
        signals.finish()
    }

    /// The invocation whose metrics have not been told yet.
    pub fn unreported(&mut self) -> Option<String> {
        Some(self.context.unreported()?.request_id.clone())
    }

    /// The sandbox ends: a line about the invocation whose report will never come.
    pub fn shut_down(&mut self, shutdown: &Shutdown, now: SystemTime) -> Vec<Signal> {
        let mut signals = Signals::default();
        let reason = shutdown.shutdown_reason.to_ascii_lowercase();
        let ended_well = reason.is_empty() || reason == "spindown";
        let function = self.context.function.clone();
        if let Some(invocation) = self.context.unreported() {
            let request_id = invocation.request_id.clone();
            let status = (!ended_well).then_some(reason.as_str());
            let outcome = report(invocation, status);
            let metrics = Some(emf::invocation(&function, outcome, &Value::Null));
            let json = json!({ "requestId": request_id, "reason": reason }).to_string();
            let kind = "extension.shutdown";
            let request_id = Some(request_id.as_str());
            let record = Record { kind, json: &json, request_id, metrics };
            let level = if ended_well { "INFO" } else { "ERROR" };
            let text = format!("The sandbox ends before the invocation's report: {reason}");
            let none = |_: &str| Traces::default();
            let json = self.wrapped(now, Some(level), &text, Some(&record), &none);
            signals.push(Line { time_ms: unix_ms(now), json: &json }, !ended_well);
        }
        signals.finish()
    }

    fn function(
        &mut self,
        event: &RawEvent<'_>,
        traces: &impl Fn(&str) -> Traces,
    ) -> (String, bool) {
        if let Ok(fields) = serde_json::from_str::<Fields<'_>>(event.record) {
            return self.object(event, &fields, traces);
        }
        // A string with an escape that no text can have stays as it came.
        let text = serde_json::from_str::<Cow<'_, str>>(event.record);
        let text = text.unwrap_or(Cow::Borrowed(event.record.trim_matches('"')));
        match serde_json::from_str::<Fields<'_>>(&text) {
            Ok(fields) => self.object(event, &fields, traces),
            Err(_) => self.text(event, &text, traces),
        }
    }

    /// A line that is a JSON object.
    fn object(
        &mut self,
        event: &RawEvent<'_>,
        fields: &Fields<'_>,
        traces: &impl Fn(&str) -> Traces,
    ) -> (String, bool) {
        let is_error = fields.level().is_some_and(|level| level.is_error());
        let mut line = self.object_begun(event, fields, traces);
        let value = |key: &str| serde_json::from_str(fields.get(key)?).ok();
        if let Some(metrics) = self.access_lines.metrics(value).filter(|_| !fields.has("_aws")) {
            let members = metrics.members(event.time);
            members.iter().for_each(|(key, value)| line.add(key, value));
        }
        line.end();
        let json = self.scrubber.json(&line.0);
        if json.len() <= MAX_LINE_BYTES {
            return (json, is_error);
        }
        let level = fields.level().and_then(|level| level.as_str().map(str::to_owned));
        (self.wrapped(event.time, level.as_deref(), &json, None, traces), is_error)
    }

    fn object_begun(
        &mut self,
        event: &RawEvent<'_>,
        fields: &Fields<'_>,
        traces: &impl Fn(&str) -> Traces,
    ) -> Object {
        let named = fields.text("requestId");
        let ours = self.ours(named.as_deref(), fields.text("trace_id"), event.time, traces);
        let mut line = Object::new();
        let mut claimed = Object::new();
        for (key, value) in &fields.0 {
            if !PLATFORMS_OWN.contains(&key.as_ref()) {
                line.raw(key, value);
            } else if !ours.says(key, value) {
                claimed.raw(key, value);
            }
        }
        ours.write(&mut line, fields.has("trace_id"));
        if !claimed.is_empty() {
            claimed.end();
            line.raw("claimed", &claimed.0);
        }
        line
    }

    fn text(
        &mut self,
        event: &RawEvent<'_>,
        text: &str,
        traces: &impl Fn(&str) -> Traces,
    ) -> (String, bool) {
        let plain = match text.contains('\x1b') {
            true => Cow::Owned(strip_str(text).to_string()),
            false => Cow::Borrowed(text),
        };
        let level = level_in(&plain);
        let masked = self.scrubber.text(plain.trim_end_matches(['\n', '\r'])).into_owned();
        let is_error = level.is_some_and(|level| Level::Name(level.into()).is_error());
        (self.wrapped(event.time, level, &masked, None, traces), is_error)
    }

    fn platform(
        &mut self,
        event: &RawEvent<'_>,
        traces: &impl Fn(&str) -> Traces,
    ) -> (String, bool) {
        let record = serde_json::from_str(event.record).unwrap_or(Value::Null);
        self.context.platform(&event.kind, &record, event.time);
        let (level, message) = wording::of(&event.kind, &record);
        let json = self.scrubber.json(event.record);
        let request_id = record["requestId"].as_str();
        let metrics = (event.kind == "platform.report").then(|| {
            let status = record["status"].as_str();
            let outcome = request_id.and_then(|id| report(self.context.find(id)?, status));
            emf::invocation(&self.context.function, outcome, &record)
        });
        let record = Record { kind: &event.kind, json: &json, request_id, metrics };
        (self.wrapped(event.time, Some(level), &message, Some(&record), traces), level == "ERROR")
    }

    /// A line around a text, and around a platform record.
    fn wrapped(
        &mut self,
        time: SystemTime,
        level: Option<&str>,
        text: &str,
        record: Option<&Record<'_>>,
        traces: &impl Fn(&str) -> Traces,
    ) -> String {
        let mut line = Object::new();
        line.add("timestamp", &timestamp(time));
        if let Some(level) = level {
            line.add("level", &level);
        }
        let mut rest = Object::new();
        if let Some(record) = record {
            rest.add("type", &record.kind);
            if record.json.len() < MAX_LINE_BYTES / 2 {
                rest.raw("record", record.json);
            }
            let members = record.metrics.iter().flat_map(|metrics| metrics.members(time));
            members.for_each(|(key, value)| rest.add(key, &value));
        }
        let request_id = record.and_then(|record| record.request_id);
        let ours = match request_id.filter(|id| self.context.find(id).is_none()) {
            // The platform may speak of one that began before this process.
            Some(unknown) => Ours::of_unknown(&self.context, unknown),
            None => self.ours(request_id, None, time, traces),
        };
        ours.write(&mut rest, false);
        let room = MAX_LINE_BYTES.saturating_sub(line.0.len() + rest.0.len() + MESSAGE_BYTES);
        let mut kept = cut(text, room);
        if kept.len() < text.len() {
            line.add("cut_from_bytes", &text.len());
            kept = cut(text, room.saturating_sub(CUT_BYTES));
        }
        line.add("message", &kept);
        line.extend(&rest);
        line.end();
        line.0
    }

    fn ours(
        &mut self,
        named: Option<&str>,
        trace_id: Option<String>,
        time: SystemTime,
        traces: &impl Fn(&str) -> Traces,
    ) -> Ours {
        match self.context.invocation(named, time) {
            Some(invocation) => {
                if trace_id.is_some() {
                    invocation.trace_id = trace_id;
                }
                let known = traces(&invocation.request_id);
                if invocation.xray_trace_id.is_none() {
                    let header = known.xray_header.as_deref();
                    invocation.xray_trace_id = header.and_then(xray_trace_id);
                }
                let invocation = invocation.clone();
                Ours::of(&self.context, &invocation, &known)
            }
            None => Ours::of_nothing(&self.context),
        }
    }
}

/// What `cut_from_bytes` takes.
const CUT_BYTES: usize = 40;

/// A record that the platform, or the end of the sandbox, adds to a line.
#[derive(Debug)]
struct Record<'a> {
    kind: &'a str,
    json: &'a str,
    request_id: Option<&'a str>,
    metrics: Option<Metrics>,
}

/// How an invocation ended, unless that has been told.
fn report(invocation: &mut Invocation, status: Option<&str>) -> Option<Outcome> {
    let is_news = !std::mem::replace(&mut invocation.is_reported, true);
    let status = status.or(invocation.status.as_deref()).unwrap_or("success");
    is_news.then(|| Outcome {
        is_first: invocation.is_first,
        failed: status != "success",
        timed_out: status == "timeout",
    })
}
