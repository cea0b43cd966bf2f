//! Patterns: exact text, with `*` for any text.

/// A pattern's texts between its asterisks; one without an asterisk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextPattern(Vec<String>);

impl TextPattern {
    /// Fails for a pattern that matches everything, and for one of another syntax. The error does not show
    /// the pattern.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.chars().all(|char| matches!(char, '*' | '/' | ' ')) {
            return Err("matches everything");
        }
        let is_text =
            text.chars().all(|char| !char.is_control() && char != char::REPLACEMENT_CHARACTER);
        if !is_text || text.starts_with('^') || text.ends_with('$') || text.contains(['\\', '|']) {
            return Err("is not text with * for any part of it");
        }
        Ok(Self::any(text))
    }

    /// The same without a check.
    pub(super) fn any(text: &str) -> Self {
        Self(text.split('*').map(str::to_owned).collect())
    }

    pub fn matches(&self, text: &[u8]) -> bool {
        let Some((first, others)) = self.0.split_first() else { return false };
        let Some(mut rest) = text.strip_prefix(first.as_bytes()) else { return false };
        let Some((last, between)) = others.split_last() else { return rest.is_empty() };
        for part in between {
            let Some(at) = memchr::memmem::find(rest, part.as_bytes()) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last.as_bytes())
    }
}

/// Reads the entries of a comma list. The value `off` means an empty list.
pub fn parse_patterns<T>(
    list: &str,
    parse: impl Fn(&str) -> Result<T, &'static str>,
) -> Result<Vec<T>, String> {
    if list.eq_ignore_ascii_case("off") {
        return Ok(Vec::new());
    }
    let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).enumerate();
    let parsed = entries.map(|(index, entry)| {
        parse(entry).map_err(|reason| format!("is ignored: entry {} {reason}", index + 1))
    });
    parsed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_exact_but_for_its_asterisks() {
        for (pattern, text, expected) in [
            ("/health", "/health", true),
            ("/health", "/healthz", false),
            ("*/health", "/api/health", true),
            ("*/health", "/health/deep", false),
            ("/api/*/status", "/api/a/b/status", true),
            ("/api/*/status", "/api/status", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a*a", "a", false),
            ("*mid*", "amidst", true),
            ("db.*", "db.", true),
            ("db.*", "http.route", false),
        ] {
            let parsed = TextPattern::parse(pattern).unwrap();
            assert_eq!(parsed.matches(text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_pattern_of_another_syntax_or_without_limits_is_an_error_that_does_not_show_it() {
        for pattern in ["*", "**", "/*", "^/a", "/a$", r"\d+", "a|b", "hid\u{1}den", "\u{fffd}"] {
            let list = format!("/fine,{pattern}");

            let error = parse_patterns(&list, TextPattern::parse).unwrap_err();

            assert!(error.starts_with("is ignored: entry 2 "), "{error}");
            assert!(!error.contains("hid"), "{error}");
        }
        assert_eq!(parse_patterns("off", TextPattern::parse), Ok(vec![]));
        assert_eq!(parse_patterns(" /a, ,*b ", TextPattern::parse).unwrap().len(), 2);
    }
}
