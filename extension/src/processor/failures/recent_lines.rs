//! The last log lines, which items show as Rollbar's *telemetry*.

use std::{borrow::Cow, collections::VecDeque};

use serde_json::{Value, json};

use crate::invocation::attempt::Attempt;
use crate::otlp::line_codec::LogLine;
use crate::processor::failures::log_record::{ParsedLine, RecentLine};
use crate::processor::failures::settings::ClientAddress;
use crate::time::unix_ms;

/// Lines in an item: about one screen.
const LAST: usize = 20;

/// Lines that are kept, of about three invocations.
const KEPT: usize = 3 * LAST;

/// Longer lines are read at once, which cuts their text.
const MAX_UNREAD_BYTES: usize = 4_096;

#[derive(Debug)]
enum KeptLine {
    Read(RecentLine),
    /// JSON that is read when an item shows it, since most lines are in none.
    Unread(i64, Box<str>),
}

impl KeptLine {
    fn bytes(&self) -> usize {
        match self {
            Self::Read(line) => {
                line.message.len() + line.request_id.as_ref().map_or(0, String::len)
            }
            Self::Unread(_, json) => json.len(),
        }
    }

    fn read(&self, address: ClientAddress) -> Option<Cow<'_, RecentLine>> {
        match self {
            Self::Read(line) => Some(Cow::Borrowed(line)),
            Self::Unread(time_ms, json) => {
                let line = ParsedLine::read(LogLine { time_ms: *time_ms, json }, address)?;
                Some(Cow::Owned(line.line()))
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct RecentLines {
    /// Oldest first.
    lines: VecDeque<KeptLine>,
    bytes: usize,
    max_bytes: usize,
    address: ClientAddress,
}

impl RecentLines {
    /// `max_bytes` bounds the texts, but for one line.
    pub(super) fn new(max_bytes: usize, address: ClientAddress) -> Self {
        Self { lines: VecDeque::new(), bytes: 0, max_bytes, address }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.max_bytes, self.address);
    }

    pub(super) fn keep(&mut self, line: RecentLine) {
        self.push(KeptLine::Read(line));
    }

    /// Keeps the last lines of a payload that has so many.
    pub(super) fn keep_unread<'a>(&mut self, lines: impl Iterator<Item = LogLine<'a>>, count: u64) {
        let older = count.saturating_sub(KEPT as u64);
        for line in lines.skip(usize::try_from(older).unwrap_or(usize::MAX)) {
            if line.json.len() <= MAX_UNREAD_BYTES {
                self.push(KeptLine::Unread(line.time_ms, line.json.into()));
            } else if let Some(read) = ParsedLine::read(line, self.address) {
                self.keep(read.line());
            }
        }
    }

    fn push(&mut self, line: KeptLine) {
        self.bytes += line.bytes();
        self.lines.push_back(line);
        while self.lines.len() > KEPT || self.bytes > self.max_bytes && self.lines.len() > 1 {
            let oldest = self.lines.pop_front();
            self.bytes -= oldest.map_or(0, |line| line.bytes());
        }
    }

    /// The last lines of an invocation or, if that is `None`, those without one. Log records may name only
    /// the trace.
    pub(super) fn of(&self, attempt: Option<&Attempt>, trace_ids: &[String]) -> Vec<Value> {
        let request_id = attempt.map(|it| &*it.request_id);
        // Lines before a later attempt began belong to the attempt before.
        let since_ms = attempt.filter(|it| it.number > 1).map_or(i64::MIN, |it| unix_ms(it.began));
        let is_its = |line: &Cow<'_, RecentLine>| match &line.request_id {
            None if !line.trace_id.is_empty() => trace_ids.contains(&line.trace_id),
            named => named.as_deref() == request_id && line.time_ms >= since_ms,
        };
        let entry = |line: Cow<'_, RecentLine>| {
            json!({
                "level": line.level.name(),
                "type": "log",
                "source": "server",
                "timestamp_ms": line.time_ms.max(0),
                "body": { "message": line.message },
            })
        };
        let newest = self.lines.iter().rev().filter_map(|line| line.read(self.address));
        let mut entries: Vec<_> = newest.filter(is_its).take(LAST).map(entry).collect();
        entries.reverse();
        entries
    }
}
