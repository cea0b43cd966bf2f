//! Draws each request as one row; below a failure its cause, and frames of the program's own code.
//!
//! ```text
//! 13:45:01 GET /api/activities/home         200  5.31 ms cold user 1f3c9a2b 0f15de40
//! ```

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use opentelemetry_proto::tonic::{logs::v1::LogRecord, trace::v1::Span};

use crate::exporter::drawing::frames::{ShownException, exceptions};
use crate::exporter::drawing::text::{StyledRow, clean, columns, cut, duration};
use crate::exporter::drawing::trace::{
    ReceivedSpan, ReceivedTrace, USER_KEYS, attribute, has_failed, is_access_line, is_entry,
    line_text, nanos,
};
use crate::otlp::log_level::LogLevel;
use crate::text::hex_id;

const PLAIN: Style = Style::new();
const DIM: Style = Style::new().dimmed();
const FINE: Style = AnsiColor::Green.on_default();
const COLD: Style = AnsiColor::Cyan.on_default();
const WARNING: Style = AnsiColor::Yellow.on_default();
pub(super) const FAILED: Style = AnsiColor::Red.on_default().bold();

/// Columns of the name, so that later columns of several rows are aligned.
const NAME_COLUMNS: usize = 30;

/// Columns before and after the name: time, status and duration with their blanks.
const FIXED_COLUMNS: usize = 22;

/// Columns that a shortened name keeps.
const MIN_NAME: usize = 12;

/// Most exceptions shown of a request.
const MAX_CAUSES: usize = 2;

const UUID_LENGTH: usize = 36;

/// Digits of an id where there is no room for all of it.
const SHORT_ID: usize = 8;

/// The place that rows are drawn for.
#[derive(Clone, Debug, Default)]
pub struct Screen {
    /// Columns; `None` for a pipe, where a request and its cause are one row without a limit.
    pub width: Option<usize>,
    /// The URL of a trace, `{trace_id}` in place of its id.
    pub trace_url: Option<String>,
}

/// One row per request of the trace, each with its failure. Empty for late spans of a drawn request.
pub fn draw(trace: &ReceivedTrace, screen: &Screen) -> String {
    let mut requests: Vec<_> = trace.spans.iter().filter(|it| is_entry(&it.span)).collect();
    if requests.is_empty() && !trace.is_late {
        let is_top = |span: &Span| {
            !trace.spans.iter().any(|other| other.span.span_id == span.parent_span_id)
        };
        requests = trace.spans.iter().filter(|it| is_top(&it.span)).collect();
    }
    requests.sort_by_key(|request| request.span.start_time_unix_nano);
    let mut text = String::new();
    for request in requests {
        let causes = causes(&request.span, trace);
        draw_request(&mut text, request, &causes, screen);
        if let Some(width) = screen.width {
            draw_causes(&mut text, &causes, width);
        }
    }
    text + &draw_lines(trace.lines.iter().filter(|line| is_shown(line)), screen)
}

/// A row per log line, without a place in a waterfall.
pub fn draw_lines<'a>(lines: impl IntoIterator<Item = &'a LogRecord>, screen: &Screen) -> String {
    lines.into_iter().fold(String::new(), |mut text, line| {
        draw_line(&mut text, line, screen);
        text
    })
}

/// Lines of a trace below WARN are left to the waterfall, so that a request is one row.
fn is_shown(line: &LogRecord) -> bool {
    line.trace_id.is_empty()
        || !is_access_line(line) && LogLevel::from_severity(line.severity_number) >= LogLevel::Warn
}

/// The row alone, as the title of a waterfall.
pub(super) fn draw_request(
    text: &mut String,
    request: &ReceivedSpan,
    causes: &[ShownException],
    screen: &Screen,
) {
    let span = &request.span;
    let name = name(request);
    let status = attribute(&span.attributes, "http.response.status_code").unwrap_or_default();
    let style = style(&status, has_failed(span));
    let took = duration(nanos(span));
    let width = screen.width.unwrap_or(usize::MAX);
    let tail = tail(request, causes, style, screen, columns(&name));
    let tail_columns = columns_of(&tail);
    let room = width.saturating_sub(FIXED_COLUMNS + tail_columns);
    let name = cut(&name, room);

    let mut row = StyledRow::default();
    row.push(DIM, &clock(span.start_time_unix_nano));
    row.push(if style == FAILED { FAILED } else { PLAIN }, &format!(" {name}"));
    let gap = NAME_COLUMNS.min(room).saturating_sub(columns(&name));
    row.push(style, &format!("{:gap$} {status:>3}", ""));
    row.push(PLAIN, &format!(" {took:>8}"));
    for part in tail {
        row.push(PLAIN, " ");
        match part.url {
            Some(url) => row.push_link(part.style, &part.text, &url),
            None => row.push(part.style, &part.text),
        }
    }
    let _ = writeln!(text, "{}", row.text);
}

/// A part of the row behind the duration.
struct TailPart {
    text: String,
    style: Style,
    url: Option<String>,
    /// Parts of the smallest number are left out first.
    priority: u8,
}

/// With a blank before each.
fn columns_of(parts: &[TailPart]) -> usize {
    parts.iter().map(|part| columns(&part.text) + 1).sum()
}

