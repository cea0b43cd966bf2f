//! Log lines, in one form whether they came by OTLP or from the Telemetry API.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::exporter::cloudwatch_logs::from_otlp;
use crate::otlp::line_codec;
use crate::otlp::log_level::LogLevel;
use crate::otlp::payload::{Payload, SignalKind};
use crate::processor::log_lines::emf::AccessLines;
use crate::scrub::Scrubber;

/// A member that only CloudWatch reads. A line of it and figures alone is about the extension itself.
const METRICS: &str = "_aws";

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShownLine {
    pub time_ms: i64,
    pub level: &'static str,
    pub message: String,
    pub trace: Option<String>,
    pub span: Option<String>,
    pub request_id: Option<String>,
    pub service: Option<String>,
    pub fields: Map<String, Value>,
}

impl ShownLine {
    /// Whether the message, an id, the service or a field has the text, which is in lower case.
    pub fn has_text(&self, text: &str) -> bool {
        let has = |own: &str| own.to_lowercase().contains(text);
        let own = [&self.trace, &self.span, &self.request_id, &self.service];
        has(&self.message)
            || own.into_iter().flatten().any(|own| has(own))
            || self.fields.iter().any(|(key, value)| has(key) || has(&value.to_string()))
    }
}

/// The lines of a payload of lines or log records; none of another payload.
pub fn of_payload(payload: &Payload) -> Vec<ShownLine> {
    match payload.kind {
        SignalKind::Logs => {
            // Secrets were masked when the records arrived.
            let scrubber = Scrubber::configured(None);
            let lines = from_otlp::lines(&payload.bytes, &scrubber, &mut AccessLines::default());
            let lines = lines.unwrap_or_default().into_iter();
            lines.filter_map(|(time_ms, json)| of_json(time_ms, &json)).collect()
        }
        SignalKind::Lines => {
            let lines = line_codec::read(&payload.bytes);
            lines.filter_map(|line| of_json(line.time_ms, line.json)).collect()
        }
        _ => Vec::new(),
    }
}

fn of_json(time_ms: i64, json: &str) -> Option<ShownLine> {
    let mut fields: Map<String, Value> = serde_json::from_str(json).ok()?;
    let is_of_metrics = fields.remove(METRICS).is_some();
    let message = fields.remove("message").filter(|message| !message.is_null());
    if is_of_metrics && message.is_none() {
        return None;
    }
    fields.remove("timestamp");
    let mut text = |key: &str| match fields.remove(key)? {
        Value::String(text) => Some(text).filter(|text| !text.is_empty()),
        _ => None,
    };
    let level = text("level");
    let event = text("event_name");
    let (trace, span, request_id) = (text("trace_id"), text("span_id"), text("requestId"));
    let service = text("service");
    let function = fields.get("lambda").and_then(|lambda| lambda["function"].as_str());
    let service = service.or(function.map(str::to_owned));
    let message = match message {
        Some(Value::String(text)) if text.is_empty() => event.unwrap_or_default(),
        Some(Value::String(text)) => text,
        Some(value) => value.to_string(),
        None => event.unwrap_or_default(),
    };
    let level = level.and_then(|level| LogLevel::parse(&level)).unwrap_or(LogLevel::Info).name();
    Some(ShownLine { time_ms, level, message, trace, span, request_id, service, fields })
}
