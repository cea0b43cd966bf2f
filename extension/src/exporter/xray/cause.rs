//! The `cause` block: from the span's `exception` events, else from its status.

use std::borrow::Cow;

use opentelemetry_proto::tonic::trace::v1::{
    Span,
    span::{Event, SpanKind},
};
use trace_context::SpanId;

use crate::backtrace::{StackException, StackFrame, exceptions, is_frames_alone};
use crate::exporter::xray::attributes::text;
use crate::exporter::xray::document::{CauseBlock, SegmentException, SegmentFrame};
use crate::exporter::xray::json_value::to_json;
use crate::exporter::xray::limits::{MAX_BLOCK_BYTES, MAX_EXCEPTIONS, MAX_FRAMES, cut_field};

pub(super) const EXCEPTION: &str = "exception";

/// The block of a failed span, and the indexes of events that it covers completely.
///
/// `error_type` and `failed` serve spans that failed without an event.
pub(super) fn cause<'a>(
    span: &'a Span,
    id: SpanId,
    failed: bool,
    error_type: Option<&'a str>,
) -> (Option<CauseBlock<'a>>, Vec<usize>) {
    let remote = matches!(span.kind(), SpanKind::Client | SpanKind::Producer);
    let mut cause = CauseBlock::default();
    let mut covered_events = Vec::new();
    let mut room = MAX_BLOCK_BYTES;
    let events = span.events.iter().enumerate().filter(|(_, event)| event.name == EXCEPTION);
    for (index, event) in events {
        let first = cause.exceptions.len();
        if first == MAX_EXCEPTIONS {
            break;
        }
        let (mut exceptions, complete) = exceptions_of(event, &mut room);
        exceptions.truncate(MAX_EXCEPTIONS - first);
        let count = exceptions.len();
        for (nth, exception) in exceptions.into_iter().enumerate() {
            let inner = (nth + 1 < count).then(|| exception_id(id, first + nth + 1));
            let id = exception_id(id, first + nth);
            cause.exceptions.push(SegmentException { id, remote, cause: inner, ..exception });
        }
        if complete {
            covered_events.push(index);
        }
    }
    let message = span.status.as_ref().map(|status| status.message.as_str()).unwrap_or_default();
    if cause.exceptions.is_empty() && failed && !(message.is_empty() && error_type.is_none()) {
        cause.exceptions.push(SegmentException {
            id: exception_id(id, 0),
            message: some(message),
            kind: error_type.map(cut_field),
            remote,
            ..SegmentException::default()
        });
    }
    ((!cause.exceptions.is_empty()).then_some(cause), covered_events)
}

/// The exception of an event with its causes, and whether they cover the whole event.
fn exceptions_of<'a>(event: &'a Event, room: &mut usize) -> (Vec<SegmentException<'a>>, bool) {
    let mut exception = SegmentException::default();
    let mut causes = Vec::new();
    let mut complete = true;
    for attribute in &event.attributes {
        match (attribute.key.as_str(), attribute.value.as_ref().and_then(text)) {
            ("exception.escaped", _) => {}
            ("exception.message", Some(text)) => exception.message = some(text),
            ("exception.type", Some(text)) => exception.kind = some(text),
            ("exception.stacktrace", Some(text)) => {
                let mut found = exceptions(text).into_iter();
                let frames = found.next().map(|outermost| outermost.frames).unwrap_or_default();
                complete &= text.is_empty() || !frames.is_empty() && is_frames_alone(text);
                add_frames(&mut exception, frames, room);
                complete &= exception.truncated == 0;
                causes.extend(found.take(MAX_EXCEPTIONS).map(|cause| caused(cause, room)));
            }
            _ => complete = false,
        }
    }
    let is_cut = |text: &Option<Cow<'_, str>>| matches!(text, Some(Cow::Owned(_)));
    let has_cut = |frame: &SegmentFrame<'_>| is_cut(&frame.path) || is_cut(&frame.label);
    complete &= !is_cut(&exception.message) && !is_cut(&exception.kind);
    complete &= !exception.stack.iter().any(has_cut);
    causes.insert(0, exception);
    (causes, complete)
}

fn caused<'a>(cause: StackException<'a>, room: &mut usize) -> SegmentException<'a> {
    let message = some(&cause.message).map(|message| Cow::Owned(message.into_owned()));
    let mut exception =
        SegmentException { message, kind: some(cause.class), ..SegmentException::default() };
    add_frames(&mut exception, cause.frames, room);
    exception
}

/// Adds the frames that fit.
fn add_frames<'a>(
    exception: &mut SegmentException<'a>,
    frames: Vec<StackFrame<'a>>,
    room: &mut usize,
) {
    let total = frames.len();
    let fitting = frames.into_iter().map(frame).take(MAX_FRAMES).take_while(|frame| {
        *room = room.saturating_sub(to_json(frame).len() + 1);
        *room > 0
    });
    exception.stack = fitting.collect();
    exception.truncated = total - exception.stack.len();
}

