//! The last log lines, which items show as Rollbar's *telemetry*.

use std::collections::VecDeque;

use serde_json::json;

use crate::invocation::attempt::Attempt;
use crate::processor::failures::item::{ItemLevel, TelemetryEntry};
use crate::time::unix_ms;

/// Lines in an item: about one screen.
const LAST: usize = 20;

/// Lines that are kept, of about three invocations.
const KEPT: usize = 3 * LAST;

#[derive(Clone, Debug)]
pub(super) struct RecentLine {
    pub(super) time_ms: i64,
    pub(super) level: ItemLevel,
    pub(super) message: String,
    pub(super) request_id: Option<String>,
    /// Hex digits; empty without a trace.
    pub(super) trace_id: String,
}

#[derive(Debug)]
pub(super) struct RecentLines {
    /// Oldest first.
    lines: VecDeque<RecentLine>,
    bytes: usize,
    max_bytes: usize,
}

impl RecentLines {
    /// `max_bytes` bounds the texts, but for one line.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { lines: VecDeque::new(), bytes: 0, max_bytes }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.max_bytes);
    }

    pub(super) fn keep(&mut self, line: RecentLine) {
        self.bytes += line.message.len();
        self.lines.push_back(line);
        while self.lines.len() > KEPT || self.bytes > self.max_bytes && self.lines.len() > 1 {
            let oldest = self.lines.pop_front();
            self.bytes -= oldest.map_or(0, |line| line.message.len());
        }
    }

    /// The last lines of an invocation or, if that is `None`, those without one. Log records may name only
    /// the trace.
    pub(super) fn of(
        &self,
        attempt: Option<&Attempt>,
        trace_ids: &[String],
    ) -> Vec<TelemetryEntry> {
        let request_id = attempt.map(|it| &*it.request_id);
        // Lines before a later attempt began belong to the attempt before.
        let since_ms = attempt.filter(|it| it.number > 1).map_or(i64::MIN, |it| unix_ms(it.began));
        let is_its = |line: &&RecentLine| match &line.request_id {
            None if !line.trace_id.is_empty() => trace_ids.contains(&line.trace_id),
            named => named.as_deref() == request_id && line.time_ms >= since_ms,
        };
        let entry = |line: &RecentLine| TelemetryEntry {
            level: line.level,
            kind: "log".to_owned(),
            source: "server".to_owned(),
            timestamp_ms: line.time_ms.max(0),
            body: json!({ "message": line.message }),
        };
        let mut entries: Vec<_> =
            self.lines.iter().rev().filter(is_its).take(LAST).map(entry).collect();
        entries.reverse();
        entries
    }
}
