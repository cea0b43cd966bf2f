//! Draws one trace: a line per span with its bar, and the attributes below.
//!
//! Texts in spans are untrusted, so control characters are escaped.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write,
    time::Duration,
};

use anstyle::{AnsiColor, Style};
use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue},
    trace::v1::{Span, status::StatusCode},
};
use trace_context::TraceId;

use crate::otlp::any_value::text;

const TITLE: Style = Style::new().bold();
const BAR: Style = AnsiColor::Cyan.on_default();
const ERROR: Style = AnsiColor::Red.on_default().bold();
const DETAIL: Style = Style::new().dimmed();

/// Columns; narrower terminals wrap the lines.
const MIN_WIDTH: usize = 60;

/// Columns; deeper spans start again at the left margin.
const MAX_INDENT: usize = 48;

/// A span and the service that sent it.
#[derive(Debug)]
pub(super) struct ReceivedSpan {
    pub(super) span: Span,
    pub(super) service: String,
}

/// `trace` has at least one span; `width` is in columns. The drawing ends with a newline.
pub(super) fn draw(trace: &[ReceivedSpan], width: usize) -> String {
    let rows = rows(trace);
    // A span without a time would stretch the scale to 1970.
    let starts = trace.iter().map(|received| received.span.start_time_unix_nano);
    let start = starts.filter(|start| *start > 0).min().unwrap_or(0);
    let end = trace.iter().map(|received| received.span.end_time_unix_nano).max().unwrap_or(0);
    let names = rows.iter().map(|row| row.label().chars().count()).max().unwrap_or(0);
    let width = width.max(MIN_WIDTH);
    let names = names.min(width / 2);
    let scale =
        Scale { start, length: end.saturating_sub(start).max(1), columns: width - names - 16 };

    let mut text = title(trace, Duration::from_nanos(end.saturating_sub(start)));
    for row in &rows {
        row.draw(&mut text, names, &scale, width);
    }
    text.push('\n');
    text
}

fn title(trace: &[ReceivedSpan], took: Duration) -> String {
    let Some(first) = trace.first() else {
        return String::new();
    };
    let mut services: Vec<_> = trace.iter().map(|received| received.service.as_str()).collect();
    services.dedup();
    let trace_id =
        <[u8; 16]>::try_from(&first.span.trace_id[..]).ok().and_then(TraceId::from_bytes);
    let trace_id = trace_id.map_or_else(|| "without a valid id".into(), |id| id.to_string());
    let (services, took) = (services.join(", "), millis(took));
    format!("{TITLE}trace {trace_id}{TITLE:#} {DETAIL}{services}, {took}{DETAIL:#}\n")
}

struct Row<'a> {
    span: &'a Span,
    /// Precedes the name: `│  └─ `.
    branch: String,
    /// Precedes the names of descendants: `│  `.
    indent: String,
    has_children: bool,
}

struct Scale {
    start: u64,
    length: u64,
    columns: usize,
}

impl Scale {
    fn column(&self, nanos: u64) -> usize {
        let offset = u128::from(nanos.saturating_sub(self.start).min(self.length));
        usize::try_from(offset * self.columns as u128 / u128::from(self.length)).unwrap_or(0)
    }
}

