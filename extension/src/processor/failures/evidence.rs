//! What was found of one invocation, or of one trace, before anybody knows whether it is all.

use serde_json::Value;

use crate::processor::failures::{
    attributes::SelectedAttributes,
    item::{ItemLevel, Texts},
};

/// Most failures and messages of one invocation that are kept; more are counted. Our choice: the
/// first tell the story.
const MAX_FAILURES: usize = 10;
const MAX_MESSAGES: usize = 50;

/// Something that went wrong, as its source tells it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failure {
    pub(super) source: FailureSource,
    pub(super) level: ItemLevel,
    /// Its type. Empty if there is only a text.
    pub(super) class: String,
    pub(super) message: String,
    /// As [`crate::backtrace`] reads it; may be empty.
    pub(super) stack: String,
    /// The span's name, or nothing.
    pub(super) place: String,
    pub(super) time_ms: i64,
}

/// Who tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FailureSource {
    /// The server span itself.
    Server,
    /// Another span, or a log record that came by OTLP and holds an exception.
    Otlp,
    /// A line, or any other log record.
    Line,
}

/// Words that somebody wants to be reported.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ReportedMessage {
    pub(super) level: ItemLevel,
    pub(super) body: String,
    pub(super) more: Texts,
    pub(super) time_ms: i64,
    /// Which one it is, whoever asks when: the span's id and the event's place in it.
    pub(super) key: String,
}

/// The end that only the platform saw.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PlatformEnd {
    /// Its type, such as `Runtime.OutOfMemory` or `timeout`.
    pub(super) error_type: String,
    pub(super) time_ms: i64,
    pub(super) phase: FailedPhase,
}

/// What was going on then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailedPhase {
    Init,
    Restore,
    Invocation,
}

/// A span and its resource, as far as an item tells of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct SpanContext {
    pub(super) is_server: bool,
    pub(super) name: String,
    /// As hex digits, like the next one.
    pub(super) trace_id: String,
    pub(super) span_id: String,
    pub(super) end_ms: i64,
    pub(super) facts: SelectedAttributes,
}

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence {
    /// As hex digits.
    pub(super) trace_ids: Vec<String>,
    pub(super) context: Option<SpanContext>,
    /// Oldest first.
    pub(super) failures: Vec<Failure>,
    /// But for those that lines tell of.
    failure_count: u64,
    line_count: u64,
    pub(super) messages: Vec<ReportedMessage>,
    pub(super) message_count: u64,
    pub(super) ended: Option<PlatformEnd>,
}

impl Evidence {
    /// Whether there is anything to be told.
    pub(super) fn is_empty(&self) -> bool {
        self.failures.is_empty() && self.messages.is_empty() && self.ended.is_none()
    }

    /// Who was at work.
    pub(super) fn service(&self) -> &str {
        let context = self.context.as_ref();
        context.and_then(|it| it.facts.get("service.name")).unwrap_or_default()
    }

    pub(super) fn has_server(&self) -> bool {
        self.context.as_ref().is_some_and(|context| context.is_server)
    }

    /// Whether what was found in a trace is an invocation's of which this was.
    pub(super) fn takes(&self, stray: &Self, ends_are_told: bool) -> bool {
        !self.has_server()
            || ends_are_told && stray.trace_ids.is_empty()
            || stray.trace_ids.iter().any(|id| self.trace_ids.contains(id))
    }

    pub(super) fn add_trace(&mut self, trace_id: &str) {
        let is_new = !self.trace_ids.iter().any(|known| known == trace_id);
        if is_new && !trace_id.is_empty() && self.trace_ids.len() < MAX_FAILURES {
            self.trace_ids.push(trace_id.to_owned());
        }
    }

    /// The server span tells most; else the span that ended last, since it is the outermost.
    pub(super) fn add_context(&mut self, context: SpanContext) {
        if context.is_server || !self.has_server() {
            self.context = Some(context);
        }
    }

    /// How many there were; lines only tell of them once more, unless nothing else does.
    pub(super) fn count(&self) -> u64 {
        if self.failure_count > 0 { self.failure_count } else { self.line_count }
    }

    /// One that is not kept is not made.
    pub(super) fn add_failure(&mut self, source: FailureSource, failure: impl FnOnce() -> Failure) {
        match source {
            FailureSource::Line => self.line_count += 1,
            FailureSource::Server | FailureSource::Otlp => self.failure_count += 1,
        }
        if self.failures.len() == MAX_FAILURES {
            let is_server = |failure: &Failure| failure.source == FailureSource::Server;
            if source != FailureSource::Server || self.failures.last().is_some_and(is_server) {
                return;
            }
            self.failures.pop(); // the server span comes last, and says most
        }
        self.failures.push(failure());
    }

    pub(super) fn add_message(&mut self, message: impl FnOnce() -> ReportedMessage) {
        self.message_count += 1;
        if self.messages.len() < MAX_MESSAGES {
            self.messages.push(message());
        }
    }

    /// Takes over all that another one has.
    pub(super) fn merge(&mut self, other: Self) {
        other.trace_ids.iter().for_each(|trace_id| self.add_trace(trace_id));
        other.context.into_iter().for_each(|context| self.add_context(context));
        let counts = (self.failure_count + other.failure_count, self.line_count + other.line_count);
        other.failures.into_iter().for_each(|failure| {
            self.add_failure(failure.source, || failure);
        });
        (self.failure_count, self.line_count) = counts;
        let left_out = other.message_count - other.messages.len() as u64;
        other.messages.into_iter().for_each(|message| self.add_message(|| message));
        self.message_count += left_out;
        self.ended = self.ended.take().or(other.ended);
    }

    /// What is to be told; only the place stays.
    pub(super) fn take(&mut self) -> Self {
        let (trace_ids, context) = (self.trace_ids.clone(), self.context.clone());
        std::mem::replace(self, Self { trace_ids, context, ..Self::default() })
    }
}

/// The same with another text in the place of each.
pub(super) fn each_text(value: Value, clean: &impl Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => clean(&text).into(),
        Value::Array(items) => items.into_iter().map(|item| each_text(item, clean)).collect(),
        Value::Object(fields) => {
            let fields = fields.into_iter();
            Value::Object(fields.map(|(key, value)| (key, each_text(value, clean))).collect())
        }
        other => other,
    }
}
