//! Draws one trace: a row per span with its bar, and below it attributes and log lines.
//!
//! Texts in spans are untrusted, so control characters are escaped.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write,
};

use anstyle::{AnsiColor, Style};
use opentelemetry_proto::tonic::{common::v1::KeyValue, logs::v1::LogRecord, trace::v1::Span};

use crate::exporter::drawing::frames;
use crate::exporter::drawing::line::{self, FAILED, Screen, level_style};
use crate::exporter::drawing::text::{clean, columns, cut, duration, wrap};
use crate::exporter::drawing::trace::{
    ReceivedTrace, has_failed, is_access_line, is_entry, line_text, nanos, value,
};
use crate::otlp::any_value::text;
use crate::otlp::log_level::LogLevel;
use crate::text::hex_id;

const TITLE: Style = Style::new().bold();
const BAR: Style = AnsiColor::Cyan.on_default();
const DETAIL: Style = Style::new().dimmed();

/// Columns; narrower terminals wrap the rows.
const MIN_WIDTH: usize = 40;

/// Columns of a pipe.
const DEFAULT_WIDTH: usize = 80;

/// Columns; deeper spans start again at the left margin. At most half a row less the branch.
const MAX_INDENT: usize = 48;

/// Columns beside name and bar: two edges, two blanks and the duration.
const BESIDE_BAR: usize = 12;

/// Attributes that are the same in every request, or that the title shows: left out unless all are
/// asked for. A dot ends a prefix.
const USUAL: [&str; 27] = [
    "app.error_code",
    "app.name",
    "app.user_id",
    "aws.",
    "client.",
    "cloud.",
    "code.",
    "cruddur.",
    "db.namespace",
    "db.system.name",
    "error.type",
    "faas.",
    "http.request.body.size",
    "http.request.method",
    "http.response.body.size",
    "http.response.status_code",
    "http.route",
    "network.",
    "process.",
    "server.",
    "telemetry.",
    "thread.",
    "url.path",
    "url.scheme",
    "user_agent.",
    "exception.escaped",
    "exception.stacktrace",
];

/// `trace` has at least one span. The drawing ends with an empty row.
pub fn draw(trace: &ReceivedTrace, screen: &Screen, shows_all: bool) -> String {
    let width = screen.width.unwrap_or(DEFAULT_WIDTH).max(MIN_WIDTH);
    let rows = rows(trace, MAX_INDENT.min(width / 2 - 6));
    let spans = || trace.spans.iter().map(|received| &received.span);
    // A span without a time would stretch the scale to 1970.
    let starts = spans().map(|span| span.start_time_unix_nano);
    let start = starts.filter(|start| *start > 0).min().unwrap_or(0);
    let end = spans().map(|span| span.end_time_unix_nano).max().unwrap_or(0);
    let names = rows.iter().map(|row| columns(&row.label())).max().unwrap_or(0);
    let names = names.min(width / 2);
    let columns = width - names - BESIDE_BAR;
    let scale = Scale { start, length: end.saturating_sub(start).max(1), columns };
    let page = Page { names, scale, width, shows_all };

    let mut text = title(trace, width, screen);
    for row in &rows {
        row.draw(&mut text, &page);
    }
    let shown: HashSet<&[u8]> = spans().map(|span| &span.span_id[..]).collect();
    for line in trace.lines.iter().filter(|line| !shown.contains(&line.span_id[..])) {
        draw_log_line(&mut text, "", line, &page);
    }
    text.push('\n');
    text
}

/// A row per request, then the whole id and the services.
fn title(trace: &ReceivedTrace, width: usize, screen: &Screen) -> String {
    let mut text = String::new();
    for request in trace.spans.iter().filter(|received| is_entry(&received.span)) {
        let screen = Screen { width: Some(width), ..screen.clone() };
        line::draw_request(&mut text, request, &[], &screen);
    }
    let id = trace.spans.first().map(|first| hex_id(&first.span.trace_id)).unwrap_or_default();
    let id = if id.is_empty() { "without a valid id".to_owned() } else { id };
    let mut services: Vec<_> = trace.spans.iter().map(|it| it.service.as_str()).collect();
    services.dedup();
    let services = cut(&services.join(", "), width.saturating_sub(columns(&id) + 7));
    let _ = writeln!(text, "{TITLE}trace {id}{TITLE:#} {DETAIL}{services}{DETAIL:#}");
    text
}