impl Row<'_> {
    fn label(&self) -> String {
        format!("{}{}", self.branch, clean(&self.span.name))
    }

    fn draw(&self, text: &mut String, names: usize, scale: &Scale, width: usize) {
        let span = self.span;
        let status = span.status.as_ref();
        let failed = status.is_some_and(|status| status.code == StatusCode::Error as i32);
        let style = if failed { ERROR } else { BAR };
        let from = scale.column(span.start_time_unix_nano).min(scale.columns - 1);
        let to = scale.column(span.end_time_unix_nano).clamp(from + 1, scale.columns);
        let took = match span.start_time_unix_nano {
            0 => 0,
            start => span.end_time_unix_nano.saturating_sub(start),
        };
        let label: String = self.label().chars().take(names).collect();
        let (blank, bar, rest) = (from, "█".repeat(to - from), scale.columns - to);
        let took = millis(Duration::from_nanos(took));
        let _ = writeln!(
            text,
            "{label:names$} ▕{:blank$}{style}{bar}{style:#}{:rest$}▏ {took:>11}",
            "", ""
        );
        if let Some(status) = status.filter(|_| failed) {
            let message = clean(&status.message);
            let _ = writeln!(text, "{}{ERROR}error {message}{ERROR:#}", self.margin());
        }
        self.draw_details(text, words(&span.attributes), width);
        for event in &span.events {
            let name = std::iter::once(format!("• {}", clean(&event.name)));
            self.draw_details(text, name.chain(words(&event.attributes)), width);
        }
    }

    /// Precedes the lines below the name, so that the branch to the children continues.
    fn margin(&self) -> String {
        format!("{}{}", self.indent, if self.has_children { "│  " } else { "   " })
    }

    fn draw_details(&self, text: &mut String, words: impl Iterator<Item = String>, width: usize) {
        let margin = self.margin();
        let room = width.saturating_sub(margin.chars().count()).max(MIN_WIDTH / 2);
        let mut line = String::new();
        let mut end_line = |line: &mut String| {
            if !line.is_empty() {
                let _ = writeln!(text, "{margin}{DETAIL}{line}{DETAIL:#}");
                line.clear();
            }
        };
        for word in words {
            if !line.is_empty() && line.chars().count() + 2 + word.chars().count() > room {
                end_line(&mut line);
            }
            let gap = if line.is_empty() { "" } else { "  " };
            let _ = write!(line, "{gap}{word}");
        }
        end_line(&mut line);
    }
}

/// Children follow their parent, in the order of their start.
fn rows(trace: &[ReceivedSpan]) -> Vec<Row<'_>> {
    let mut spans: Vec<&Span> = trace.iter().map(|sent| &sent.span).collect();
    spans.sort_by_key(|span| span.start_time_unix_nano);
    let ids: HashSet<&[u8]> = spans.iter().map(|span| &span.span_id[..]).collect();
    let mut children: HashMap<&[u8], Vec<&Span>> = HashMap::new();
    let mut tree = Tree { rows: Vec::new(), drawn: HashSet::new() };
    let (nested, roots): (Vec<&Span>, Vec<&Span>) = spans.iter().copied().partition(|span| {
        ids.contains(&span.parent_span_id[..]) && span.parent_span_id != span.span_id
    });
    for span in nested {
        children.entry(&span.parent_span_id[..]).or_default().push(span);
    }
    // Spans of a cycle have no root. They are drawn last, so that no span is hidden.
    for root in roots.into_iter().chain(spans) {
        tree.add(root, &children);
    }
    tree.rows
}

struct Tree<'a> {
    rows: Vec<Row<'a>>,
    drawn: HashSet<*const Span>,
}

impl<'a> Tree<'a> {
    /// Adds a span and its descendants, without recursion: a trace may be thousands deep.
    fn add(&mut self, root: &'a Span, children: &HashMap<&[u8], Vec<&'a Span>>) {
        let row = |span, branch, indent| Row { span, branch, indent, has_children: false };
        let mut stack = vec![row(root, String::new(), String::new())];
        while let Some(mut parent) = stack.pop() {
            if !self.drawn.insert(std::ptr::from_ref(parent.span)) {
                continue;
            }
            let below = children.get(&parent.span.span_id[..]).map_or(&[][..], Vec::as_slice);
            parent.has_children = !below.is_empty();
            let deepest = parent.indent.chars().count() >= MAX_INDENT;
            let indent = if deepest { "" } else { parent.indent.as_str() };
            for (index, child) in below.iter().enumerate().rev() {
                let (branch, further) = if index + 1 == below.len() {
                    ("└─ ", "   ")
                } else {
                    ("├─ ", "│  ")
                };
                stack.push(row(child, format!("{indent}{branch}"), format!("{indent}{further}")));
            }
            self.rows.push(parent);
        }
    }
}

/// One word `key=value` per attribute.
fn words(attributes: &[KeyValue]) -> impl Iterator<Item = String> {
    attributes.iter().map(|pair| format!("{}={}", clean(&pair.key), value(pair.value.as_ref())))
}

