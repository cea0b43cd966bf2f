//! The last lines, for the items of the invocations that wrote them.

use std::collections::VecDeque;

use serde_json::json;

use crate::processor::failures::item::{ItemLevel, TelemetryEntry};

/// Lines that an item has. Our choice.
const LAST: usize = 20;

/// Lines that are kept, of several invocations. Our choice.
const KEPT: usize = 3 * LAST;

/// What an item tells of a line.
#[derive(Clone, Debug)]
pub(super) struct RecentLine {
    pub(super) time_ms: i64,
    pub(super) level: ItemLevel,
    /// Its beginning.
    pub(super) message: String,
    pub(super) request_id: Option<String>,
    /// As hex digits; empty if there is none.
    pub(super) trace_id: String,
}

/// See the module's documentation. Oldest first.
#[derive(Debug, Default)]
pub(super) struct RecentLines(VecDeque<RecentLine>);

impl RecentLines {
    pub(super) fn keep(&mut self, line: RecentLine) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(line);
    }

    /// Of an invocation, or outside of any. Log records may name only the trace.
    pub(super) fn of(&self, request_id: Option<&str>, trace_ids: &[String]) -> Vec<TelemetryEntry> {
        let is_its = |line: &&RecentLine| match &line.request_id {
            None if !line.trace_id.is_empty() => trace_ids.contains(&line.trace_id),
            named => named.as_deref() == request_id,
        };
        let entry = |line: &RecentLine| TelemetryEntry {
            level: line.level,
            kind: "log".to_owned(),
            source: "server".to_owned(),
            timestamp_ms: line.time_ms.max(0),
            body: json!({ "message": line.message }),
        };
        let mut entries: Vec<_> =
            self.0.iter().rev().filter(is_its).take(LAST).map(entry).collect();
        entries.reverse();
        entries
    }
}
