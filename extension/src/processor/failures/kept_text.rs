//! The limits of texts that are kept in memory.

use crate::processor::failures::truncate::cut_to;

/// Longest text that is kept, in characters: several times the length of most exceptions.
const MAX_TEXT_CHARS: usize = 4_096;

/// Longest stack that is kept, in characters: some 200 calls.
const MAX_STACK_CHARS: usize = 32_768;

pub(super) fn cut(text: &str) -> String {
    cut_to(text, MAX_TEXT_CHARS)
}

/// Truncates a stack. The innermost calls come first and are kept; Python writes them last.
pub(super) fn cut_stack(text: &str) -> String {
    if !text.contains("Traceback (most recent call last)") {
        return cut_to(text, MAX_STACK_CHARS);
    }
    let start = text.char_indices().nth_back(MAX_STACK_CHARS - 1).map_or(0, |(start, _)| start);
    let kept = &text[start..];
    let first_line = kept.find('\n').filter(|_| start > 0).map_or(0, |end| end + 1);
    kept[first_line..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backtrace::exceptions;

    #[test]
    fn a_long_stack_keeps_the_innermost_calls_and_the_exception() {
        let calls: String =
            (0..2_000).map(|n| format!("  File \"/é.py\", line {n}, in f\n")).collect();
        let python = format!("Traceback (most recent call last):\n{calls}KeyError: 'a'\n");
        let calls: String = (0..2_000).map(|n| format!("    at f (/é.js:{n}:1)\n")).collect();
        let node = format!("KeyError: 'a'\n{calls}");

        for (stack, innermost) in [(python, 1_999), (node, 0)] {
            let kept = cut_stack(&stack);

            assert!(kept.chars().count() <= MAX_STACK_CHARS);
            let found = exceptions(&kept);
            assert_eq!(
                (found.len(), found[0].class, found[0].frames[0].line),
                (1, "KeyError", Some(innermost))
            );
        }
    }
}
