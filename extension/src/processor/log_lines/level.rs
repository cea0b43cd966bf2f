//! The level in the text of a plain line.

use crate::otlp::log_level::LogLevel;

/// The number of words in which a level is searched: `2026-01-01 00:00:00,000 - a.logger - ERROR` has
/// eight.
const WORDS: usize = 10;

/// Bytes of a long line in which a level is searched: ten long words.
const HEAD: usize = 512;

const KNOWN: [&str; 8] =
    ["ERROR", "WARN", "WARNING", "INFO", "DEBUG", "TRACE", "FATAL", "CRITICAL"];

/// The names that logfmt loggers give to the level.
const LOGFMT_KEYS: [&str; 4] = ["level", "lvl", "severity", "levelname"];

/// The level of a plain line: of its logfmt field, or among its first words, or the error of a Rust panic.
///
/// A word is a level only where loggers write one: as the first word, between separators (`[ERROR]`,
/// `- ERROR -`, `ERROR:`), or behind a timestamp. `0 ERROR found` is a count.
pub(super) fn level_in(text: &str) -> Option<&'static str> {
    if text.starts_with("thread '") && text.contains("panicked at") {
        return Some("ERROR");
    }
    let head = text.get(..HEAD).unwrap_or(text);
    logfmt_level(head).or_else(|| word_level(head))
}

/// The level in a field such as `level=error` or `lvl="warn"`.
fn logfmt_level(head: &str) -> Option<&'static str> {
    let fields = head.split_ascii_whitespace().filter_map(|word| word.split_once('='));
    let mut levels = fields.filter(|(key, _)| LOGFMT_KEYS.contains(key));
    let (_, level) = levels.next()?;
    LogLevel::parse(level.trim_matches(['"', '\''])).map(LogLevel::name)
}

fn word_level(head: &str) -> Option<&'static str> {
    let is_separator = |char: char| matches!(char, ' ' | '\t' | '[' | ']' | ':' | '|');
    let (mut rest, mut behind_timestamp) = (head, false);
    for index in 0..WORDS {
        let trimmed = rest.trim_start_matches(is_separator);
        let before = &rest[..rest.len() - trimmed.len()];
        let end = trimmed.find(is_separator).unwrap_or(trimmed.len());
        let (word, after) = trimmed.split_at(end);
        if let Some(level) = KNOWN.into_iter().find(|known| *known == word) {
            let is_first = index == 0;
            return (is_first || behind_timestamp || is_set_off(before, after)).then_some(level);
        }
        behind_timestamp |= is_timestamp(word, after);
        rest = after;
    }
    None
}

/// Whether separators other than one blank stand on a side of a word.
fn is_set_off(before: &str, after: &str) -> bool {
    before.contains(['[', '|', '\t'])
        || after.starts_with([']', '|', '\t', ':'])
        || after.starts_with(" - ")
}

/// Whether a word is a part of a timestamp, such as `2026-01-01T00`, `2026/01/01` or the hour of `12:34:56`.
fn is_timestamp(word: &str, after: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let is_date = digits >= 4 && word.contains(['-', '/', '.', ',']);
    let minutes = after.strip_prefix(':').unwrap_or_default();
    let is_hour = digits == word.len() && minutes.starts_with(|char: char| char.is_ascii_digit());
    word.starts_with(|char: char| char.is_ascii_digit()) && (is_date || is_hour)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_of_a_plain_line_is_found_where_loggers_write_one() {
        for (text, level) in [
            ("2026-01-01 00:00:00,000 - a.logger - ERROR - failed", Some("ERROR")),
            ("[WARN] 2026-01-01T00:00:00.000Z", Some("WARN")),
            ("one two three four five six seven eight nine ten ERROR", None),
            ("0 ERROR found", None),
            ("Found 12 ERROR lines and 3 WARN lines", None),
            ("There is no ERROR here", None),
            ("ERROR: no table", Some("ERROR")),
            ("INFO 0 ERROR found", Some("INFO")),
            ("2026-01-01T00:00:00.000Z INFO 0 ERROR found", Some("INFO")),
            ("2026-01-01T00:00:00.000Z\t0d1d\tERROR\tInvoke Error", Some("ERROR")),
            ("2026-01-01T00:00:00.000Z ERROR app: failed", Some("ERROR")),
            ("2026-01-01 00:00:00.000  WARN 8 --- [main] c.e.App : slow", Some("WARN")),
            ("12:34:56.789 [main] ERROR c.e.App - failed", Some("ERROR")),
            ("12:34:56 ERROR failed", Some("ERROR")),
            ("2026/01/01 00:00:00 ERROR failed", Some("ERROR")),
            ("app | ERROR | failed", Some("ERROR")),
            ("time=2026-01-01T00:00:00Z level=error msg=\"0 INFO\"", Some("ERROR")),
            ("level=WARN msg=\"ERROR found\"", Some("WARN")),
            ("lvl=\"info\" msg=\"0 ERROR found\"", Some("INFO")),
            ("msg=level=error", None),
        ] {
            assert_eq!(level_in(text), level, "{text}");
        }
    }
}