/// The layout that all rows of a drawing share.
struct Page {
    /// Columns of the names.
    names: usize,
    scale: Scale,
    width: usize,
    shows_all: bool,
}

struct SpanRow<'a> {
    span: &'a Span,
    /// Precedes the name: `│  └─ `.
    branch: String,
    /// Precedes the names of descendants: `│  `.
    indent: String,
    has_children: bool,
    lines: Vec<&'a LogRecord>,
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

impl SpanRow<'_> {
    fn label(&self) -> String {
        format!("{}{}", self.branch, clean(&self.span.name))
    }

    fn draw(&self, text: &mut String, page: &Page) {
        let (span, scale) = (self.span, &page.scale);
        let failed = has_failed(span);
        let style = if failed { FAILED } else { BAR };
        let from = scale.column(span.start_time_unix_nano).min(scale.columns - 1);
        let to = scale.column(span.end_time_unix_nano).clamp(from + 1, scale.columns);
        let took = duration(nanos(span));
        let label = cut(&self.label(), page.names);
        let pad = page.names - columns(&label);
        let (blank, bar, rest) = (from, "█".repeat(to - from), scale.columns - to);
        let _ = writeln!(
            text,
            "{label}{:pad$} ▕{:blank$}{style}{bar}{style:#}{:rest$}▏ {took:>8}",
            "", "", ""
        );
        let message = span.status.as_ref().map(|status| clean(&status.message));
        if let Some(message) = message.filter(|text| failed && !text.is_empty()) {
            self.draw_row(text, FAILED, &format!("error {message}"), page);
        }
        self.draw_details(text, words(&span.attributes, page.shows_all), page);
        for event in &span.events {
            let is_exception = event.name == "exception";
            let name = std::iter::once(format!("• {}", clean(&event.name)));
            if !is_exception || page.shows_all {
                let words = words(&event.attributes, page.shows_all);
                self.draw_details(text, name.chain(words), page);
            }
            if is_exception {
                self.draw_exception(text, &event.attributes, page);
            }
        }
        for line in &self.lines {
            draw_log_line(text, &self.margin(), line, page);
        }
    }

    /// Precedes the rows below the name, so that the branch to the children continues.
    fn margin(&self) -> String {
        format!("{}{}", self.indent, if self.has_children { "│  " } else { "   " })
    }

    fn draw_row(&self, text: &mut String, style: Style, content: &str, page: &Page) {
        let margin = self.margin();
        let content = cut(content, page.room(&margin));
        let _ = writeln!(text, "{margin}{style}{content}{style:#}");
    }

    /// With all attributes the whole stack follows, else the program's own frames.
    fn draw_exception(&self, text: &mut String, attributes: &[KeyValue], page: &Page) {
        let exception = frames::exception(attributes);
        self.draw_row(text, FAILED, &exception.cause, page);
        match page.shows_all {
            true => stack(attributes).iter().for_each(|row| self.draw_row(text, DETAIL, row, page)),
            false => exception
                .frames
                .iter()
                .for_each(|row| self.draw_row(text, DETAIL, &format!("  {row}"), page)),
        }
    }

    fn draw_details(&self, text: &mut String, words: impl Iterator<Item = String>, page: &Page) {
        let margin = self.margin();
        draw_words(text, &margin, words, page);
    }
}

impl Page {
    /// Columns beside a margin.
    fn room(&self, margin: &str) -> usize {
        self.width.saturating_sub(columns(margin)).max(MIN_WIDTH / 2)
    }
}

