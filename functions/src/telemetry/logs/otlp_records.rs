//! Log lines as OTLP log records, for an extension that the platform does not hand standard output
//! to.
//!
//! The extension turns them into the same lines again: see `cloudwatch_logs/otlp.rs` there.

use std::collections::VecDeque;

use jiff::Timestamp;
use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value},
    logs::v1::{LogRecord, SeverityNumber},
};
use serde_json::{Map, Value};
use trace_context::{SpanId, TraceId};

use crate::telemetry::current_invocation::PerInvocation;

/// Most bytes of buffered lines, as they are on stdout: some thousand lines, and less than the
/// extension accepts in one request.
const MAX_BYTES: usize = 1 << 20;

/// The lines of each running invocation, and those from outside invocations, which the next invocation
/// that ends sends.
#[derive(Clone, Debug, Default)]
pub(in crate::telemetry) struct WrittenLines(PerInvocation<Lines>);

#[derive(Debug, Default)]
struct Lines {
    /// Oldest first.
    kept: VecDeque<WrittenLine>,
    bytes: usize,
    dropped: u64,
}

#[derive(Debug)]
struct WrittenLine {
    time: Timestamp,
    fields: Map<String, Value>,
    bytes: usize,
}

/// Lines for one export.
#[derive(Debug, Default)]
pub(in crate::telemetry) struct Records {
    /// In the order in which they were written.
    pub(in crate::telemetry) records: Vec<LogRecord>,
    /// How many more there would be, but for the bound.
    pub(in crate::telemetry) dropped: u64,
}

impl WrittenLines {
    /// Keeps a line that is so long on stdout. The oldest give way: the last ones say how it ended.
    pub(in crate::telemetry) fn push(
        &self,
        time: Timestamp,
        fields: Map<String, Value>,
        bytes: usize,
    ) {
        self.0.update(|lines| lines.push(WrittenLine { time, fields, bytes }));
    }

    /// Takes the lines of the present invocation, and those from outside invocations.
    pub(in crate::telemetry) fn take(&self) -> Records {
        let mut lines = self.0.take_outside();
        lines.append(self.0.take());
        let records = lines.kept.into_iter().map(record).collect();
        Records { records, dropped: lines.dropped }
    }

    /// Leaves lines that were written while the others were sent to the next invocation that ends.
    pub(in crate::telemetry) fn leave_rest(&self) {
        let rest = self.0.take();
        if !rest.kept.is_empty() || rest.dropped > 0 {
            self.0.update_outside(|lines| lines.append(rest));
        }
    }
}

impl Lines {
    fn push(&mut self, line: WrittenLine) {
        self.bytes += line.bytes;
        self.kept.push_back(line);
        while self.bytes > MAX_BYTES
            && let Some(oldest) = self.kept.pop_front()
        {
            self.bytes -= oldest.bytes;
            self.dropped += 1;
        }
    }

    fn append(&mut self, later: Self) {
        self.dropped += later.dropped;
        later.kept.into_iter().for_each(|line| self.push(line));
    }
}

/// The service name is a resource attribute; fields without a counterpart in OTLP become
/// attributes.
fn record(WrittenLine { time, mut fields, .. }: WrittenLine) -> LogRecord {
    let mut text = |key: &str| match fields.remove(key) {
        Some(Value::String(text)) => text,
        _ => String::new(),
    };
    let (level, message) = (text("level"), text("message"));
    let trace_id = TraceId::from_hex(&text("trace_id"));
    let span_id = SpanId::from_hex(&text("span_id"));
    let request_id = text("requestId");
    for told in ["timestamp", "service"] {
        text(told);
    }
    let request_id = ("faas.invocation_id".to_owned(), Value::String(request_id));
    let request_id = Some(request_id).filter(|(_, id)| id != "");
    let time_unix_nano = u64::try_from(time.as_nanosecond()).unwrap_or_default();
    LogRecord {
        time_unix_nano,
        observed_time_unix_nano: time_unix_nano,
        severity_number: severity(&level).into(),
        severity_text: level,
        body: Some(AnyValue { value: Some(any_value::Value::StringValue(message)) }),
        trace_id: trace_id.map(|id| id.to_bytes().to_vec()).unwrap_or_default(),
        span_id: span_id.map(|id| id.to_bytes().to_vec()).unwrap_or_default(),
        attributes: request_id.into_iter().chain(fields).map(attribute).collect(),
        ..LogRecord::default()
    }
}

/// The first of each class.
fn severity(level: &str) -> SeverityNumber {
    match level {
        "TRACE" => SeverityNumber::Trace,
        "DEBUG" => SeverityNumber::Debug,
        "WARN" => SeverityNumber::Warn,
        "ERROR" => SeverityNumber::Error,
        _ => SeverityNumber::Info,
    }
}

/// A line has texts, numbers and flags, nothing nested.
fn attribute((key, value): (String, Value)) -> KeyValue {
    use any_value::Value as Any;
    let value = match value {
        Value::Bool(flag) => Any::BoolValue(flag),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Any::IntValue(whole),
            (None, Some(fraction)) if number.is_f64() => Any::DoubleValue(fraction),
            _ => Any::StringValue(number.to_string()), // too large for OTLP's numbers
        },
        Value::String(text) => Any::StringValue(text),
        other => Any::StringValue(other.to_string()),
    };
    KeyValue { key, value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn when_there_is_too_much_the_last_lines_are_kept_and_the_others_counted() {
        let written = WrittenLines::default();
        let line = |number: usize| {
            let fields = json!({ "message": number.to_string() });
            fields.as_object().unwrap().clone()
        };
        for number in 0..100 {
            written.push(Timestamp::UNIX_EPOCH, line(number), MAX_BYTES / 10);
        }

        let taken = written.take();

        let texts: Vec<_> = taken.records.iter().map(|it| it.body.clone().unwrap()).collect();
        assert_eq!((texts.len(), taken.dropped), (10, 90));
        assert!(format!("{:?}", texts[9]).contains("99"), "{texts:?}");
        written.push(Timestamp::UNIX_EPOCH, line(1), MAX_BYTES + 1);
        let taken = written.take();
        assert_eq!((taken.records.len(), taken.dropped), (0, 1), "one that is too long alone");
        assert_eq!(written.take().dropped, 0);
    }

    #[test]
    fn a_number_that_is_too_large_keeps_its_digits() {
        for (value, expected) in [
            (json!(u64::MAX), any_value::Value::StringValue(u64::MAX.to_string())),
            (json!(-7), any_value::Value::IntValue(-7)),
            (json!(7.0), any_value::Value::DoubleValue(7.0)),
        ] {
            let attribute = attribute(("n".to_owned(), value));
            assert_eq!(attribute.value.unwrap().value, Some(expected));
        }
    }
}
