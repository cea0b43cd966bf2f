//! Filter patterns of CloudWatch Logs, by our model: terms and JSON, without regular expressions and
//! space-delimited patterns.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html>
//!
//! The service itself may differ. The tests below are the examples of that page.

use std::iter::Peekable;
use std::str::Chars;

use serde_json::Value;

/// Whether a pattern matches a log event. Panics if the pattern is malformed.
pub fn matches(pattern: &str, event: &str) -> bool {
    let pattern = pattern.trim();
    if !pattern.starts_with('{') {
        return matches_terms(pattern, event);
    }
    let inner = pattern.strip_prefix('{').and_then(|it| it.strip_suffix('}'));
    let inner = inner.unwrap_or_else(|| panic!("no closing brace: {pattern}"));
    // Events that are not JSON match no JSON pattern.
    let Ok(event) = serde_json::from_str::<Value>(event) else { return false };
    let mut parser = Parser { text: inner.chars().peekable(), event: &event };
    let is_match = parser.any_of();
    assert!(parser.next_is_end(), "text behind the expression: {pattern}");
    is_match
}

/// All terms must occur, none with `-`, and one of those with `?`.
fn matches_terms(pattern: &str, event: &str) -> bool {
    let mut optional = Vec::new();
    for term in terms(pattern) {
        let has = |text: &str| event.contains(text.trim_matches('"'));
        match term.split_at_checked(1) {
            Some(("-", text)) if has(text) => return false,
            Some(("-", _)) => {}
            Some(("?", text)) => optional.push(has(text)),
            _ if !has(&term) => return false,
            _ => {}
        }
    }
    optional.is_empty() || optional.contains(&true)
}

/// Splits at blanks outside of quotes.
fn terms(pattern: &str) -> Vec<String> {
    let mut terms = vec![String::new()];
    let mut is_quoted = false;
    for letter in pattern.chars() {
        is_quoted ^= letter == '"';
        match terms.last_mut() {
            Some(term) if is_quoted || letter != ' ' => term.push(letter),
            _ => terms.push(String::new()),
        }
    }
    terms.retain(|term| !term.is_empty());
    terms
}

struct Parser<'a> {
    text: Peekable<Chars<'a>>,
    event: &'a Value,
}

/// The right side of a comparison.
struct Operand {
    text: String,
    is_quoted: bool,
}

impl<'a> Parser<'a> {
    /// `&&` binds closer than `||`. Both sides are always read.
    fn any_of(&mut self) -> bool {
        let mut is_match = self.all_of();
        while self.skip("||") {
            is_match |= self.all_of();
        }
        is_match
    }

    fn all_of(&mut self) -> bool {
        let mut is_match = self.one();
        while self.skip("&&") {
            is_match &= self.one();
        }
        is_match
    }

    fn one(&mut self) -> bool {
        if !self.skip("(") {
            return self.condition();
        }
        let is_match = self.any_of();
        assert!(self.skip(")"), "a parenthesis is open");
        is_match
    }

    fn condition(&mut self) -> bool {
        let field = self.selected();
        let (is, not) = (self.skip("IS"), self.skip("NOT"));
        if is || not {
            let word = self.word();
            return match (is, word.as_str()) {
                (true, "NULL") => field.is_some_and(Value::is_null),
                (true, "TRUE") => field == Some(&Value::Bool(true)),
                (true, "FALSE") => field == Some(&Value::Bool(false)),
                (false, "EXISTS") => field.is_none(),
                _ => panic!("unknown test {word}"),
            };
        }
        let operators = ["!=", ">=", "<=", "=", ">", "<"];
        let operator = operators.into_iter().find(|it| self.skip(it)).expect("an operator");
        let operand = self.operand();
        field.is_some_and(|field| compare(field, operator, &operand))
    }