pub(super) fn value(value: Option<&AnyValue>) -> String {
    clean(&text(value))
}

fn clean(text: &str) -> String {
    text.chars().fold(String::new(), |mut clean, char| {
        if char.is_control() || is_layout(char) {
            clean.extend(char.escape_default());
        } else {
            clean.push(char);
        }
        clean
    })
}

/// Characters that break lines or change the direction of text.
fn is_layout(char: char) -> bool {
    matches!(char, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn millis(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sent(id: u8, parent: u8, name: &str, millis: std::ops::Range<u64>) -> ReceivedSpan {
        let span = Span {
            trace_id: vec![1; 16],
            span_id: vec![id; 8],
            parent_span_id: vec![parent; 8],
            name: name.to_owned(),
            start_time_unix_nano: (1_000 + millis.start) * 1_000_000,
            end_time_unix_nano: (1_000 + millis.end) * 1_000_000,
            ..Span::default()
        };
        ReceivedSpan { span, service: "home".into() }
    }

    fn plain(trace: &[ReceivedSpan], width: usize) -> String {
        anstream::adapter::strip_str(&draw(trace, width)).to_string()
    }

    #[test]
    fn children_stand_below_their_parent_in_the_order_of_their_start() {
        let trace = [
            sent(3, 1, "later", 6..8),
            sent(2, 1, "sooner", 2..6),
            sent(4, 2, "inner", 3..4),
            sent(1, 9, "GET /", 0..10),
        ];

        let expected = "\
trace 01010101010101010101010101010101 home, 10.00 ms
GET /       ▕█████████████████████████████████▏    10.00 ms
├─ sooner   ▕      █████████████              ▏     4.00 ms
│  └─ inner ▕         ████                    ▏     1.00 ms
└─ later    ▕                   ███████       ▏     2.00 ms

";
        assert_eq!(plain(&trace, 60), expected);
    }

    #[test]
    fn a_span_without_a_time_does_not_stretch_the_scale() {
        let mut timeless = sent(2, 1, "timeless", 0..0);
        (timeless.span.start_time_unix_nano, timeless.span.end_time_unix_nano) = (0, 0);
        let trace = [sent(1, 9, "GET /", 0..10), sent(3, 1, "half", 5..10), timeless];

        let drawing = plain(&trace, 60);

        let bar = |name: &str| {
            let line = drawing.lines().find(|line| line.contains(name)).unwrap();
            line.matches('█').count()
        };
        assert_eq!(bar("half"), bar("GET /") / 2 + 1, "{drawing}");
        assert!(drawing.contains("home, 10.00 ms") && bar("timeless") == 1, "{drawing}");
    }

    #[test]
    fn spans_that_are_each_others_parents_are_drawn_once_each() {
        let drawing = plain(&[sent(1, 2, "egg", 0..1), sent(2, 1, "hen", 0..1)], 80);

        assert_eq!(drawing.matches("egg").count(), 1);
        assert_eq!(drawing.matches("hen").count(), 1);
    }

    #[test]
    fn control_characters_of_a_span_do_not_reach_the_terminal() {
        let drawing = draw(&[sent(1, 0, "a\u{1b}[2Jb\nc\u{202e}d", 0..1)], 80);

        assert!(drawing.contains(r"a\u{1b}[2Jb\nc\u{202e}d"), "{drawing}");
    }

    proptest! {
        #[test]
        fn any_tree_and_any_times_can_be_drawn(
            spans in prop::collection::vec((any::<u8>(), any::<u8>(), any::<u64>(), any::<u64>()), 1..20),
            width in 0..300_usize,
        ) {
            let trace: Vec<_> = spans.into_iter().map(|(id, parent, start, end)| {
                let mut sent = sent(id, parent, "x", 0..0);
                (sent.span.start_time_unix_nano, sent.span.end_time_unix_nano) = (start, end);
                sent
            }).collect();

            let drawing = plain(&trace, width);

            prop_assert_eq!(drawing.lines().count(), trace.len() + 2);
        }
    }
}
