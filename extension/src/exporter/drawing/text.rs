//! Text for rows of a terminal: without control characters, and cut to a number of columns.

use std::{fmt::Write, time::Duration};

use anstyle::Style;

/// Escapes characters that break lines, move the cursor or change the direction of text.
pub(super) fn clean(text: &str) -> String {
    text.chars().fold(String::new(), |mut clean, char| {
        if char.is_control() || is_layout(char) {
            clean.extend(char.escape_default());
        } else {
            clean.push(char);
        }
        clean
    })
}

fn is_layout(char: char) -> bool {
    matches!(char, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The columns that a terminal uses for the text.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(char_columns).sum()
}

/// Scripts and signs of two columns: <https://www.unicode.org/reports/tr11/>
fn char_columns(char: char) -> usize {
    match char {
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

/// The text in at most `width` columns. A cut text ends with `…`.
pub(super) fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut kept: String = prefix(text, width.saturating_sub(1)).to_owned();
    kept.extend((width > 0).then_some('…'));
    kept
}

/// Splits the text into parts of at most `width` columns, which is at least 2.
pub(super) fn wrap(mut text: &str, width: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    while !text.is_empty() {
        let part = prefix(text, width.max(2));
        parts.push(part);
        text = &text[part.len()..];
    }
    parts
}

fn prefix(text: &str, width: usize) -> &str {
    let mut used = 0;
    let end = text.char_indices().find(|(_, char)| {
        used += char_columns(*char);
        used > width
    });
    &text[..end.map_or(text.len(), |(index, _)| index)]
}

/// In at most 8 columns, up to 10,000 seconds.
pub(super) fn duration(nanos: u64) -> String {
    let millis = Duration::from_nanos(nanos).as_secs_f64() * 1e3;
    match millis {
        ..9.995 => format!("{millis:.2} ms"),
        ..999.95 => format!("{millis:.1} ms"),
        _ => format!("{:.1} s", millis / 1e3),
    }
}

/// A row in progress: its text with styles, and its columns.
#[derive(Debug, Default)]
pub(super) struct StyledRow {
    pub(super) text: String,
    pub(super) columns: usize,
}

impl StyledRow {
    /// Adds clean text.
    pub(super) fn push(&mut self, style: Style, text: &str) {
        let _ = write!(self.text, "{style}{text}{style:#}");
        self.columns += columns(text);
    }

    /// As [`Self::push`], as a link that a terminal opens by a click.
    pub(super) fn push_link(&mut self, style: Style, text: &str, url: &str) {
        let _ = write!(self.text, "\x1b]8;;{url}\x1b\\");
        self.push(style, text);
        self.text.push_str("\x1b]8;;\x1b\\");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_text_fits_and_ends_with_an_ellipsis() {
        for (text, width, expected) in [
            ("home", 4, "home"),
            ("homes", 4, "hom…"),
            ("話話話", 6, "話話話"),
            ("話話話", 5, "話話…"),
            ("話話", 2, "…"),
            ("home", 0, ""),
        ] {
            assert_eq!(cut(text, width), expected);
        }
    }

    #[test]
    fn a_wrapped_text_is_complete_and_fits() {
        assert_eq!(wrap("ab話de", 3), ["ab", "話d", "e"]);
    }

    #[test]
    fn a_duration_has_at_most_eight_columns() {
        for (nanos, expected) in [
            (4_950_000, "4.95 ms"),
            (9_996_000, "10.0 ms"),
            (999_940_000, "999.9 ms"),
            (999_960_000, "1.0 s"),
        ] {
            assert_eq!(duration(nanos), expected);
        }
    }
}
