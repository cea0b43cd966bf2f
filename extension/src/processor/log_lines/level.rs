//! The level of a line, from its own text or fields.

use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum LogLevel {
    Name(String),
    /// The numbers of bunyan and pino: 50 and above are errors.
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