/// What follows the duration, as far as there is room beside a name of `name_columns`.
fn tail(
    request: &ReceivedSpan,
    causes: &[ShownException],
    style: Style,
    screen: &Screen,
    name_columns: usize,
) -> Vec<TailPart> {
    let attributes = &request.span.attributes;
    let part = |priority, style, text: String| TailPart { text, style, url: None, priority };
    let mut parts = Vec::new();
    parts.extend(attribute(attributes, "app.error_code").map(|code| part(3, style, code)));
    if attribute(attributes, "faas.coldstart").as_deref() == Some("true") {
        parts.push(part(2, COLD, "cold".into()));
    }
    parts.extend(user(request).map(|user| part(1, DIM, user)));
    let id = hex_id(&request.span.trace_id);
    let url = screen.trace_url.as_ref().map(|url| url.replace("{trace_id}", &id));
    let Some(width) = screen.width else {
        parts.push(part(4, DIM, url.unwrap_or(id)));
        parts.extend(causes.iter().map(|cause| part(4, style, in_one_row(cause))));
        return parts;
    };
    parts.push(TailPart { text: id, style: DIM, url, priority: 4 });
    if FIXED_COLUMNS + name_columns.max(NAME_COLUMNS) + columns_of(&parts) > width {
        parts.last_mut().into_iter().for_each(|id| id.text = short_id(&id.text).to_owned());
    }
    for (priority, name) in [(1, name_columns), (2, name_columns), (3, MIN_NAME), (4, MIN_NAME)] {
        if FIXED_COLUMNS + name.min(name_columns) + columns_of(&parts) > width {
            parts.retain(|part| part.priority != priority);
        }
    }
    parts
}

/// The last digits: the first are the time in ids of X-Ray.
fn short_id(id: &str) -> &str {
    &id[id.len().saturating_sub(SHORT_ID)..]
}

/// The method and route; the name and the service of other spans.
fn name(request: &ReceivedSpan) -> String {
    let attributes = &request.span.attributes;
    let [method, route] =
        ["http.request.method", "http.route"].map(|key| attribute(attributes, key));
    match (method, route) {
        (Some(method), Some(route)) => format!("{method} {route}"),
        _ => format!("{} {}", clean(&request.span.name), request.service).trim_end().to_owned(),
    }
}

/// An id is shortened, since most are UUIDs.
fn user(request: &ReceivedSpan) -> Option<String> {
    let user = USER_KEYS.iter().find_map(|key| attribute(&request.span.attributes, key))?;
    Some(match user.len() == UUID_LENGTH && user.is_ascii() {
        true => format!("user {}", &user[..SHORT_ID]),
        false => format!("user {user}"),
    })
}

fn style(status: &str, failed: bool) -> Style {
    match status.as_bytes().first() {
        Some(b'5') => FAILED,
        _ if failed => FAILED,
        Some(b'4') => WARNING,
        _ => FINE,
    }
}

/// UTC, as the log has it.
fn clock(unix_nanos: u64) -> String {
    let time = Timestamp::from_nanosecond(unix_nanos.into()).unwrap_or_default();
    time.to_string()[11..19].to_owned()
}

/// The exceptions of a failed request: its own, else those below it, else the text of its status.
pub(super) fn causes(request: &Span, trace: &ReceivedTrace) -> Vec<ShownException> {
    if !has_failed(request) {
        return Vec::new();
    }
    let mut causes: Vec<_> = exceptions(request).collect();
    if causes.is_empty() {
        let failed = trace.spans.iter().filter(|other| has_failed(&other.span));
        causes.extend(failed.flat_map(|other| exceptions(&other.span)));
    }
    let message = request.status.as_ref().map(|status| clean(&status.message));
    if let Some(cause) = message.filter(|text| causes.is_empty() && !text.is_empty()) {
        causes.push(ShownException { cause, frames: Vec::new() });
    }
    causes.truncate(MAX_CAUSES);
    causes
}

fn in_one_row(cause: &ShownException) -> String {
    match cause.frames.first() {
        Some(frame) => format!("{} at {frame}", cause.cause),
        None => cause.cause.clone(),
    }
}

fn draw_causes(text: &mut String, causes: &[ShownException], width: usize) {
    for cause in causes {
        let _ =
            writeln!(text, "  {FAILED}{}{FAILED:#}", cut(&cause.cause, width.saturating_sub(2)));
        for frame in &cause.frames {
            let _ = writeln!(text, "    {}", cut(frame, width.saturating_sub(4)));
        }
    }
}

fn draw_line(text: &mut String, line: &LogRecord, screen: &Screen) {
    let mut row = StyledRow::default();
    row.push(DIM, &clock(line.time_unix_nano));
    let level = LogLevel::from_severity(line.severity_number);
    row.push(level_style(level), &format!(" {:5}", level.name()));
    let room = screen.width.unwrap_or(usize::MAX).saturating_sub(row.columns + 1);
    row.push(PLAIN, &format!(" {}", cut(&line_text(line), room)));
    let _ = writeln!(text, "{}", row.text);
}

pub(super) fn level_style(level: LogLevel) -> Style {
    match level {
        LogLevel::Error | LogLevel::Fatal => FAILED,
        LogLevel::Warn => WARNING,
        _ => DIM,
    }
}

#[cfg(test)]
mod tests;
