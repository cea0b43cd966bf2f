//! Failures in lines of level ERROR and above, in the forms of each runtime.
//!
//! The lines are made by [`crate::processor::log_lines`]. Loggers and Lambda's runtimes put exceptions
//! into these fields: `errorType`, `errorMessage` and `stackTrace`; `exception.…`; `error` as an
//! object; a JSON object or a stack within the text.

use serde_json::{Map, Value};

use crate::backtrace::frames;
use crate::otlp::line_codec::LogLine;
use crate::otlp::log_level::LogLevel;
use crate::processor::failures::evidence::{Failure, FailureSource};
use crate::processor::failures::item::ItemLevel;
use crate::processor::failures::kept_text::{cut, cut_stack};
use crate::processor::failures::request::{CLIENT_ADDRESS, without_address};
use crate::processor::failures::settings::ClientAddress;
use crate::processor::failures::truncate::cut_to;

#[derive(Debug)]
pub(super) struct ParsedLine {
    time_ms: i64,
    level: ItemLevel,
    /// The message as JSON if it is not a text.
    message: String,
    pub(super) request_id: Option<String>,
    /// Hex digits; empty without a trace.
    pub(super) trace_id: String,
    /// Whether the line is a platform record.
    is_platform: bool,
    fields: Map<String, Value>,
}

/// A line, or a log record, as items show it.
#[derive(Clone, Debug)]
pub(super) struct RecentLine {
    pub(super) time_ms: i64,
    pub(super) level: ItemLevel,
    pub(super) message: String,
    pub(super) request_id: Option<String>,
    /// Hex digits; empty without a trace.
    pub(super) trace_id: String,
}

impl ParsedLine {
    /// `None` if the JSON is not an object. The client's address is redacted as configured.
    pub(super) fn read(line: LogLine<'_>, address: ClientAddress) -> Option<Self> {
        let fields: Map<String, Value> = serde_json::from_str(line.json).ok()?;
        let text = |key: &str| fields.get(key)?.as_str().map(str::to_owned);
        let level = ["level", "severity", "levelname"].iter().find_map(|key| fields.get(*key));
        let level = match level {
            Some(Value::String(name)) => LogLevel::parse(name),
            Some(Value::Number(number)) => number.as_f64().map(LogLevel::from_number),
            _ => None,
        };
        let message = ["message", "msg"].iter().find_map(|key| match fields.get(*key)? {
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        });
        let client = text(CLIENT_ADDRESS).unwrap_or_default();
        let is_trace = |id: &String| id.len() == 32 && id.bytes().all(|it| it.is_ascii_hexdigit());
        Some(Self {
            time_ms: line.time_ms,
            level: level.map_or(ItemLevel::Info, ItemLevel::from),
            message: without_address(message.unwrap_or_default(), &client, address),
            request_id: text("requestId"),
            trace_id: text("trace_id").filter(is_trace).unwrap_or_default(),
            is_platform: text("type").is_some_and(|kind| kind.starts_with("platform."))
                && fields.contains_key("record"),
            fields,
        })
    }

    /// The line as items show it.
    pub(super) fn line(&self) -> RecentLine {
        RecentLine {
            time_ms: self.time_ms,
            level: self.level,
            message: cut(&self.message),
            request_id: self.request_id.clone(),
            trace_id: self.trace_id.clone(),
        }
    }

    /// The failure, if the function logged an error.
    pub(super) fn failure(&self) -> Option<Failure> {
        if self.is_platform || self.level < ItemLevel::Error {
            return None;
        }
        let (class, message, stack) = self.exception();
        Some(Failure {
            source: FailureSource::Line,
            level: self.level,
            class: cut_to(&class, 255),
            message: cut(&message),
            stack: cut_stack(&stack),
            place: String::new(),
            time_ms: self.time_ms,
        })
    }