/// As many words in a row as fit. A longer word is wrapped if all attributes are shown, else cut.
fn draw_words(text: &mut String, margin: &str, words: impl Iterator<Item = String>, page: &Page) {
    let room = page.room(margin);
    let mut rows: Vec<String> = Vec::new();
    for word in words {
        let word = if page.shows_all { word } else { cut(&word, room) };
        match rows.last_mut() {
            Some(row) if columns(row) + 2 + columns(&word) <= room => {
                let _ = write!(row, "  {word}");
            }
            _ => rows.extend(wrap(&word, room).into_iter().map(str::to_owned)),
        }
    }
    for row in rows {
        let _ = writeln!(text, "{margin}{DETAIL}{row}{DETAIL:#}");
    }
}

fn draw_log_line(text: &mut String, margin: &str, line: &LogRecord, page: &Page) {
    if is_access_line(line) && !page.shows_all {
        return;
    }
    let level = LogLevel::from_severity(line.severity_number);
    let style = level_style(level);
    let row = format!("{} {}", level.name(), line_text(line));
    let _ = writeln!(text, "{margin}{style}{}{style:#}", cut(&row, page.room(margin)));
    if page.shows_all {
        draw_words(text, &format!("{margin}  "), words(&line.attributes, true), page);
    }
}

/// The rows of the stack's own text.
fn stack(attributes: &[KeyValue]) -> Vec<String> {
    let stack = attributes.iter().find(|attribute| attribute.key == "exception.stacktrace");
    let stack = stack.map(|stack| text(stack.value.as_ref())).unwrap_or_default();
    stack.lines().map(clean).collect()
}

/// Children follow their parent, in the order of their start.
fn rows(trace: &ReceivedTrace, max_indent: usize) -> Vec<SpanRow<'_>> {
    let mut spans: Vec<&Span> = trace.spans.iter().map(|sent| &sent.span).collect();
    spans.sort_by_key(|span| span.start_time_unix_nano);
    let ids: HashSet<&[u8]> = spans.iter().map(|span| &span.span_id[..]).collect();
    let mut children: HashMap<&[u8], Vec<&Span>> = HashMap::new();
    let mut tree = Tree { rows: Vec::new(), drawn: HashSet::new(), max_indent };
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
    for row in &mut tree.rows {
        let lines = trace.lines.iter();
        row.lines = lines.filter(|line| line.span_id == row.span.span_id).collect();
    }
    tree.rows
}

struct Tree<'a> {
    rows: Vec<SpanRow<'a>>,
    drawn: HashSet<*const Span>,
    max_indent: usize,
}

impl<'a> Tree<'a> {
    /// Adds a span and its descendants, without recursion: a trace may be thousands deep.
    fn add(&mut self, root: &'a Span, children: &HashMap<&[u8], Vec<&'a Span>>) {
        let row = |span, branch, indent| {
            let lines = Vec::new();
            SpanRow { span, branch, indent, has_children: false, lines }
        };
        let mut stack = vec![row(root, String::new(), String::new())];
        while let Some(mut parent) = stack.pop() {
            if !self.drawn.insert(std::ptr::from_ref(parent.span)) {
                continue;
            }
            let below = children.get(&parent.span.span_id[..]).map_or(&[][..], Vec::as_slice);
            parent.has_children = !below.is_empty();
            let deepest = parent.indent.chars().count() >= self.max_indent;
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

/// One word `key=value` per attribute. Stacks are drawn by [`SpanRow::draw_exception`].
fn words(attributes: &[KeyValue], shows_all: bool) -> impl Iterator<Item = String> {
    let is_shown = move |pair: &&KeyValue| match shows_all {
        true => pair.key != "exception.stacktrace",
        false => !is_usual(&pair.key),
    };
    let word = |pair: &KeyValue| format!("{}={}", clean(&pair.key), value(pair.value.as_ref()));
    attributes.iter().filter(is_shown).map(word)
}

fn is_usual(key: &str) -> bool {
    USUAL.iter().any(|usual| match usual.ends_with('.') {
        true => key.starts_with(usual),
        false => key == *usual,
    })
}

#[cfg(test)]
mod tests;
