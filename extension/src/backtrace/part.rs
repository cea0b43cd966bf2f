//! The lines of one exception in a stack text.

use crate::backtrace::frame::StackFrame;

/// An exception within a stack text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StackException<'a> {
    /// Empty if the text does not name it.
    pub class: &'a str,
    pub message: String,
    /// The innermost first.
    pub frames: Vec<StackFrame<'a>>,
}

/// A line without the margin of Python's exception groups.
pub(super) fn without_gutter(line: &str) -> &str {
    let inner = line.trim_start();
    inner.strip_prefix("| ").or(inner.strip_prefix("+ ")).unwrap_or(line)
}

/// The lines of an exception.
#[derive(Debug, Default)]
pub(super) struct ExceptionPart<'a> {
    /// The lines before the frames: class and message.
    pub(super) head: Vec<&'a str>,
    /// Message and class, where they are parts of a frame (Ruby).
    pub(super) named: Option<(&'a str, &'a str)>,
    pub(super) frames: Vec<StackFrame<'a>>,
    /// The index of the exception that this one is an inner one of (.NET).
    pub(super) parent: usize,
    pub(super) is_suppressed: bool,
}

impl<'a> ExceptionPart<'a> {
    pub(super) fn finish(self) -> StackException<'a> {
        if let Some((message, class)) = self.named {
            return StackException { class, message: message.to_owned(), frames: self.frames };
        }
        let Some((first, more)) = self.head.split_first() else {
            return StackException { frames: self.frames, ..StackException::default() };
        };
        let (class, message) = class_and_message(first);
        let message = std::iter::once(message).chain(more.iter().copied());
        let message: Vec<_> = message.filter(|line| !line.is_empty()).collect();
        StackException { class, message: message.join("\n"), frames: self.frames }
    }
}

/// Splits `java.io.IOException: disk` or `TypeError [ERR_X]: no`.
fn class_and_message(head: &str) -> (&str, &str) {
    let mut head = head;
    for prefix in
        ["[ERROR] ", "PHP Fatal error:  ", "Fatal error: ", "Unhandled exception. ", "Uncaught "]
    {
        head = head.strip_prefix(prefix).unwrap_or(head);
    }
    if let Some((_, thrown)) =
        head.strip_prefix("Exception in thread \"").and_then(|it| it.split_once("\" "))
    {
        head = thrown;
    }
    let head = head.trim_end_matches(" {").trim_end_matches("<---").trim();
    let is_class = |text: &str| {
        let name = text.split_once(" [").filter(|(_, code)| code.ends_with(']'));
        let name = name.map_or(text, |(name, _)| name);
        let is_other = |char: char| char.is_whitespace() || matches!(char, '\'' | '"' | '{' | '}');
        !name.is_empty() && !name.contains(is_other)
    };
    match head.split_once(": ").or(head.strip_suffix(':').map(|class| (class, ""))) {
        Some((class, message)) if is_class(class) => (class, message),
        None if is_class(head) => (head, ""),
        _ => ("", head),
    }
}
