//! Splits stack texts of several languages into frames. The order is the text's, which is the innermost
//! first; Python's is reversed to match.

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StackFrame<'a> {
    /// The frame's number, 0 for the innermost, where the language prints it (Rust).
    pub number: Option<u32>,
    /// As the language prints it, such as `cruddur::store::read`, but without Rust's hash.
    pub function: Option<&'a str>,
    pub file: Option<&'a str>,
    pub line: Option<u32>,
    pub column: Option<u32>,
}

/// Paths of libraries and runtimes, by the conventions of each language's installers.
const FOREIGN_PLACES: [&str; 16] = [
    "/rustc/",
    "/.cargo/",
    "/registry/src/",
    "/node_modules/",
    "node:",
    "/site-packages/",
    "/dist-packages/",
    "/lib/python",
    "/var/runtime/",
    "/var/lang/",
    "/usr/lib",
    "/usr/local/",
    "/opt/",
    "/gems/",
    "/go/pkg/mod/",
    "/toolchains/",
];

/// Prefixes of functions of languages, runtimes and their usual libraries, for any frame: a frame may
/// have no file, or a file without its directories.
const FOREIGN_FUNCTIONS: [&str; 14] = [
    "std::",
    "core::",
    "alloc::",
    "tokio::",
    "hyper::",
    "tower::",
    "lambda_runtime::",
    "rust_begin_unwind",
    "__",
    "_start",
    "java.",
    "jdk.",
    "System.",
    "runtime.",
];

impl StackFrame<'_> {
    /// Whether the frame belongs to the program, and not to a library or runtime, by its path and
    /// function. Without a file, a function without a module is not the program's.
    pub fn is_ours(&self) -> bool {
        let function = self.function.unwrap_or_default().trim_start_matches(['<', '&']);
        let is_foreign = FOREIGN_FUNCTIONS.iter().any(|prefix| function.starts_with(prefix));
        match self.file {
            Some(file) => !is_foreign && !FOREIGN_PLACES.iter().any(|place| file.contains(place)),
            None => !is_foreign && function.contains([':', '.']),
        }
    }
}

/// Reads the frames of a stack of Rust, JavaScript, Java, .NET or Python. Empty for other text. Only
/// Python's frames are reordered.
pub fn frames(stack: &str) -> Vec<StackFrame<'_>> {
    let mut frames = Vec::new();
    let mut python = Vec::new();
    let mut in_rust = false;
    for line in stack.lines().map(str::trim) {
        if let Some((number, function)) = rust_function(line) {
            in_rust = true;
            let number = Some(number);
            frames.push(StackFrame { number, function: Some(function), ..StackFrame::default() });
        } else if let Some(place) = line.strip_prefix("at ") {
            match frames.last_mut() {
                Some(frame) if in_rust => {
                    *frame =
                        StackFrame { number: frame.number, function: frame.function, ..at(place) }
                }
                _ => frames.push(call_at(place)),
            }
        } else if let Some(frame) = python_frame(line) {
            python.push(frame);
        }
    }
    // Python prints the innermost frame last.
    frames.extend(python.into_iter().rev());
    frames
}

/// Whether only frames follow the first line: no causing error and no lines of source.
pub fn is_frames_alone(stack: &str) -> bool {
    let mut rest = stack.lines().skip(1).map(str::trim).filter(|line| !line.is_empty());
    rest.all(|line| line.starts_with("at ") || rust_function(line).is_some())
}