    /// Type, message and stack; each may be empty.
    fn exception(&self) -> (String, String, String) {
        let inner = self.message.find('{').and_then(|start| {
            serde_json::from_str::<Map<String, Value>>(self.message[start..].trim_end()).ok()
        });
        let objects = ["message", "error", "err", "exception"];
        let objects = objects.iter().filter_map(|key| self.fields.get(*key)?.as_object());
        let candidates = inner.iter().chain(objects).chain([&self.fields]);
        let found = candidates.filter_map(in_object).next();
        let (mut class, message, stack) = found.unwrap_or_else(|| in_text(&self.message));
        if class.is_empty() && message.starts_with("Panicked:") {
            class = "panic".to_owned(); // the form of the functions' log
        }
        (class, message, stack)
    }
}

fn in_object(fields: &Map<String, Value>) -> Option<(String, String, String)> {
    let text = |keys: &[&str]| keys.iter().find_map(|key| text(fields.get(*key)?));
    let stack = text(&[
        "stackTrace",
        "stack_trace",
        "stacktrace",
        "stack",
        "trace",
        "exception.stacktrace",
        "exc_info",
        "backtrace",
    ]);
    let class =
        text(&["errorType", "exception.type", "type", "kind", "name", "class"]).filter(|_| {
            stack.is_some()
                || fields.contains_key("errorType")
                || fields.contains_key("exception.type")
        });
    let message = text(&["errorMessage", "exception.message", "error", "message", "msg"]);
    if class.is_none() && stack.is_none() {
        return None;
    }
    let stack = stack.unwrap_or_default();
    let class = class.or_else(|| Some(in_text(&stack).0)).unwrap_or_default();
    Some((class, message.unwrap_or_default(), stack))
}

/// A text, or a list of texts that are the lines of a stack.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Array(lines) => {
            let lines: Vec<_> = lines.iter().filter_map(Value::as_str).collect();
            (!lines.is_empty()).then(|| lines.join("\n"))
        }
        _ => None,
    }
}

