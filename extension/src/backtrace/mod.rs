//! Splits stack texts of several languages into exceptions and their frames. The outermost exception and
//! the innermost frame come first.
//!
//! | language | causes |
//! |---|---|
//! | Java, Kotlin | `Caused by: `, `Suppressed: ` |
//! | JavaScript | `[cause]: `, `[errors]: [`, `caused by: ` |
//! | .NET | ` ---> ` |
//! | Python | the traceback before; the members of an exception group |
//! | Ruby | the text after the first exception |
//! | PHP | the text before `Next ` |
//! | Rust, Go | none |

mod frame;
mod line;
mod part;
mod python;
mod chain;

pub use crate::backtrace::{chain::exceptions, frame::StackFrame, part::StackException};

use crate::backtrace::line::rust_function;

/// The frames of the outermost exception. Empty for text of no known form.
pub fn frames(stack: &str) -> Vec<StackFrame<'_>> {
    exceptions(stack).into_iter().next().map(|it| it.frames).unwrap_or_default()
}

/// Whether only frames follow the first line: no causing error and no lines of source.
pub fn is_frames_alone(stack: &str) -> bool {
    let mut rest = stack.lines().skip(1).map(str::trim).filter(|line| !line.is_empty());
    rest.all(|line| line.starts_with("at ") || rust_function(line).is_some())
}

#[cfg(test)]
mod tests;
