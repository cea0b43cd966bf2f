//! Makes lines of the Telemetry API's events.

use std::{borrow::Cow, time::SystemTime};

use serde_json::{Value, json};
use trace_context::TraceId;

use crate::lambda::extensions_api::{Invoke, Shutdown};
use crate::lambda::telemetry_event::RawEvent;
use crate::otlp::line_codec::{LinePayloads, LogLine, MAX_LINE_BYTES};
use crate::otlp::log_level::LogLevel;
use crate::otlp::payload::Payload;
use crate::processor::log_lines::context::{InvocationState, LineContext, xray_trace_id};
use crate::processor::log_lines::emf::{AccessLines, EmfMetrics, InvocationOutcome};
use crate::processor::log_lines::invocation_fields::{InvocationFields, PLATFORMS_OWN};
use crate::processor::log_lines::json::{JsonFields, JsonObject, cut, is_empty};
use crate::processor::log_lines::level::level_in;
use crate::processor::log_lines::shorten::MESSAGE_BYTES;
use crate::processor::log_lines::{emf, platform_message};
use crate::processor::platform_spans::TraceRefs;
use crate::scrub::Scrubber;
use crate::text::without_colours;
use crate::time::{timestamp, unix_ms};

/// The function's description in lines, and the secrets to mask.
#[derive(Clone, Debug)]
pub struct LineSettings {
    pub function_name: String,
    pub function_version: Option<String>,
    /// Names of secrets in addition to the built-in list.
    pub scrub: Vec<String>,
}

/// Makes lines, with the state of the platform's earlier events.
#[derive(Debug)]
pub struct LineEnricher {
    scrubber: Scrubber,
    context: LineContext,
    access_lines: AccessLines,
}

impl LineEnricher {
    pub fn new(settings: LineSettings) -> Self {
        let LineSettings { function_name, function_version, scrub } = settings;
        let context = LineContext::new(function_name, function_version);
        let access_lines = AccessLines::default();
        Self { scrubber: Scrubber::new(&scrub), context, access_lines }
    }

    pub fn invoked(&mut self, invoke: &Invoke, now: SystemTime) {
        self.context.invoked(invoke, now);
    }