/// A text that may hold a stack: Rust's panics, `[ERROR] ValueError: bad value` and a traceback.
fn in_text(message: &str) -> (String, String, String) {
    // Python's runtime writes carriage returns between the lines of an event.
    let text = message.replace('\r', "\n");
    let nothing = || (String::new(), text.clone(), String::new());
    if let Some((_, place)) = text.split_once("panicked at ") {
        let (place, rest) = place.split_once('\n').unwrap_or((place, ""));
        let reason = rest.lines().next().unwrap_or_default().trim();
        let stack = match frames(rest).is_empty() {
            true => format!("at {}", place.trim().trim_end_matches(':')),
            false => rest.to_owned(),
        };
        let message = if reason.is_empty() { place } else { reason };
        return ("panic".to_owned(), message.to_owned(), stack);
    }
    if frames(&text).is_empty() {
        return nothing();
    }
    let head = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let head = head.trim().trim_start_matches("[ERROR]").trim();
    // Python's traceback ends with the exception.
    let head = match head.starts_with("Traceback") {
        true => text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or(head),
        false => head,
    };
    if !frames(head).is_empty() {
        return (String::new(), String::new(), text); // it begins with the stack
    }
    let Some((class, reason)) = head.split_once(": ") else {
        return (String::new(), head.to_owned(), text.clone());
    };
    let class = class.rsplit(['\t', ' ']).next().unwrap_or(class);
    (class.to_owned(), reason.to_owned(), text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(json: &Value, address: ClientAddress) -> Option<ParsedLine> {
        ParsedLine::read(LogLine { time_ms: 7, json: &json.to_string() }, address)
    }

    #[track_caller]
    fn assert_thrown(line: Value, class: &str, message: &str, stack_frames: usize) {
        let failure = read(&line, ClientAddress::Whole).unwrap().failure().unwrap();
        assert_eq!((failure.class.as_str(), failure.message.as_str()), (class, message), "{line}");
        assert_eq!(frames(&failure.stack).len(), stack_frames, "{line}");
        assert_eq!(failure.time_ms, 7);
    }

    #[test]
    fn exceptions_are_found_as_each_runtime_writes_them() {
        let python = "[ERROR] ValueError: bad value\rTraceback (most recent call last):\r  \
                      File \"/var/task/app.py\", line 3, in handler\r    raise ValueError";
        assert_thrown(json!({"level": "ERROR", "message": python}), "ValueError", "bad value", 1);
        let stack = json!(["TypeError: x is no function", "    at f (/var/task/index.js:3:9)"]);
        let node =
            json!({"errorType": "TypeError", "errorMessage": "x is no function", "stack": stack});
        let text = format!("2026-01-01T00:00:00Z\tid\tERROR\tInvoke Error \t{node}");
        assert_thrown(
            json!({"level": "ERROR", "message": text}),
            "TypeError",
            "x is no function",
            1,
        );
        assert_thrown(
            json!({"level": "ERROR", "message": node}),
            "TypeError",
            "x is no function",
            1,
        );
        assert_thrown(
            json!({"level": "ERROR", "errorType": "KeyError", "errorMessage": "'a'",
                   "stackTrace": ["  File \"/var/task/a.py\", line 1, in f\n"]}),
            "KeyError",
            "'a'",
            1,
        );
        assert_thrown(
            json!({"level": "ERROR", "message": "thread 'main' panicked at src/main.rs:3:9:\nno luck"}),
            "panic",
            "no luck",
            1,
        );
    }

    #[test]
    fn any_other_error_is_its_text() {
        assert_thrown(json!({"level": "error", "message": "no luck"}), "", "no luck", 0);
        assert_thrown(json!({"severity": 50, "msg": "no luck", "type": "x"}), "", "no luck", 0);
        let access = json!({"level": "ERROR", "message": "GET / 500", "error": "no table"});
        assert_thrown(access, "", "GET / 500", 0);
    }

    #[test]
    fn what_is_no_error_and_what_the_platform_says_is_no_failure_of_the_functions_log() {
        for line in [
            json!({"level": "WARN", "message": "x"}),
            json!({"message": "x"}),
            json!({"level": "ERROR", "type": "platform.report", "record": {}, "message": "x"}),
        ] {
            assert_eq!(read(&line, ClientAddress::Whole).unwrap().failure(), None, "{line}");
        }
        assert!(read(&json!([]), ClientAddress::Whole).is_none());
    }

    #[test]
    fn what_is_no_type_is_not_taken_for_one() {
        let stack = "   0: cruddur::a\n  12: cruddur::b\n";
        assert_thrown(json!({"level": "ERROR", "message": stack}), "", "", 2);
        let panicked =
            json!({"level": "ERROR", "message": "Panicked: no luck", "backtrace": stack});
        assert_thrown(panicked, "panic", "Panicked: no luck", 2);
        let logged = json!({"level": "ERROR", "message": "no luck", "stack": stack});
        assert_thrown(logged, "", "no luck", 2);
        let titled = "Goroutine dump\n    at f (/var/task/index.js:3:9)";
        assert_thrown(json!({"level": "ERROR", "message": titled}), "", "Goroutine dump", 1);
    }

    #[test]
    fn a_message_that_is_no_text_is_its_json() {
        let line = json!({"level": "ERROR", "message": {"a": [1]}});
        assert_eq!(read(&line, ClientAddress::Whole).unwrap().line().message, r#"{"a":[1]}"#);
    }

    #[test]
    fn an_address_is_in_a_line_only_as_it_may_be_sent() {
        let line = json!({"message": "203.0.113.9 GET / 500", "client_address": "203.0.113.9"});
        for (address, expected) in [
            (ClientAddress::Whole, "203.0.113.9 GET / 500"),
            (ClientAddress::Anonymized, "203.0.113.0 GET / 500"),
            (ClientAddress::None, "*** GET / 500"),
        ] {
            assert_eq!(read(&line, address).unwrap().line().message, expected);
        }
    }
}
