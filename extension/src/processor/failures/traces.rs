//! The traces of an item: a failure's exception, and the exceptions that caused it.

use crate::backtrace::{StackFrame, exceptions};
use crate::processor::failures::evidence::{Failure, FailureSource};
use crate::processor::failures::item::{
    ItemContent, ItemException, ItemFrame, ItemLevel, ItemTrace,
};
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

fn frame(frame: &StackFrame<'_>) -> ItemFrame {
    ItemFrame {
        filename: cut_to(frame.file.unwrap_or("(unknown)"), 500),
        lineno: frame.line,
        colno: frame.column,
        method: frame.function.map(|function| cut_to(function, 500)),
        in_project: frame.is_ours(),
    }
}

/// The failures with the causes that their stacks name, each once.
pub(super) fn content(chain: &[&Failure], function: &str) -> ItemContent {
    let mut traces: Vec<ItemTrace> = Vec::new();
    for trace in chain.iter().flat_map(|failure| causes(failure, function)) {
        if !traces.iter().any(|known| known.exception == trace.exception) {
            traces.push(trace);
        }
    }
    traces.truncate(MAX_CHAIN);
    match traces.len() {
        1 => ItemContent::Trace(traces.swap_remove(0)),
        _ => ItemContent::TraceChain(traces),
    }
}

/// The traces of a failure, the outermost exception first.
fn causes(failure: &Failure, function: &str) -> Vec<ItemTrace> {
    let mut found = exceptions(&failure.stack).into_iter();
    let outermost = found.next().unwrap_or_default();
    let causes = found.filter(|it| !it.frames.is_empty() || !it.class.is_empty());
    let has_frames = !outermost.frames.is_empty();
    let class = if failure.class.is_empty() { outermost.class } else { &failure.class };
    let mut first =
        trace(class, &failure.message, outermost.frames, || place(function, &failure.place));
    let mut traces: Vec<_> =
        causes.map(|it| trace(it.class, &it.message, it.frames, || place(function, ""))).collect();
    if !has_frames && traces.is_empty() && !failure.stack.is_empty() {
        first.exception.description = Some(failure.stack.clone());
    }
    traces.insert(0, first);
    traces
}

fn trace(
    class: &str,
    message: &str,
    mut frames: Vec<StackFrame<'_>>,
    place: impl FnOnce() -> ItemFrame,
) -> ItemTrace {
    frames.sort_by_key(|frame| frame.number); // the function's log puts frames of the program first
    let mut item_frames: Vec<ItemFrame> = frames.iter().take(MAX_FRAMES).map(frame).collect();
    // Rollbar expects the most recent call last.
    item_frames.reverse();
    if item_frames.is_empty() {
        item_frames.push(place());
    }
    let class = if class.is_empty() { "Error" } else { class };
    ItemTrace {
        frames: item_frames,
        exception: ItemException {
            class: cut_to(class, MAX_CLASS_CHARS),
            message: Some(message).filter(|text| !text.is_empty()).map(cut),
            description: None,
        },
    }
}

/// Stands for a missing stack, since Rollbar may not accept an empty one.
pub(super) fn place(function: &str, span: &str) -> ItemFrame {
    let method = Some(span.to_owned()).filter(|span| !span.is_empty());
    ItemFrame { filename: function.to_owned(), method, ..ItemFrame::default() }
}
