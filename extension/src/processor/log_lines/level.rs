//! How grave a line is, by what it says itself.

use serde::Deserialize;

/// How grave a line is.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum LogLevel {
    Name(String),
    /// As bunyan and pino count: 50 is an error.
    Number(f64),
}

impl LogLevel {
    pub(super) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Name(name) => Some(name),
            Self::Number(_) => None,
        }
    }

    pub(super) fn is_error(&self) -> bool {
        match self {
            Self::Name(name) => ERRORS.iter().any(|known| known.eq_ignore_ascii_case(name)),
            Self::Number(number) => *number >= 50.0,
        }
    }
}

/// Levels that count as errors.
const ERRORS: [&str; 6] = ["ERROR", "ERR", "FATAL", "CRITICAL", "PANIC", "EMERGENCY"];

/// How many words may stand before it, and it. Our choice: `2026-01-01 00:00:00,000 - a.logger - ERROR`
/// has seven.
const WORDS: usize = 10;

/// Where they are looked for in a long line, in bytes. Our choice: ten long words.
const HEAD: usize = 512;

/// The level that a plain line shows among its first words, or by what only Rust's panics say.
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
