//! Writes for people: answers to standard output, problems to standard error.

use std::io::Write;

/// Exit code for invalid arguments, as in most programs.
pub const USAGE_ERROR: u8 = 2;

/// Ignores write errors: standard error may be full or closed, and the command continues.
pub fn print_error(text: &str) {
    let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}

/// Strips colours unless standard output is a terminal. Ignores write errors: the reader may be gone.
pub(super) fn print(text: &str) {
    let mut out = anstream::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