/// `4: cruddur::store::read::h0123456789abcdef`, a frame's first line. The second line,
/// its place, may be missing.
fn rust_function(line: &str) -> Option<(u32, &str)> {
    let (number, function) = line.split_once(": ")?;
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // With `RUST_BACKTRACE=full` the address comes first.
    let function = match function.split_once(" - ") {
        Some((address, function)) if address.trim().starts_with("0x") => function,
        _ => function,
    };
    let hash = function
        .rsplit_once("::h")
        .filter(|(_, hash)| hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
    Some((number.parse().ok()?, hash.map_or(function, |(function, _)| function)))
}

/// `function (file:line:column)`, `file:line:column`, or .NET's `function in file:line 12`.
fn call_at(place: &str) -> StackFrame<'_> {
    match (place.split_once(" in "), place.rsplit_once('(')) {
        (Some((function, place)), _) => match place.rsplit_once(":line ") {
            Some((file, line)) => {
                StackFrame { file: text(file), line: line.parse().ok(), ..called(function) }
            }
            None => StackFrame { function: text(function.trim()), ..at(place) },
        },
        (None, Some((function, place))) => {
            StackFrame { function: text(function.trim()), ..at(place.trim_end_matches(')')) }
        }
        (None, None) => at(place),
    }
}

/// `File "path", line 12, in function`
fn python_frame(line: &str) -> Option<StackFrame<'_>> {
    let (file, rest) = line.strip_prefix("File \"")?.split_once("\", line ")?;
    let (number, function) = rest.split_once(", in ").unwrap_or((rest, ""));
    Some(StackFrame { file: text(file), line: number.parse().ok(), ..called(function) })
}

fn called(function: &str) -> StackFrame<'_> {
    StackFrame { function: text(function.trim()), ..StackFrame::default() }
}

/// `file:line:column` or `file:line`; both numbers may be missing.
fn at(place: &str) -> StackFrame<'_> {
    let number = |place: &'_ str| {
        let (file, number) = place.rsplit_once(':')?;
        Some((file.len(), number.parse::<u32>().ok()?))
    };
    let (file, line, column) = match number(place) {
        None => (place, None, None),
        Some((end, last)) => match number(&place[..end]) {
            Some((end, line)) => (&place[..end], Some(line), Some(last)),
            None => (&place[..end], Some(last), None),
        },
    };
    StackFrame { file: text(file), line, column, ..StackFrame::default() }
}

fn text(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
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
                let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
                (text(frame.file), frame.line.unwrap_or_default(), text(frame.function))
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

        let this = |frame: &StackFrame<'_>| {
            frame.function.is_some_and(|function| function.contains("own_backtrace"))
                && frame.file.is_some_and(|file| file.ends_with("backtrace.rs"))
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

    #[test]
    fn what_else_a_stack_says_is_noticed() {
        for stack in
            ["", "Gone: x\n\tat a.B.f(B.java:12)\n", "   0: a::b\n             at src/a.rs:3:1\n"]
        {
            assert!(is_frames_alone(stack), "{stack}");
        }
        for stack in [
            "Gone: x\n\tat a.B.f(B.java:12)\nCaused by: Lost: y\n\t... 3 more\n",
            "Traceback (most recent call last):\n  File \"/a.py\", line 1, in f\n    f()\nGone: x",
            "Gone: two\nlines\n    at f (a.js:1:1)\n",
        ] {
            assert!(!is_frames_alone(stack), "{stack}");
        }
    }

    #[test]
    fn ours_is_what_no_library_and_no_language_brought() {
        let ours = |stack| frames(stack).iter().map(StackFrame::is_ours).collect::<Vec<_>>();
        let rust = "0: core::panicking::panic\n at /rustc/0/library/core/src/panicking.rs:1:1\n\
                    1: cruddur::store::read\n at ./functions/src/store/mod.rs:12:5\n\
                    2: hyper::x\n at /home/a/.cargo/registry/src/i/hyper-1/src/a.rs:1:1\n\
                    3: cruddur::b\n4: <tokio::x as y>::z\n5: main\n";
        assert_eq!(ours(rust), [false, true, false, true, false, false]);
        let node = "at f (/var/task/index.js:3:9)\nat g (/var/task/node_modules/x/i.js:1:1)\n\
                    at process.x (node:internal/process/task_queues:95:5)";
        assert_eq!(ours(node), [true, false, false]);
    }
}
