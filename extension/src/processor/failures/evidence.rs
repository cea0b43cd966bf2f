//! All that is known of a possible failure of one attempt, or of a trace without a known attempt.
//!
//! Each signal is one `add_…`; their order decides nothing but which failures and messages are kept beyond
//! the limits.

use std::sync::Arc;

use crate::processor::failures::{
    attributes::{SelectedAttributes, Texts},
    item::ItemLevel,
    truncate::cut_to,
};

/// The error type of an invocation whose process has exited. Its later report may name the cause.
pub(super) const EXIT: &str = "Runtime.ExitError";

/// Most failures and messages that are kept for one invocation; later ones are only counted, since the
/// first ones show the cause. A server span's failure replaces the last one.
const MAX_FAILURES: usize = 10;
const MAX_MESSAGES: usize = 50;

/// The parts of evidence that stay when it is [shrunk](Evidence::shrink): some 20 KB.
const SHRUNK_FAILURES: usize = 3;
const SHRUNK_TEXT_CHARS: usize = 255;
const SHRUNK_STACK_CHARS: usize = 2_000;
const SHRUNK_ATTRIBUTES: usize = 20;

/// A failure as its source describes it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failure {
    pub(super) source: FailureSource,
    pub(super) level: ItemLevel,
    /// The exception's type; empty if there is only a text.
    pub(super) class: String,
    pub(super) message: String,
    /// As [`crate::backtrace`] reads it; may be empty.
    pub(super) stack: String,
    /// The span's name or the log record's event name; empty for lines.
    pub(super) place: String,
    pub(super) time_ms: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FailureSource {
    Server,
    /// Another span, or a log record that came by OTLP and holds an exception.
    Otlp,
    /// A line, or a log record without an exception.
    Line,
}

/// A message that the function asked to report.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ReportedMessage {
    pub(super) level: ItemLevel,
    pub(super) body: String,
    pub(super) more: Texts,
    pub(super) time_ms: i64,
    /// Stable identity: the span's id and the event's index.
    pub(super) key: String,
}

/// A failed end that a platform event or SHUTDOWN reported.
#[derive(Clone, Debug, PartialEq)]
pub struct PlatformEnd {
    /// Such as `Runtime.OutOfMemory` or `timeout`.
    pub(super) error_type: String,
    pub(super) time_ms: i64,
    pub(super) phase: FailedPhase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailedPhase {
    Init,
    Restore,
    Invocation,
}

/// The parts of a span or log record, and of its resource, that items show.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct SpanContext {
    pub(super) is_server: bool,
    pub(super) name: String,
    /// Hex digits, like `span_id`.
    pub(super) trace_id: String,
    pub(super) span_id: String,
    pub(super) end_ms: i64,
    pub(super) facts: SelectedAttributes,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Evidence {
    /// Hex digits.
    pub(super) trace_ids: Vec<String>,
    pub(super) context: Option<SpanContext>,
    /// In the order of their arrival.
    pub(super) failures: Vec<Failure>,
    /// Number of failures from other sources than lines.
    failure_count: u64,
    /// Number of failures from lines.
    line_count: u64,
    pub(super) messages: Vec<ReportedMessage>,
    pub(super) message_count: u64,
    pub(super) end: Option<PlatformEnd>,
    pub(super) max_memory_mb: Option<f64>,
}

impl Evidence {
    /// Whether there is nothing to report.
    pub(super) fn is_empty(&self) -> bool {
        self.failures.is_empty() && self.messages.is_empty() && self.end.is_none()
    }

    pub(super) fn service(&self) -> &str {
        let context = self.context.as_ref();
        context.and_then(|it| it.facts.get("service.name")).unwrap_or_default()
    }

    pub(super) fn has_server(&self) -> bool {
        self.context.as_ref().is_some_and(|context| context.is_server)
    }

    /// Whether the process has exited, so that the platform's report may name the cause.
    pub(super) fn has_exited(&self) -> bool {
        self.end.as_ref().is_some_and(|end| end.error_type == EXIT)
    }

    pub(super) fn shares_trace(&self, trace_ids: &[String]) -> bool {
        trace_ids.iter().any(|id| self.trace_ids.contains(id))
    }

    /// Whether `stray` belongs to the same invocation as this evidence. Without end events several may run
    /// at once, so only a trace shows it.
    pub(super) fn owns(&self, stray: &Self, has_end_events: bool) -> bool {
        has_end_events && (!self.has_server() || stray.trace_ids.is_empty())
            || self.shares_trace(&stray.trace_ids)
    }

