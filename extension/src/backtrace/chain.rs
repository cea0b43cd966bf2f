//! The exceptions of a stack text: the one that was thrown, and its causes.

use crate::backtrace::frame::StackFrame;
use crate::backtrace::line::{
    at, call_at, go_function, go_place, php_frame, python_frame, ruby_frame, rust_function,
};
use crate::backtrace::part::{ExceptionPart, StackException, without_gutter};
use crate::backtrace::python;

/// The exceptions of a stack, the outermost first. Without a known form there is one without frames.
pub fn exceptions(stack: &str) -> Vec<StackException<'_>> {
    match stack.lines().any(|line| python_frame(without_gutter(line).trim()).is_some()) {
        true => python::exceptions(stack),
        false => Chain::read(stack),
    }
}

#[derive(Debug)]
struct Chain<'a> {
    parts: Vec<ExceptionPart<'a>>,
    /// The index of the part that frames belong to.
    current: usize,
    /// The last line that is not a frame, which may name a function (Go) or an exception (JavaScript).
    last: Option<&'a str>,
    /// Whether the members of an aggregate follow (JavaScript).
    in_errors: bool,
    is_php: bool,
    /// Whether each exception is the cause of the next one.
    is_innermost_first: bool,
}

impl<'a> Chain<'a> {
    fn read(stack: &'a str) -> Vec<StackException<'a>> {
        let mut chain = Self {
            parts: vec![ExceptionPart::default()],
            current: 0,
            last: None,
            in_errors: false,
            is_php: false,
            is_innermost_first: false,
        };
        for raw_line in stack.lines() {
            let line = raw_line.trim();
            if is_goroutine(line) && !chain.parts[0].frames.is_empty() {
                break; // another goroutine
            }
            if !line.is_empty() && !is_goroutine(line) {
                chain.line(raw_line, line);
            }
            if line.ends_with("<---") {
                chain.current = chain.parts[chain.current].parent; // of an aggregate (.NET)
            }
        }
        chain.finish()
    }

    fn line(&mut self, raw_line: &'a str, line: &'a str) {
        if self.frame(raw_line, line) {
            self.last = None;
        } else if let Some(head) = line.strip_prefix("Suppressed: ") {
            self.begin(head);
            self.parts[self.current].is_suppressed = true;
        } else if let Some(head) = cause(line) {
            self.begin(head);
        } else if let Some(head) = line.strip_prefix("Next ").filter(|_| self.is_php) {
            self.is_innermost_first = true;
            self.begin(head);
        } else if line == "Stack trace:" {
            self.is_php = true;
        } else if line.starts_with("--- End of inner") {
            self.current = self.parts[self.current].parent;
        } else if line.ends_with("[errors]: [") {
            self.in_errors = true;
        } else {
            self.last = Some(line);
            let part = &mut self.parts[self.current];
            let is_message = !["... ", "--- End of"].iter().any(|it| line.starts_with(it))
                && !line.trim_matches(['}', ']', ',', ' ']).is_empty();
            if part.frames.is_empty() && is_message {
                part.head.push(line);
                self.split_inner();
            }
        }
    }

    /// Adds a frame. `false` if the line is not one.
    fn frame(&mut self, raw_line: &'a str, line: &'a str) -> bool {
        if self.in_errors
            && line.starts_with("at ")
            && let Some(head) = self.last.take()
        {
            self.begin(head);
        }
        let part = &mut self.parts[self.current];
        if let Some((number, function)) = rust_function(line) {
            let number = Some(number);
            part.frames.push(StackFrame {
                number,
                function: Some(function),
                ..StackFrame::default()
            });
        } else if let Some(place) = line.strip_prefix("at ") {
            match part.frames.last_mut() {
                Some(frame) if frame.number.is_some() && frame.file.is_none() => {
                    *frame =
                        StackFrame { number: frame.number, function: frame.function, ..at(place) };
                }
                _ => part.frames.push(call_at(place)),
            }
        } else if let Some(frame) = php_frame(line) {
            self.is_php = true;
            part.frames.extend(frame);
        } else if let Some((frame, named)) = ruby_frame(line) {
            if named.is_some() && !part.frames.is_empty() {
                self.begin("");
            }
            let part = &mut self.parts[self.current];
            part.named = part.named.or(named);
            part.frames.push(frame);
        } else if let Some(place) = go_place(raw_line) {
            let function = self.last.map(go_function);
            part.head.pop_if(|head| Some(*head) == self.last);
            part.frames.push(StackFrame { function, ..place });
        } else {
            return false;
        }
        true
    }

    /// Begins a cause of the current exception.
    fn begin(&mut self, head: &'a str) {
        let parent = self.current;
        self.current = self.parts.len();
        let head = if head.is_empty() { Vec::new() } else { vec![head] };
        self.parts.push(ExceptionPart { head, parent, ..ExceptionPart::default() });
        self.split_inner();
    }

    /// The .NET Framework writes the causes behind the message.
    fn split_inner(&mut self) {
        let Some(head) = self.parts[self.current].head.last_mut() else { return };
        let Some((outer, inner)) = head.split_once(" ---> ") else { return };
        *head = outer;
        self.begin(inner);
    }

    fn finish(mut self) -> Vec<StackException<'a>> {
        if self.is_php {
            self.parts.iter_mut().for_each(throw_place);
        }
        if self.is_innermost_first {
            self.parts.reverse();
        }
        let (suppressed, mut parts): (Vec<_>, Vec<_>) =
            self.parts.into_iter().partition(|part| part.is_suppressed);
        parts.extend(suppressed);
        parts.into_iter().map(ExceptionPart::finish).collect()
    }
}

fn is_goroutine(line: &str) -> bool {
    line.starts_with("goroutine ") && line.ends_with(':')
}

/// The class and message of a cause.
fn cause(line: &str) -> Option<&str> {
    let head = ["Caused by: ", "caused by: ", "[cause]: ", "---> "]
        .iter()
        .find_map(|it| line.strip_prefix(it))?;
    let numbered = head.strip_prefix("(Inner Exception #").and_then(|it| it.split_once(") "));
    Some(numbered.map_or(head, |(_, head)| head))
}

/// Moves PHP's `in /a.php:5` from the end of the message to the frames.
fn throw_place(part: &mut ExceptionPart<'_>) {
    let Some(last) = part.head.last_mut() else { return };
    if let Some((message, place)) = last.rsplit_once(" in ")
        && at(place).line.is_some()
    {
        *last = message;
        part.frames.insert(0, at(place));
    }
}
