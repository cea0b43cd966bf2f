//! The traces of an item: a failure's exception, and the exceptions that caused it.

use serde_json::{Value, json};

use crate::backtrace::{StackFrame, exceptions};
use crate::processor::failures::evidence::{Failure, FailureSource};
use crate::processor::failures::item::ItemLevel;
use crate::processor::failures::kept_text::cut;
use crate::processor::failures::truncate::cut_to;

/// Most exceptions of a chain; longer chains repeat themselves.
const MAX_CHAIN: usize = 5;

/// Most frames of an exception, far more than a person reads.
const MAX_FRAMES: usize = 200;

/// Longest class in characters, the limit that Rollbar sets for most names.
const MAX_CLASS_CHARS: usize = 255;

/// The exceptions, the outermost first: the server span shows the result of the request, and inner
/// spans end first. Lines count only without another source: the first with an exception type, else the
/// first, unless the platform reported the end.
pub(super) fn chain(failures: &[Failure], is_ended: bool) -> Vec<&Failure> {
    let mut spans: Vec<_> =
        failures.iter().filter(|it| it.source != FailureSource::Line).rev().collect();
    spans.sort_by_key(|failure| failure.source);
    let mut chain: Vec<&Failure> = Vec::new();
    for failure in spans {
        // Each span that an exception passes records it.
        let is_same =
            |known: &&Failure| known.class == failure.class && known.message == failure.message;
        match chain.iter().position(is_same) {
            Some(index) if chain[index].stack.is_empty() => chain[index] = failure,
            Some(_) => {}
            None => chain.push(failure),
        }
    }
    // Failed spans without an exception, beside a failure of a higher level.
    let has_error = chain.iter().any(|failure| failure.level >= ItemLevel::Error);
    chain.retain(|failure| failure.level >= ItemLevel::Error || !has_error);
    chain.truncate(MAX_CHAIN);
    if chain.is_empty() {
        let lines = || failures.iter().filter(|failure| failure.source == FailureSource::Line);
        let thrown = lines().find(|failure| !failure.class.is_empty());
        let first = if is_ended { None } else { lines().next() };
        chain.extend(thrown.or(first));
    }
    chain
}

/// The failures with the causes that their stacks name, each once.
pub(super) fn content(chain: &[&Failure], function: &str) -> Value {
    let mut traces: Vec<Value> = Vec::new();
    for trace in chain.iter().flat_map(|failure| causes(failure, function)) {
        if !traces.iter().any(|known| known["exception"] == trace["exception"]) {
            traces.push(trace);
        }
    }
    traces.truncate(MAX_CHAIN);
    match traces.len() {
        1 => json!({ "trace": traces.swap_remove(0) }),
        _ => json!({ "trace_chain": traces }),
    }
}

/// The traces of a failure, the outermost exception first.
fn causes(failure: &Failure, function: &str) -> Vec<Value> {
    let mut found = exceptions(&failure.stack).into_iter();
    let outermost = found.next().unwrap_or_default();
    let causes = found.filter(|it| !it.frames.is_empty() || !it.class.is_empty());
    let has_frames = !outermost.frames.is_empty();
    let class = if failure.class.is_empty() { outermost.class } else { &failure.class };
    let place = place(function, &failure.place);
    let mut first = trace(class, &failure.message, outermost.frames, place);
    let mut traces: Vec<_> = causes
        .map(|it| trace(it.class, &it.message, it.frames, self::place(function, "")))
        .collect();
    if !has_frames && traces.is_empty() && !failure.stack.is_empty() {
        first["exception"]["description"] = json!(failure.stack); // a stack of an unknown form
    }
    traces.insert(0, first);
    traces
}

/// `place` stands for a missing stack, since Rollbar may not accept an empty one.
pub(super) fn trace(
    class: &str,
    message: &str,
    mut frames: Vec<StackFrame<'_>>,
    place: Value,
) -> Value {
    frames.sort_by_key(|frame| frame.number); // the function's log puts frames of the program first
    let mut item_frames: Vec<Value> = frames.iter().take(MAX_FRAMES).map(frame).collect();
    // Rollbar expects the most recent call last.
    item_frames.reverse();
    if item_frames.is_empty() {
        item_frames.push(place);
    }
    let class = if class.is_empty() { "Error" } else { class };
    let message = Some(message).filter(|text| !text.is_empty()).map(cut);
    let exception = json!({ "class": cut_to(class, MAX_CLASS_CHARS), "message": message });
    json!({ "frames": item_frames, "exception": exception })
}

/// `in_project` is not a field of Rollbar's format, which accepts further fields: the raw item shows it.
fn frame(frame: &StackFrame<'_>) -> Value {
    json!({
        "filename": cut_to(frame.file.unwrap_or("(unknown)"), 500),
        "lineno": frame.line,
        "colno": frame.column,
        "method": frame.function.map(|function| cut_to(function, 500)),
        "in_project": frame.is_ours(),
    })
}

pub(super) fn place(function: &str, span: &str) -> Value {
    let method = Some(span).filter(|span| !span.is_empty());
    json!({ "filename": function, "method": method, "in_project": false })
}
