//! The limits of texts that are kept in memory.

use crate::processor::failures::truncate::cut_to;

/// Longest text that is kept, in characters: several times the length of most exceptions.
const MAX_TEXT_CHARS: usize = 4_096;

/// Longest stack that is kept, in characters: some 200 calls.
const MAX_STACK_CHARS: usize = 32_768;

pub(super) fn cut(text: &str) -> String {
    cut_to(text, MAX_TEXT_CHARS)
}

/// Truncates a stack. Except in Python, the innermost calls come first and are kept.
pub(super) fn cut_stack(text: &str) -> String {
    cut_to(text, MAX_STACK_CHARS)
}