    /// Makes the lines of one POST. `traces` looks up an invocation's trace ids.
    pub fn take(
        &mut self,
        events: &[RawEvent<'_>],
        traces: impl Fn(&str) -> TraceRefs,
    ) -> Vec<Payload> {
        let mut signals = LinePayloads::default();
        for event in events {
            let (json, is_error) = match event.kind.as_ref() {
                "function" => self.function(event, &traces),
                // Lines of extensions, also our own: these must not return to us.
                "extension" => continue,
                _ => self.platform(event, &traces),
            };
            signals.push(LogLine { time_ms: unix_ms(event.time), json: &json }, is_error);
        }
        signals.finish()
    }

    /// The last invocation without metrics in a line.
    pub fn unreported(&self) -> Option<String> {
        Some(self.context.unreported()?.request_id.clone())
    }

    /// Handles SHUTDOWN: makes a line for each invocation whose report will never arrive.
    pub fn shut_down(&mut self, shutdown: &Shutdown, now: SystemTime) -> Vec<Payload> {
        let mut signals = LinePayloads::default();
        let reason = shutdown.shutdown_reason.to_ascii_lowercase();
        let function = self.context.function.clone();
        let left: Vec<String> =
            self.context.all_unreported().map(|it| it.request_id.clone()).collect();
        for (index, request_id) in left.iter().enumerate() {
            let Some(invocation) = self.context.find(request_id) else { continue };
            // The reason of the SHUTDOWN applies to the last invocation, and to others whose end no event
            // has reported.
            let is_over = index + 1 < left.len() && invocation.status.is_some();
            let ended_well = is_over || !shutdown.is_failure();
            let outcome = report(invocation, (!ended_well).then_some(reason.as_str()));
            let metrics = Some(emf::invocation(&function, outcome, &Value::Null));
            let json = json!({ "requestId": request_id, "reason": reason }).to_string();
            let kind = "extension.shutdown";
            let record = LineRecord { kind, json: &json, metrics };
            let level = if ended_well { "INFO" } else { "ERROR" };
            let text = format!("The sandbox ends before the invocation's report: {reason}");
            let none = |_: &str| TraceRefs::default();
            let json =
                self.wrapped(now, Some(level), &text, Some(request_id), Some(&record), &none);
            signals.push(LogLine { time_ms: unix_ms(now), json: &json }, !ended_well);
        }
        signals.finish()
    }

    fn function(
        &mut self,
        event: &RawEvent<'_>,
        traces: &impl Fn(&str) -> TraceRefs,
    ) -> (String, bool) {
        if let Ok(fields) = serde_json::from_str::<JsonFields<'_>>(event.record) {
            return self.object(event, &fields, traces);
        }
        // A string with an invalid escape is kept as it came.
        let text = serde_json::from_str::<Cow<'_, str>>(event.record);
        let text = text.unwrap_or(Cow::Borrowed(event.record.trim_matches('"')));
        match serde_json::from_str::<JsonFields<'_>>(&text) {
            Ok(fields) => self.object(event, &fields, traces),
            Err(_) => self.text(event, &text, traces),
        }
    }

    /// A line that is a JSON object.
    fn object(
        &mut self,
        event: &RawEvent<'_>,
        fields: &JsonFields<'_>,
        traces: &impl Fn(&str) -> TraceRefs,
    ) -> (String, bool) {
        let is_error = fields.level() >= Some(LogLevel::Error);
        let mut line = self.object_begun(event, fields, traces);
        let value = |key: &str| serde_json::from_str(fields.get(key)?).ok();
        let members = self.access_lines.members(event.time, value);
        members.iter().for_each(|(key, value)| line.add(key, value));
        line.end();
        let json = self.scrubber.json(&line.0);
        if json.len() <= MAX_LINE_BYTES {
            return (json, is_error);
        }
        let level = fields.level().map(LogLevel::name);
        let named = fields.text("requestId");
        (self.wrapped(event.time, level, &json, named.as_deref(), None, traces), is_error)
    }

    fn object_begun(
        &mut self,
        event: &RawEvent<'_>,
        fields: &JsonFields<'_>,
        traces: &impl Fn(&str) -> TraceRefs,
    ) -> JsonObject {
        let named = fields.text("requestId");
        let trace_id = fields.text("trace_id").and_then(|id| TraceId::from_hex(&id));
        let ours = self.ours(named.as_deref(), trace_id, event.time, traces);
        let mut line = JsonObject::new();
        let mut claimed = JsonObject::new();
        for (key, value) in &fields.0 {
            let key = key.as_ref();
            if ["trace_id", "span_id"].contains(&key) && is_empty(value) {
                continue; // an empty id is replaced by ours
            }
            if !PLATFORMS_OWN.contains(&key) {
                line.raw(key, value);
            } else if !ours.says(key, value) {
                claimed.raw(key, value);
            }
        }
        ours.write(&mut line, |key| fields.says(key));
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
        traces: &impl Fn(&str) -> TraceRefs,
    ) -> (String, bool) {
        let plain = without_colours(text);
        let level = level_in(&plain);
        let masked = self.scrubber.text(plain.trim_end_matches(['\n', '\r'])).into_owned();
        let is_error = level.and_then(LogLevel::parse) >= Some(LogLevel::Error);
        (self.wrapped(event.time, level, &masked, None, None, traces), is_error)
    }

    fn platform(
        &mut self,
        event: &RawEvent<'_>,
        traces: &impl Fn(&str) -> TraceRefs,
    ) -> (String, bool) {
        let record = serde_json::from_str(event.record).unwrap_or(Value::Null);
        self.context.platform(&event.kind, &record, event.time);
        let (level, message) = platform_message::of(&event.kind, &record);
        let json = self.scrubber.json(event.record);
        let request_id = record["requestId"].as_str();
        let metrics = (event.kind == "platform.report").then(|| {
            let status = record["status"].as_str();
            let outcome = request_id.and_then(|id| report(self.context.find(id)?, status));
            emf::invocation(&self.context.function, outcome, &record)
        });
        let record = LineRecord { kind: &event.kind, json: &json, metrics };
        let json =
            self.wrapped(event.time, Some(level), &message, request_id, Some(&record), traces);
        (json, level == "ERROR")
    }

    /// Makes a line of a text, a platform record, or a JSON line that is too long; `named` is the request id
    /// in it.
    fn wrapped(
        &mut self,
        time: SystemTime,
        level: Option<&str>,
        text: &str,
        named: Option<&str>,
        record: Option<&LineRecord<'_>>,
        traces: &impl Fn(&str) -> TraceRefs,
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
        let unknown = named.filter(|id| record.is_some() && self.context.find(id).is_none());
        let ours = match unknown {
            // The record may be about an invocation that began before this process.
            Some(unknown) => InvocationFields::of_unknown(&self.context, unknown),
            None => self.ours(named, None, time, traces),
        };
        ours.write(&mut rest, |_| false);
        let room = MAX_LINE_BYTES.saturating_sub(line.0.len() + rest.0.len() + MESSAGE_BYTES);
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
        line.end();
        line.0
    }

    fn ours(
        &mut self,
        named: Option<&str>,
        trace_id: Option<TraceId>,
        time: SystemTime,
        traces: &impl Fn(&str) -> TraceRefs,
    ) -> InvocationFields<'_> {
        let Some(index) = self.context.invocation(named, time) else {
            return InvocationFields::of_nothing(&self.context);
        };
        let invocation = &mut self.context.invocations[index];
        invocation.trace_id = invocation.trace_id.or(trace_id);
        let known = traces(&invocation.request_id);
        if invocation.xray_trace_id.is_none() {
            invocation.xray_trace_id = known.xray_header.as_deref().and_then(xray_trace_id);
        }
        InvocationFields::of(&self.context, &self.context.invocations[index], &known)
    }
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

/// The outcome of an invocation; `None` from the second call on.
fn report(invocation: &mut InvocationState, status: Option<&str>) -> Option<InvocationOutcome> {
    let is_new = !std::mem::replace(&mut invocation.is_reported, true);
    let status = status.or(invocation.status.as_deref()).unwrap_or("success");
    is_new.then(|| InvocationOutcome {
        is_first: invocation.is_first,
        failed: status != "success",
        timed_out: status == "timeout",
    })
}
