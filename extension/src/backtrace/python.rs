//! Python's tracebacks, which print the innermost frame and the outermost exception last.

use crate::backtrace::line::python_frame;
use crate::backtrace::part::{ExceptionPart, StackException, without_gutter};

/// The lines between an exception and the one that it caused.
const LINKS: [&str; 2] = [
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
];

/// The exceptions, the outermost first. Members of a group follow it.
pub(super) fn exceptions(stack: &str) -> Vec<StackException<'_>> {
    // A traceback, and the members of its exception group.
    let mut tracebacks = vec![vec![ExceptionPart::default()]];
    let mut in_group = false;
    for raw_line in stack.lines() {
        let line = without_gutter(raw_line);
        let Some(traceback) = tracebacks.last_mut() else { break };
        let Some(part) = traceback.last_mut() else { break };
        let text = line.trim();
        if LINKS.contains(&text) {
            match in_group {
                true => traceback.push(ExceptionPart::default()),
                false => tracebacks.push(vec![ExceptionPart::default()]),
            }
        } else if text.starts_with("+-") {
            // `+---------------- 2 ----------------` begins a member, and without a number the group ends.
            in_group = text.contains(|char: char| char.is_ascii_digit());
            traceback.push(ExceptionPart::default());
        } else if text.ends_with("Traceback (most recent call last):") {
            if !part.frames.is_empty() {
                traceback.push(ExceptionPart::default());
            }
        } else if let Some(frame) = python_frame(text) {
            part.frames.push(frame);
        } else if !text.is_empty() && !line.starts_with(char::is_whitespace) && text != "|" {
            part.head.push(text);
        }
    }
    let parts = tracebacks.into_iter().rev().flatten();
    let parts = parts.filter(|part| !part.frames.is_empty() || !part.head.is_empty());
    let reversed = parts.map(|mut part| {
        part.frames.reverse();
        part.finish()
    });
    reversed.collect()
}