    /// `$.name` and `$.list[0].name`.
    fn selected(&mut self) -> Option<&'a Value> {
        assert!(self.skip("$"), "a selector begins with $");
        let mut found = Some(self.event);
        loop {
            if self.text.next_if_eq(&'.').is_some() {
                let is_name = |it: &char| it.is_alphanumeric() || matches!(it, '-' | '_');
                let name: String = std::iter::from_fn(|| self.text.next_if(is_name)).collect();
                found = found.and_then(|it| it.get(&name));
            } else if self.text.next_if_eq(&'[').is_some() {
                let digits: String =
                    std::iter::from_fn(|| self.text.next_if(char::is_ascii_digit)).collect();
                assert!(self.text.next_if_eq(&']').is_some(), "a bracket is open");
                let index: usize = digits.parse().expect("an index");
                found = found.and_then(|it| it.get(index));
            } else {
                return found;
            }
        }
    }

    fn skip(&mut self, word: &str) -> bool {
        self.skip_blanks();
        let mut ahead = self.text.clone();
        let is_next = word.chars().all(|letter| ahead.next() == Some(letter));
        if is_next {
            self.text = ahead;
        }
        is_next
    }

    fn skip_blanks(&mut self) {
        while self.text.next_if(|letter| letter.is_whitespace()).is_some() {}
    }

    fn next_is_end(&mut self) -> bool {
        self.skip_blanks();
        self.text.peek().is_none()
    }

    fn word(&mut self) -> String {
        self.skip_blanks();
        std::iter::from_fn(|| self.text.next_if(|it| !it.is_whitespace() && !"()&|".contains(*it)))
            .collect()
    }

    fn operand(&mut self) -> Operand {
        self.skip_blanks();
        if self.text.next_if_eq(&'"').is_none() {
            return Operand { text: self.word(), is_quoted: false };
        }
        let text = std::iter::from_fn(|| self.text.next_if(|it| *it != '"')).collect();
        assert!(self.text.next_if_eq(&'"').is_some(), "a quotation mark is open");
        Operand { text, is_quoted: true }
    }
}

/// Objects and lists match no comparison, not even `!=`.
fn compare(field: &Value, operator: &str, operand: &Operand) -> bool {
    let number = (!operand.is_quoted).then(|| operand.text.parse::<f64>().ok()).flatten();
    if let (Some(left), Some(right)) = (field.as_f64(), number) {
        return match operator {
            "=" => left == right,
            "!=" => left != right,
            ">" => left > right,
            "<" => left < right,
            ">=" => left >= right,
            _ => left <= right,
        };
    }
    let text = match field {
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => field.to_string(),
        _ => return false,
    };
    match operator {
        "=" => fits(&text, &operand.text),
        "!=" => !fits(&text, &operand.text),
        _ => false,
    }
}

