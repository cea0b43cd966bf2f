//! A backtrace as people read it: our own calls first, without what every call goes through.

use std::backtrace::{Backtrace, BacktraceStatus};

/// Most frames in a backtrace. An async call takes three or four, and ours come first.
const MAX_FRAMES: usize = 48;

/// Crates whose frames are in every backtrace: the panic machinery, the runtime and the pollers.
const MACHINERY: [&str; 12] = [
    "__",
    "_start",
    "alloc::",
    "core::",
    "cruddur::panics::",
    "futures_util::",
    "lambda_runtime::",
    "main",
    "rust_begin_unwind",
    "std::",
    "tokio::",
    "tracing::",
];

/// The same by file, for functions whose frames have no full name since they were inlined.
const MACHINERY_FILES: [&str; 6] =
    ["/rustc/", "functions/src/panics.rs", "/futures-", "/lambda_runtime-", "/tokio-", "/tracing-"];

/// The text for `exception.stacktrace`, in the form of Rust's own, each frame with its number.
/// `None` if nothing was captured.
///
/// Names are looked up here, which takes a while the first time: not before a reply is posted.
pub(super) fn text(backtrace: &Backtrace) -> Option<String> {
    match backtrace.status() {
        BacktraceStatus::Captured => Some(ours_first(&backtrace.to_string())),
        _ => None,
    }
}

fn ours_first(backtrace: &str) -> String {
    let mut frames: Vec<Frame<'_>> = Vec::new();
    for line in backtrace.lines() {
        match line.trim_start().split_once(": ") {
            Some((number, name)) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                frames.push(Frame { name, lines: vec![line] });
            }
            // `at file:line:column`, of the frame before it.
            _ => {
                if let Some(frame) = frames.last_mut() {
                    frame.lines.push(line);
                }
            }
        }
    }
    let (ours, others): (Vec<_>, Vec<_>) = frames.into_iter().partition(Frame::is_ours);
    let others = others.into_iter().filter(|frame| !frame.is_machinery());
    let told = ours.into_iter().chain(others).take(MAX_FRAMES);
    told.flat_map(|frame| frame.lines).collect::<Vec<_>>().join("\n")
}

struct Frame<'a> {
    name: &'a str,
    lines: Vec<&'a str>,
}

impl Frame<'_> {
    fn is_ours(&self) -> bool {
        let file = self.file();
        let in_our_files = file.contains("functions/src/") || file.starts_with("./src/");
        (in_our_files || self.function().starts_with("cruddur::")) && !self.is_machinery()
    }

    fn is_machinery(&self) -> bool {
        MACHINERY.iter().any(|prefix| self.function().starts_with(prefix))
            || MACHINERY_FILES.iter().any(|part| self.file().contains(part))
    }

    /// Empty where there are only names.
    fn file(&self) -> &str {
        self.lines.get(1).and_then(|line| line.trim_start().strip_prefix("at ")).unwrap_or_default()
    }

    /// `<cruddur::a::B as core::c::D>::e` is one of `cruddur::a`.
    fn function(&self) -> &str {
        self.name.trim_start_matches(['<', '&'])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_calls_come_first_and_what_every_call_goes_through_is_left_out() {
        let backtrace = "\
   0: std::backtrace::Backtrace::create
   1: cruddur::panics::Panic::noted
             at ./functions/src/panics.rs:70:30
   2: <alloc::boxed::Box<F,A> as core::ops::function::Fn<Args>>::call
   3: core::panicking::panic_fmt
   4: jiff::timestamp::Timestamp::strftime
   5: cruddur::endpoints::home_activities::read_feed::{{closure}}
             at ./functions/src/endpoints/home_activities.rs:35:5
   6: <tracing::instrument::Instrumented<T> as core::future::future::Future>::poll
   7: <cruddur::runtime::App as cruddur::x::Y>::z
  12: {async_block#0}
             at /build/functions/src/lambda.rs:30:5
  13: poll<&mut dyn core::future::future::Future<Output=()>>
             at /rustc/59807616/library/core/src/future/future.rs:133:9
   8: tokio::runtime::park::CachedParkThread::block_on
   9: home_activities::main
  10: main
  11: __libc_start_main";

        let expected = "   5: cruddur::endpoints::home_activities::read_feed::{{closure}}
             at ./functions/src/endpoints/home_activities.rs:35:5
   7: <cruddur::runtime::App as cruddur::x::Y>::z
  12: {async_block#0}
             at /build/functions/src/lambda.rs:30:5
   4: jiff::timestamp::Timestamp::strftime
   9: home_activities::main";
        assert_eq!(ours_first(backtrace), expected);
    }

    #[test]
    fn what_was_captured_here_names_this_test_first() {
        let text = text(&Backtrace::force_capture()).unwrap();

        let first = text.lines().next().unwrap();
        assert!(first.contains("what_was_captured_here_names_this_test_first"), "{text}");
        assert_eq!(super::text(&Backtrace::disabled()), None);
    }
}
