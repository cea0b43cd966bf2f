//! The limits of texts that are kept in memory.

use crate::processor::failures::truncate::cut_to;

/// Longest text that is kept, in characters: most exceptions fit many times. Our choice.
const MAX_TEXT_CHARS: usize = 4_096;

/// Longest stack that is kept, in characters: some 200 calls. Our choice.
const MAX_STACK_CHARS: usize = 32_768;

/// The text's beginning.
pub(super) fn cut(text: &str) -> String {
    cut_to(text, MAX_TEXT_CHARS)
}

/// The stack's beginning: its innermost calls, but for Python's.
pub(super) fn cut_stack(text: &str) -> String {
    cut_to(text, MAX_STACK_CHARS)
}