fn frame(frame: StackFrame<'_>) -> SegmentFrame<'_> {
    SegmentFrame {
        path: frame.file.map(cut_field),
        line: frame.line,
        label: frame.function.map(cut_field),
    }
}

/// Stable when the span is sent again.
fn exception_id(span: SpanId, nth: usize) -> String {
    // Must differ from the span's id; the golden ratio spreads neighbours.
    let spread = (nth as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{:016x}", u64::from_be_bytes(span.to_bytes()) ^ spread)
}

fn some(text: &str) -> Option<Cow<'_, str>> {
    (!text.is_empty()).then(|| cut_field(text))
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::Status;
    use serde_json::{Value, json};

    use super::*;
    use crate::exporter::xray::tests::{attributes, span_id};

    fn event(given: Value) -> Event {
        let attributes = attributes(given);
        Event { name: EXCEPTION.to_owned(), attributes, ..Event::default() }
    }

    #[test]
    fn an_exception_is_written_with_its_frames() {
        let stack = "0: a::b\n  at src/a.rs:3:1\n";
        let span = Span {
            events: vec![event(json!({
                "exception.type": "StoreError", "exception.message": "no table",
                "exception.stacktrace": stack, "exception.escaped": true,
            }))],
            ..Span::default()
        };

        let (block, covered_events) = cause(&span, span_id(1), true, Some("500"));

        let block = serde_json::to_value(block).unwrap();
        assert_eq!(block["exceptions"][0]["id"].as_str().unwrap().len(), 16);
        assert_eq!(block["exceptions"][0]["type"], "StoreError");
        assert_eq!(block["exceptions"][0]["message"], "no table");
        let frame = json!([{ "path": "src/a.rs", "line": 3, "label": "a::b" }]);
        assert_eq!(block["exceptions"][0]["stack"], frame);
        assert_eq!(covered_events, [0]);
    }

    #[test]
    fn a_cause_in_the_stack_is_an_exception_that_the_outer_one_names() {
        let stack = "Failed: b\n at x.B.f(B.java:1)\nCaused by: Lost: why\n at x.C.g(C.java:2)\n";
        let given = json!({ "exception.type": "Failed", "exception.stacktrace": stack });
        let events = vec![event(given), event(json!({ "exception.type": "Other" }))];
        let span = Span { events, ..Span::default() };

        let block = cause(&span, span_id(1), true, None).0.unwrap();

        let [outer, inner, other] = &block.exceptions[..] else { panic!("{block:?}") };
        assert_eq!((outer.kind.as_deref(), outer.stack.len()), (Some("Failed"), 1));
        assert_eq!(outer.cause.as_ref(), Some(&inner.id));
        assert_eq!((inner.kind.as_deref(), inner.message.as_deref()), (Some("Lost"), Some("why")));
        assert_eq!((inner.stack[0].path.as_deref(), &inner.cause), (Some("C.java"), &None));
        assert_eq!((other.kind.as_deref(), &other.cause), (Some("Other"), &None));
    }

    #[test]
    fn an_event_with_a_long_message_or_an_unknown_stack_stays_in_the_metadata() {
        for given in [
            json!({ "exception.message": "x".repeat(300) }),
            json!({ "exception.stacktrace": "somewhere" }),
            json!({ "exception.message": "x", "more": 1 }),
            json!({ "exception.message": 1 }),
            json!({ "exception.stacktrace": format!("0: {}\n at src/a.rs:3:1", "f".repeat(300)) }),
            json!({ "exception.stacktrace": "Failed: b\n at x.B.f(B.java:1)\nCaused by: Lost: why" }),
            json!({ "exception.stacktrace": "0: f\n at src/a.rs:3:1\n".repeat(60) }),
        ] {
            let span = Span { events: vec![event(given)], ..Span::default() };
            let (block, covered_events) = cause(&span, span_id(1), true, None);
            assert!(block.is_some() && covered_events.is_empty());
        }
    }

    #[test]
    fn without_an_event_the_status_and_the_type_are_the_exception() {
        let status = Some(Status { message: "gone".to_owned(), code: 2 });
        let span = Span { status, kind: SpanKind::Client as i32, ..Span::default() };

        let (block, _) = cause(&span, span_id(1), true, Some("timeout"));

        let exception = &block.unwrap().exceptions[0];
        assert_eq!(exception.message.as_deref(), Some("gone"));
        assert_eq!(exception.kind.as_deref(), Some("timeout"));
        assert!(exception.remote);
        assert!(cause(&Span::default(), span_id(1), true, None).0.is_none());
        assert!(cause(&Span::default(), span_id(1), false, Some("x")).0.is_none());
    }

    #[test]
    fn frames_that_do_not_fit_are_counted() {
        let stack: String = (0..1000).map(|n| format!("{n}: f\n at src/a.rs:{n}:1\n")).collect();
        let span = Span {
            events: (0..9).map(|_| event(json!({ "exception.stacktrace": stack }))).collect(),
            ..Span::default()
        };

        let block = cause(&span, span_id(1), true, None).0.unwrap();

        assert_eq!(block.exceptions.len(), MAX_EXCEPTIONS);
        assert_eq!((block.exceptions[0].stack.len(), block.exceptions[0].truncated), (50, 950));
    }
}
