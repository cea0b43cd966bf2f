//! The JSON API of the store's content; the module's documentation has its addresses.

use http::StatusCode;
use serde::Serialize;
use serde_json::json;
use trace_context::TraceId;

use crate::exporter::page::previews::Previews;
use crate::exporter::page::query::{PageQuery, PageRefusal, TraceFilter, invalid};
use crate::exporter::page::store::{PageStore, StoredTrace};
use crate::exporter::page::views::failures::groups;
use crate::exporter::page::views::latency::{points, routes};
use crate::exporter::page::views::lines::{ShownLine, of_payload};
use crate::exporter::page::views::summary::{TraceSummary, error, millis, times};
use crate::exporter::page::views::trace::{ShownTrace, text};
use crate::otlp::json::to_json;
use crate::otlp::log_level::LogLevel;
use crate::otlp::payload::SignalKind;
use crate::otlp::schema::TRACES_REQUEST;

/// How many traces are listed: by default, and at most.
const TRACES: (usize, usize) = (200, 10_000);

/// How many lines are listed: by default, and at most.
const LINES: (usize, usize) = (500, 5_000);

#[derive(Debug)]
pub(super) struct ApiAnswer {
    pub(super) media_type: &'static str,
    pub(super) body: Vec<u8>,
    /// Of a download.
    pub(super) file_name: Option<String>,
}

type ApiResult = Result<ApiAnswer, PageRefusal>;

/// Answers `GET /api/PATH`.
pub(super) fn read(
    store: &PageStore,
    previews: &Previews,
    path: &str,
    query: &PageQuery,
) -> ApiResult {
    match path {
        "traces" => traces(store, query),
        "lines" => lines(store, query),
        "failures" => failures(store),
        "points" => json_of(&json!({"points": points(&store.snapshot(), query)?})),
        "routes" => json_of(&json!({"routes": routes(&store.snapshot(), query)?})),
        _ => match path.strip_prefix("traces/") {
            Some(path) => trace(store, previews, path),
            None => Err(not_found("there is no such address")),
        },
    }
}

fn traces(store: &PageStore, query: &PageQuery) -> ApiResult {
    let (limit, filter) = (query.limit(TRACES.0, TRACES.1)?, TraceFilter::read(query)?);
    let snapshot = store.snapshot();
    let is_listed = |trace: &&StoredTrace| {
        let (start, end) = times(trace);
        let (start, took) = (millis(start), millis(end.saturating_sub(start)));
        // Lines may come before their spans.
        !trace.spans.is_empty() && filter.matches(trace, start, took, error(trace).is_some())
    };
    let traces = snapshot.traces.iter().map(|trace| &**trace);
    let mut matched: Vec<&StoredTrace> = traces.filter(is_listed).collect();
    matched.sort_by_key(|trace| std::cmp::Reverse(times(trace).0));
    let listed: Vec<_> = matched.iter().take(limit).map(|trace| TraceSummary::of(trace)).collect();
    json_of(&json!({
        "traces": listed,
        "matched": matched.len(),
        "spans_dropped": snapshot.spans_dropped,
        "traces_evicted": snapshot.traces_evicted,
    }))
}

fn trace(store: &PageStore, previews: &Previews, path: &str) -> ApiResult {
    let (id, view) = path.split_once('/').unwrap_or((path, ""));
    let known = TraceId::from_hex(id).and_then(|id| store.get(id));
    let trace = known.ok_or_else(|| not_found("no trace of this id is kept"))?;
    match view {
        "" => json_of(&ShownTrace::of(&trace)),
        "text" => Ok(ApiAnswer {
            media_type: "text/plain; charset=utf-8",
            body: text(&trace).into_bytes(),
            file_name: None,
        }),
        "otlp" => {
            let spans = trace.payload(SignalKind::Traces);
            let bytes = spans.map(|spans| spans.bytes).unwrap_or_default();
            Ok(ApiAnswer {
                media_type: "application/json",
                body: to_json(&TRACES_REQUEST, &bytes).into_bytes(),
                file_name: Some(format!("trace-{}.json", trace.id)),
            })
        }
        "previews" => json_of(&previews.of(&trace)),
        _ => Err(not_found("there is no such view of a trace")),
    }
}

fn lines(store: &PageStore, query: &PageQuery) -> ApiResult {
    let limit = query.limit(LINES.0, LINES.1)?;
    let text = query.text("text").map(str::to_lowercase);
    let lowest = query.text("level").map(|level| {
        LogLevel::parse(level).ok_or_else(|| invalid("level", "a level such as warn"))
    });
    let lowest = lowest.transpose()?.unwrap_or(LogLevel::Trace);
    let trace = query.text("trace");
    let snapshot = store.snapshot();
    let of_traces = snapshot.traces.iter().flat_map(|trace| &trace.parts);
    let all = of_traces.chain(&snapshot.loose).flat_map(of_payload);
    let matches = |line: &ShownLine| {
        LogLevel::parse(line.level).is_some_and(|level| level >= lowest)
            && trace.is_none_or(|id| line.trace.as_deref() == Some(id))
            && text.as_deref().is_none_or(|text| line.has_text(text))
    };
    let mut matched: Vec<ShownLine> = all.filter(matches).collect();
    matched.sort_by_key(|line| std::cmp::Reverse(line.time_ms));
    let count = matched.len();
    matched.truncate(limit);
    let dropped = snapshot.lines_dropped;
    json_of(&json!({"lines": matched, "matched": count, "lines_dropped": dropped}))
}

fn failures(store: &PageStore) -> ApiResult {
    let snapshot = store.snapshot();
    let of_traces = snapshot.traces.iter().flat_map(|trace| &trace.parts);
    json_of(&json!({"groups": groups(of_traces.chain(&snapshot.loose))}))
}

fn json_of(value: &impl Serialize) -> ApiResult {
    let body = serde_json::to_vec(value)
        .map_err(|error| PageRefusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(ApiAnswer { media_type: "application/json", body, file_name: None })
}

fn not_found(reason: &str) -> PageRefusal {
    PageRefusal(StatusCode::NOT_FOUND, reason.to_owned())
}