/// An asterisk at the start or at the end stands for any text.
fn fits(text: &str, wanted: &str) -> bool {
    match (wanted.strip_prefix('*'), wanted.strip_suffix('*')) {
        (Some(""), _) => true,
        (Some(inner), Some(_)) => text.contains(inner.trim_end_matches('*')),
        (Some(end), None) => text.ends_with(end),
        (None, Some(start)) => text.starts_with(start),
        (None, None) => text == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_match_as_in_the_documentation() {
        let rows = [
            ("ERROR", "[ERROR 400] BAD REQUEST", true),
            ("ERROR", "[error] bad request", false),
            ("ERROR ARGUMENTS", "[ERROR 419] MISSING ARGUMENTS", true),
            ("ERROR ARGUMENTS", "[ERROR 401] UNAUTHORIZED REQUEST", false),
            ("?ERROR ?ARGUMENTS", "[ERROR 401] UNAUTHORIZED REQUEST", true),
            ("?ERROR ?ARGUMENTS", "[INFO] REQUEST", false),
            ("\"INTERNAL SERVER ERROR\"", "[ERROR 500] INTERNAL SERVER ERROR", true),
            ("\"INTERNAL SERVER ERROR\"", "[ERROR 500] SERVER ERROR INTERNAL", false),
            ("ERROR -ARGUMENTS", "[ERROR 400] BAD REQUEST", true),
            ("ERROR -ARGUMENTS", "[ERROR 419] MISSING ARGUMENTS", false),
        ];
        for (pattern, event, expected) in rows {
            assert_eq!(matches(pattern, event), expected, "{pattern} in {event}");
        }
    }

    #[test]
    fn fields_match_as_in_the_documentation() {
        let event = r#"{
            "eventType": "UpdateTrail", "sourceIPAddress": "111.111.111.111",
            "arrayKey": ["value", "another value"],
            "objectList": [{"name": "a", "id": 1}, {"name": "b", "id": 2}],
            "SomeObject": null, "ThisFlag": true, "bandwidth": 80, "latency": 40, "refreshRate": 60,
            "responseTime": 5, "errorCode": 400, "number": [0.001]
        }"#;
        let rows = [
            (r#"{ $.eventType = "UpdateTrail" }"#, true),
            ("{ $.sourceIPAddress != 123.123.* }", true),
            ("{ $.sourceIPAddress = 111.111.* }", true),
            (r#"{ $.arrayKey[0] = "value" }"#, true),
            ("{ $.objectList[1].id = 2 }", true),
            ("{ $.SomeObject IS NULL }", true),
            ("{ $.SomeOtherObject NOT EXISTS }", true),
            ("{ $.ThisFlag IS TRUE }", true),
            ("{ $.ThisFlag IS FALSE }", false),
            ("{ $.bandwidth > 75 }", true),
            ("{ $.latency < 50 }", true),
            ("{ $.refreshRate >= 60 }", true),
            ("{ $.responseTime <= 5 }", true),
            ("{ $.errorCode = 400 }", true),
            ("{ $.errorCode != 500 }", true),
            ("{ $.number[0] = 1e-3 }", true),
            ("{ $.number[0] != 1e+3 }", true),
            // A selector that finds a list or nothing matches no comparison.
            (r#"{ $.arrayKey != "value" }"#, false),
            (r#"{ $.SomeOtherObject != "value" }"#, false),
        ];
        for (pattern, expected) in rows {
            assert_eq!(matches(pattern, event), expected, "{pattern}");
        }
    }

    #[test]
    fn compound_expressions_match_as_in_the_documentation() {
        let event = r#"{
            "user": {"id": 1, "email": "John.Stiles@example.com"},
            "users": [
                {"id": 2, "email": "John.Doe@example.com"},
                {"id": 3, "email": "Jane.Doe@example.com"}
            ],
            "actions": ["GET", "PUT", "DELETE"],
            "coordinates": [[0, 1, 2], [4, 5, 6], [7, 8, 9]]
        }"#;
        let rows = [
            (r#"{ ($.user.id = 1) && ($.users[0].email = "John.Doe@example.com") }"#, true),
            (
                r#"{ ($.user.id = 2 && $.users[0].email = "nonmatch") || $.actions[2] = "GET" }"#,
                false,
            ),
            (
                r#"{ $.user.email = "John.Stiles@example.com" || $.coordinates[0][1] = "nonmatch" && $.actions[2] = "nonmatch" }"#,
                true,
            ),
            (
                r#"{ ($.user.email = "John.Stiles@example.com" || $.coordinates[0][1] = "nonmatch") && $.actions[2] = "nonmatch" }"#,
                false,
            ),
        ];
        for (pattern, expected) in rows {
            assert_eq!(matches(pattern, event), expected, "{pattern}");
        }
    }

    #[test]
    fn a_field_of_json_matches_no_text_of_a_client() {
        let event = r#"{"path": "/code", "message": "code"}"#;
        assert!(matches("code", event));
        assert!(!matches("{ $.code = * }", event));
        assert!(!matches("{ $.code = * }", "code"));
    }
}