    /// Adds a failed end that the platform reported. The first one stays, unless the process has exited and
    /// its report names the cause.
    pub(super) fn add_end(&mut self, end: PlatformEnd, is_report: bool) {
        if self.end.is_none() || is_report && self.has_exited() {
            self.end = Some(end);
        }
    }

    pub(super) fn add_trace(&mut self, trace_id: &str) {
        let is_new = !self.trace_ids.iter().any(|known| known == trace_id);
        if is_new && !trace_id.is_empty() && self.trace_ids.len() < MAX_FAILURES {
            self.trace_ids.push(trace_id.to_owned());
        }
    }

    /// Keeps the server span, else the last span or record that arrived: outer spans end after inner ones.
    pub(super) fn add_context(&mut self, context: SpanContext) {
        if context.is_server || !self.has_server() {
            self.context = Some(context);
        }
    }

    /// Number of failures. Failures in lines count only if no other source has any, since lines repeat
    /// them.
    pub(super) fn count(&self) -> u64 {
        if self.failure_count > 0 { self.failure_count } else { self.line_count }
    }

    /// `failure` is only called if its result is kept.
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
            self.failures.pop(); // the server span's failure shows the result of the request
        }
        self.failures.push(failure());
    }

    pub(super) fn add_message(&mut self, message: impl FnOnce() -> ReportedMessage) {
        self.message_count += 1;
        if self.messages.len() < MAX_MESSAGES {
            self.messages.push(message());
        }
    }

    /// Moves all evidence of `other` here, within the limits; the counts stay exact.
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
        other.end.into_iter().for_each(|end| self.add_end(end, false));
    }

    /// The bytes of its texts, and those of the resource for each of the records that share it.
    pub(super) fn bytes(&self) -> usize {
        let size = |texts: &Texts| texts.iter().map(|(key, text)| key.len() + text.len()).sum();
        let failure = |it: &Failure| {
            it.class.len()
                + it.message.len()
                + it.stack.len()
                + it.place.len()
                + size_of::<Failure>()
        };
        let message = |it: &ReportedMessage| -> usize {
            let more: usize = size(&it.more);
            it.body.len() + more + it.key.len() + size_of::<ReportedMessage>()
        };
        let own: usize = self.context.as_ref().map_or(0, |it| size(&it.facts.own));
        let shared: usize = self.context.as_ref().map_or(0, |it| size(&it.facts.resource));
        let failures: usize = self.failures.iter().map(failure).sum();
        let messages: usize = self.messages.iter().map(message).sum();
        own + shared + failures + messages + size_of::<Self>()
    }

    /// Cuts the texts and drops all but the first failures and the first message. The counts stay exact.
    pub(super) fn shrink(&mut self) {
        let mut index = 0;
        self.failures.retain(|failure| {
            index += 1;
            index < SHRUNK_FAILURES || failure.source == FailureSource::Server
        });
        self.failures.truncate(SHRUNK_FAILURES);
        for failure in &mut self.failures {
            failure.message = cut_to(&failure.message, SHRUNK_TEXT_CHARS);
            failure.stack = cut_to(&failure.stack, SHRUNK_STACK_CHARS);
        }
        self.messages.truncate(1);
        for message in &mut self.messages {
            message.body = cut_to(&message.body, SHRUNK_TEXT_CHARS);
            message.more.clear();
        }
        self.messages.shrink_to_fit();
        if let Some(context) = &mut self.context {
            let small = |texts: &Texts| -> Texts {
                let small = texts.iter().filter(|(_, text)| text.len() <= SHRUNK_TEXT_CHARS);
                let small = small.take(SHRUNK_ATTRIBUTES);
                small.map(|(key, text)| (key.clone(), text.clone())).collect()
            };
            context.facts.own = small(&context.facts.own);
            context.facts.resource = Arc::new(small(&context.facts.resource));
        }
    }

    /// Takes the evidence for a report; trace ids and context stay.
    pub(super) fn take(&mut self) -> Self {
        let (trace_ids, context) = (self.trace_ids.clone(), self.context.clone());
        let max_memory_mb = self.max_memory_mb;
        std::mem::replace(self, Self { trace_ids, context, max_memory_mb, ..Self::default() })
    }
}
