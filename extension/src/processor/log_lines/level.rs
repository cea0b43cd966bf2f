//! The level in the text of a plain line.

/// The number of words in which a level is searched: `2026-01-01 00:00:00,000 - a.logger - ERROR` has
/// eight.
const WORDS: usize = 10;

/// Bytes of a long line in which a level is searched: ten long words.
const HEAD: usize = 512;

/// The level among the first words of a plain line, or the error of a Rust panic.
pub(super) fn level_in(text: &str) -> Option<&'static str> {
    const KNOWN: [&str; 8] =
        ["ERROR", "WARN", "WARNING", "INFO", "DEBUG", "TRACE", "FATAL", "CRITICAL"];
    if text.starts_with("thread '") && text.contains("panicked at") {
        return Some("ERROR");
    }
    let head = text.get(..HEAD).unwrap_or(text);
    let words =
        head.split([' ', '\t', '[', ']', ':', '|']).filter(|word| !word.is_empty()).take(WORDS);
    words.filter_map(|word| KNOWN.into_iter().find(|known| known == &word)).next()
}
