//! Events of the Telemetry API become lines.

use std::{borrow::Cow, time::SystemTime};

use anstream::adapter::strip_str;
use serde::Serialize;
use serde_json::Value;

use super::{
    Line, MAX_LINE_BYTES, Signals,
    context::{Context, Phase, xray_trace_id},
    json::{Fields, Object, cut},
    level::{Level, level_in},
    wording,
};
use crate::{
    config::Config,
    extensions_api::Invoke,
    platform::{RawEvent, Traces},
    scrub::Scrubber,
    signal::Signal,
};

/// Makes lines; knows what the platform has told so far.
#[derive(Debug)]
pub struct Lines {
    scrubber: Scrubber,
    context: Context,
}

/// The fields that are the extension's alone: see the table in [`crate::lines`].
const PLATFORMS_OWN: [&str; 4] = ["requestId", "xray_trace_id", "lambda", "claimed"];

impl Lines {
    /// Nothing has happened yet.
    pub fn new(config: &Config) -> Self {
        let Config { function_name, function_version, scrub, .. } = config;
        let context = Context::new(function_name.clone(), function_version.clone());
        Self { scrubber: Scrubber::new(scrub), context }
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
        line.end();
        let json = self.scrubber.json(&line.0);
        if json.len() <= MAX_LINE_BYTES {
            return (json, is_error);
        }
        let level = fields.level().and_then(|level| level.as_str().map(str::to_owned));
        (self.wrapped(event, level.as_deref(), &json, None, traces), is_error)
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
        (self.wrapped(event, level, &masked, None, traces), is_error)
    }

    fn platform(
        &mut self,
        event: &RawEvent<'_>,
        traces: &impl Fn(&str) -> Traces,
    ) -> (String, bool) {
        let record = serde_json::from_str(event.record).unwrap_or(Value::Null);
        self.context.platform(&event.kind, &record, event.time);
        let (level, message) = wording::of(&event.kind, &record);
        let record = self.scrubber.json(event.record);
        let named = Some((event.kind.as_ref(), record.as_str()));
        (self.wrapped(event, Some(level), &message, named, traces), level == "ERROR")
    }

    /// A line around a text, and around a platform record of this type.
    fn wrapped(
        &mut self,
        event: &RawEvent<'_>,
        level: Option<&str>,
        text: &str,
        record: Option<(&str, &str)>,
        traces: &impl Fn(&str) -> Traces,
    ) -> String {
        let mut line = Object::new();
        line.add("timestamp", &timestamp(event.time));
        if let Some(level) = level {
            line.add("level", &level);
        }
        let named = record.and_then(|(_, record)| {
            serde_json::from_str::<Fields<'_>>(record).ok()?.text("requestId")
        });
        let mut rest = Object::new();
        if let Some((kind, record)) = record {
            rest.add("type", &kind);
            if record.len() < MAX_LINE_BYTES / 2 {
                rest.raw("record", record);
            }
        }
        self.ours(named.as_deref(), None, event.time, traces).write(&mut rest, false);
        let room = MAX_LINE_BYTES.saturating_sub(line.0.len() + rest.0.len() + 64);
        let kept = cut(text, room);
        line.add("message", &kept);
        if kept.len() < text.len() {
            line.add("cut_from_bytes", &text.len());
        }
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
        let mut ours = Ours { lambda: String::new(), ..Ours::default() };
        let mut is_first = true;
        if let Some(invocation) = self.context.invocation(named, time) {
            let known = traces(&invocation.request_id);
            if trace_id.is_some() {
                invocation.trace_id = trace_id;
            }
            if invocation.xray_trace_id.is_none() {
                invocation.xray_trace_id = known.xray_header.as_deref().and_then(xray_trace_id);
            }
            let server = known.server.map(|(trace, span)| (trace.to_string(), span.to_string()));
            (ours.trace_id, ours.span_id) = server.unzip();
            ours.trace_id = ours.trace_id.or_else(|| invocation.trace_id.clone());
            ours.xray_trace_id.clone_from(&invocation.xray_trace_id);
            ours.request_id = Some(invocation.request_id.clone());
            is_first = invocation.is_first;
        }
        let Context { function, version, initialization_type, phase, .. } = &self.context;
        let lambda = Lambda { function, version, is_first, initialization_type, phase: *phase };
        ours.lambda = serde_json::to_string(&lambda).unwrap_or_else(|_| "{}".to_owned());
        ours
    }
}

/// What the extension adds.
#[derive(Debug, Default)]
struct Ours {
    request_id: Option<String>,
    xray_trace_id: Option<String>,
    trace_id: Option<String>,
    span_id: Option<String>,
    lambda: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Lambda<'a> {
    function: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: &'a Option<String>,
    #[serde(rename = "coldStart")]
    is_first: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    initialization_type: &'a Option<String>,
    phase: Phase,
}

impl Ours {
    /// Whether a field of the line says the same.
    fn says(&self, key: &str, value: &str) -> bool {
        let own = match key {
            "requestId" => &self.request_id,
            "xray_trace_id" => &self.xray_trace_id,
            _ => return false,
        };
        let value = serde_json::from_str::<Cow<'_, str>>(value);
        own.as_deref().zip(value.ok()).is_some_and(|(own, value)| own == value)
    }

    fn write(&self, line: &mut Object, has_trace_id: bool) {
        let traces = [("trace_id", &self.trace_id), ("span_id", &self.span_id)];
        let fields = [("requestId", &self.request_id), ("xray_trace_id", &self.xray_trace_id)];
        let traces = traces.into_iter().filter(|_| !has_trace_id);
        for (key, value) in fields.into_iter().chain(traces) {
            if let Some(value) = value {
                line.add(key, value);
            }
        }
        line.raw("lambda", &self.lambda);
    }
}

fn unix_ms(time: SystemTime) -> i64 {
    jiff::Timestamp::try_from(time).map_or(0, jiff::Timestamp::as_millisecond)
}

fn timestamp(time: SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).unwrap_or_default();
    time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}
