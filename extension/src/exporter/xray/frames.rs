//! Stacks as text, taken apart into frames. The innermost comes first.

use std::borrow::Cow;

use super::{document::Frame, limits::cut_field};

/// Reads the frames of a stack that Rust, JavaScript, Java, .NET or Python wrote; none if it looks
/// like something else.
pub(super) fn frames(stack: &str) -> Vec<Frame<'_>> {
    let mut frames = Vec::new();
    let mut python = Vec::new();
    let mut in_rust = false;
    for line in stack.lines().map(str::trim) {
        if let Some(label) = rust_label(line) {
            in_rust = true;
            frames.push(Frame { label: Some(cut_field(label)), ..Frame::default() });
        } else if let Some(place) = line.strip_prefix("at ") {
            match frames.last_mut() {
                Some(frame) if in_rust => (frame.path, frame.line) = path_and_line(place),
                _ => frames.push(call_at(place)),
            }
        } else if let Some(frame) = python_frame(line) {
            python.push(frame);
        }
    }
    // Python writes the innermost frame last.
    frames.extend(python.into_iter().rev());
    frames
}

/// `4: cruddur::store::read::h0123456789abcdef`, the first of a frame's two lines.
fn rust_label(line: &str) -> Option<&str> {
    let (number, label) = line.split_once(": ")?;
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // With `RUST_BACKTRACE=full` the address comes first.
    let label = match label.split_once(" - ") {
        Some((address, label)) if address.trim().starts_with("0x") => label,
        _ => label,
    };
    let hash = label
        .rsplit_once("::h")
        .filter(|(_, hash)| hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
    Some(hash.map_or(label, |(label, _)| label))
}

/// `label (path:line:column)`, `path:line:column`, or .NET's `label in path:line 12`.
fn call_at(place: &str) -> Frame<'_> {
    let (label, place) = match (place.split_once(" in "), place.rsplit_once('(')) {
        (Some((label, place)), _) => (Some(label), place.replace(":line ", ":").into()),
        (None, Some((label, place))) => (Some(label), Cow::Borrowed(place.trim_end_matches(')'))),
        (None, None) => (None, Cow::Borrowed(place)),
    };
    let (path, line) = path_and_line(&place);
    Frame {
        path: path.map(|path| Cow::Owned(path.into_owned())),
        line,
        label: label.map(|label| cut_field(label.trim())),
    }
}

/// `File "path", line 12, in label`
fn python_frame(line: &str) -> Option<Frame<'_>> {
    let (path, rest) = line.strip_prefix("File \"")?.split_once("\", line ")?;
    let (number, label) = rest.split_once(", in ").unwrap_or((rest, ""));
    Some(Frame {
        path: Some(cut_field(path)),
        line: number.parse().ok(),
        label: Some(cut_field(label)).filter(|label| !label.is_empty()),
    })
}

/// Splits `path:line:column` or `path:line`; both numbers may be missing.
fn path_and_line(place: &str) -> (Option<Cow<'_, str>>, Option<u32>) {
    let number = |place: &'_ str| {
        let (path, number) = place.rsplit_once(':')?;
        Some((path.len(), number.parse::<u32>().ok()?))
    };
    let (path, line) = match number(place) {
        None => (place, None),
        Some((end, last)) => match number(&place[..end]) {
            Some((end, line)) => (&place[..end], Some(line)),
            None => (&place[..end], Some(last)),
        },
    };
    (Some(cut_field(path)).filter(|path| !path.is_empty()), line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_frames(stack: &str, expected: &[(&str, u32, &str)]) {
        let found = frames(stack);
        let found: Vec<_> = found
            .iter()
            .map(|frame| {
                let text =
                    |text: &Option<Cow<'_, str>>| text.as_deref().unwrap_or_default().to_owned();
                (text(&frame.path), frame.line.unwrap_or_default(), text(&frame.label))
            })
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(path, line, label)| ((*path).to_owned(), *line, (*label).to_owned()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn rust() {
        assert_frames(
            "   0: std::backtrace::Backtrace::create\n             at /rustc/0/library/std/src/backtrace.rs:331:13\n   \
             1: cruddur::store::read::h0123456789abcdef\n             at ./functions/src/store/mod.rs:12:5\n   \
             2: __libc_start_main\n   3: 0x7f0000000000 - main\n",
            &[
                ("/rustc/0/library/std/src/backtrace.rs", 331, "std::backtrace::Backtrace::create"),
                ("./functions/src/store/mod.rs", 12, "cruddur::store::read"),
                ("", 0, "__libc_start_main"),
                ("", 0, "main"),
            ],
        );
    }

    #[test]
    fn this_very_programs_own_backtrace() {
        let stack = std::backtrace::Backtrace::force_capture().to_string();

        let found = frames(&stack);

        let this = |frame: &Frame<'_>| {
            frame.label.as_ref().is_some_and(|label| label.contains("own_backtrace"))
                && frame.path.as_ref().is_some_and(|path| path.ends_with("frames.rs"))
        };
        assert!(found.iter().any(this), "{stack}");
    }

    #[test]
    fn javascript() {
        assert_frames(
            "TypeError: x is not a function\n    at handler (/var/task/index.js:3:9)\n    at /var/task/a.js:7:1\n",
            &[("/var/task/index.js", 3, "handler"), ("/var/task/a.js", 7, "")],
        );
    }

    #[test]
    fn java_and_dotnet() {
        assert_frames(
            "java.lang.IllegalStateException: x\n\tat com.example.Handler.handle(Handler.java:12)\n",
            &[("Handler.java", 12, "com.example.Handler.handle")],
        );
        assert_frames(
            "   at Example.Handler.Handle() in /src/Handler.cs:line 12\n",
            &[("/src/Handler.cs", 12, "Example.Handler.Handle()")],
        );
    }

    #[test]
    fn python_the_innermost_first() {
        assert_frames(
            "Traceback (most recent call last):\n  File \"/a.py\", line 1, in <module>\n    f()\n  \
             File \"/b.py\", line 2, in f\n    raise X\n",
            &[("/b.py", 2, "f"), ("/a.py", 1, "<module>")],
        );
    }

    #[test]
    fn anything_else_has_no_frames() {
        assert_frames("no stack at all: 12\n4 : x\n", &[]);
    }
}
