//! A trace in a row.

use std::collections::HashSet;

use serde::Serialize;

use crate::exporter::page::store::StoredTrace;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TraceSummary {
    pub id: String,
    pub name: String,
    pub route: Option<String>,
    pub method: Option<String>,
    pub status: Option<u16>,
    pub error: Option<String>,
    pub cold: bool,
    pub user: Option<String>,
    pub service: String,
    pub request_id: Option<String>,
    pub start_ms: f64,
    pub duration_ms: f64,
    pub spans: usize,
    pub lines: u64,
    pub failures: u64,
    pub orphans: usize,
}

impl TraceSummary {
    pub fn of(trace: &StoredTrace) -> Self {
        let entry = trace.entry.clone().unwrap_or_default();
        let (start, end) = times(trace);
        Self {
            id: trace.id.to_string(),
            error: error(trace),
            name: entry.name,
            route: entry.route,
            method: entry.method,
            status: entry.status,
            cold: entry.is_cold,
            user: entry.user,
            service: entry.service,
            request_id: entry.request_id,
            start_ms: millis(start),
            duration_ms: millis(end.saturating_sub(start)),
            spans: trace.spans.len(),
            lines: trace.lines,
            failures: trace.failures,
            orphans: orphans(trace),
        }
    }
}

/// Milliseconds of a time or duration in nanoseconds.
pub fn millis(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

/// Start and end in nanoseconds: of the request, else of all spans together.
pub fn times(trace: &StoredTrace) -> (u64, u64) {
    if let Some(entry) = &trace.entry {
        return (entry.start_nanos, entry.end_nanos);
    }
    // A span without a start would stretch the trace to 1970.
    let starts = trace.spans.iter().map(|span| span.start_nanos).filter(|start| *start > 0);
    let start = starts.min().unwrap_or_default();
    (start, trace.spans.iter().map(|span| span.end_nanos).max().unwrap_or_default().max(start))
}

/// The cause of the request's failure; without a request, that a span failed.
pub fn error(trace: &StoredTrace) -> Option<String> {
    match &trace.entry {
        Some(entry) => entry.error.clone(),
        None => trace.spans.iter().any(|span| span.has_failed).then(|| "failed".to_owned()),
    }
}

fn orphans(trace: &StoredTrace) -> usize {
    let ids: HashSet<_> = trace.spans.iter().map(|span| span.id).collect();
    let is_orphan = |span: &&_| {
        let span: &crate::exporter::page::facts::SpanFacts = span;
        !span.is_entry && !ids.contains(&span.parent)
    };
    trace.spans.iter().filter(is_orphan).count()
}
