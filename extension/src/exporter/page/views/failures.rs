//! Failures, grouped as Rollbar groups items: by fingerprint.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::otlp::failure_codec::{EncodedItem, read};
use crate::otlp::payload::{Payload, SignalKind};

/// Most traces that a group lists, the latest first.
const MAX_TRACES: usize = 50;

#[derive(Debug, Serialize)]
pub struct FailureGroup {
    key: String,
    title: String,
    level: String,
    count: u64,
    first_ms: i64,
    last_ms: i64,
    traces: Vec<String>,
    frames: Vec<ShownFrame>,
    causes: Vec<FailureCause>,
    lines: Vec<Value>,
    request: Value,
    person: Value,
    custom: Value,
}

#[derive(Debug, Serialize)]
struct ShownFrame {
    file: String,
    line: Option<u32>,
    column: Option<u32>,
    function: Option<String>,
    own: bool,
}

/// An exception behind the shown one.
#[derive(Debug, Serialize)]
struct FailureCause {
    title: String,
    frames: Vec<ShownFrame>,
}

/// What the page shows of an item that Rollbar takes.
#[derive(Debug, Deserialize)]
struct ItemJson {
    data: DataJson,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct DataJson {
    body: BodyJson,
    level: Option<String>,
    /// Unix seconds.
    timestamp: i64,
    fingerprint: Option<String>,
    request: Value,
    person: Value,
    custom: Value,
}

/// One of the first three is there.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct BodyJson {
    message: Option<MessageJson>,
    trace: Option<TraceJson>,
    /// The outermost exception first.
    trace_chain: Vec<TraceJson>,
    telemetry: Vec<EntryJson>,
}

#[derive(Debug, Deserialize)]
struct MessageJson {
    body: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TraceJson {
    /// The most recent call is the last.
    frames: Vec<FrameJson>,
    exception: ExceptionJson,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ExceptionJson {
    class: String,
    message: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FrameJson {
    filename: String,
    lineno: Option<u32>,
    colno: Option<u32>,
    method: Option<String>,
    in_project: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct EntryJson {
    level: Value,
    timestamp_ms: i64,
    body: Value,
}

/// The groups of the failures in these payloads, the latest first.
pub fn groups<'a>(payloads: impl Iterator<Item = &'a Payload>) -> Vec<FailureGroup> {
    let failures = payloads.filter(|payload| payload.kind == SignalKind::Failures);
    let mut groups: HashMap<String, FailureGroup> = HashMap::new();
    let mut items: Vec<(u64, DataJson)> = failures
        .flat_map(|payload| read(&payload.bytes))
        .filter_map(|EncodedItem { items, json, .. }| {
            Some((items, serde_json::from_str::<ItemJson>(json).ok()?.data))
        })
        .collect();
    // The latest occurrence is shown.
    items.sort_by_key(|(_, data)| std::cmp::Reverse(data.timestamp));
    for (count, data) in items {
        let trace = data.custom["trace_id"].as_str().map(str::to_owned);
        let time_ms = data.timestamp.saturating_mul(1_000);
        let shown = FailureGroup::of(data, time_ms);
        let group = groups.entry(shown.key.clone()).or_insert(shown);
        group.count += count;
        group.first_ms = group.first_ms.min(time_ms);
        group.last_ms = group.last_ms.max(time_ms);
        if let Some(trace) = trace
            && group.traces.len() < MAX_TRACES
            && !group.traces.contains(&trace)
        {
            group.traces.push(trace);
        }
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by(|a, b| (b.last_ms, &a.key).cmp(&(a.last_ms, &b.key)));
    groups
}

impl FailureGroup {
    fn of(data: DataJson, time_ms: i64) -> Self {
        let BodyJson { message, trace, trace_chain, telemetry } = data.body;
        let mut chain = trace.into_iter().chain(trace_chain);
        let shown = match message {
            Some(message) => FailureCause { title: message.body, frames: Vec::new() },
            None => FailureCause::of(chain.next().unwrap_or_default()),
        };
        let lines = telemetry.into_iter().map(|entry| {
            let message = entry.body.get("message").cloned().unwrap_or(entry.body);
            json!({"time_ms": entry.timestamp_ms, "level": entry.level, "message": message})
        });
        Self {
            key: data.fingerprint.unwrap_or_else(|| shown.title.clone()),
            level: data.level.unwrap_or_else(|| "error".to_owned()),
            count: 0,
            first_ms: time_ms,
            last_ms: time_ms,
            traces: Vec::new(),
            lines: lines.collect(),
            request: data.request,
            person: data.person,
            custom: data.custom,
            title: shown.title,
            frames: shown.frames,
            causes: chain.map(FailureCause::of).collect(),
        }
    }
}

impl FailureCause {
    fn of(trace: TraceJson) -> Self {
        let ExceptionJson { class, message } = trace.exception;
        let title = if message.is_empty() { class } else { format!("{class}: {message}") };
        let frame = |frame: FrameJson| ShownFrame {
            file: frame.filename,
            line: frame.lineno,
            column: frame.colno,
            function: frame.method,
            own: frame.in_project,
        };
        // The most recent call first.
        Self { title, frames: trace.frames.into_iter().rev().map(frame).collect() }
    }
}

#[cfg(test)]
mod tests {
    use crate::otlp::failure_codec::signal;

    use super::*;

    fn item(fingerprint: &str, timestamp: i64, trace: &str, body: &Value) -> String {
        let data = json!({
            "environment": "test", "timestamp": timestamp, "fingerprint": fingerprint, "body": body,
            "custom": {"trace_id": trace},
        });
        format!("id 1 {}\n", json!({"data": data}))
    }

    #[test]
    fn items_of_one_fingerprint_are_a_group_that_shows_the_latest() {
        let exception = |class: &str, line: u32| {
            let frames = json!([
                {"filename": "outer.rs", "lineno": 1}, {"filename": "inner.rs", "lineno": line},
            ]);
            json!({"frames": frames, "exception": {"class": class, "message": "text"}})
        };
        let chain = json!({"trace_chain": [exception("Outer", 2), exception("Inner", 3)]});
        let message = json!({"message": {"body": "a message"}});
        let payloads = [
            signal(item("1", 20, "b", &chain).into()),
            signal((item("1", 10, "a", &message) + &item("2", 15, "a", &message)).into()),
            signal("no item".to_owned().into()),
        ];

        let groups = json!(groups(payloads.iter()));

        let [first, second] = [&groups[0], &groups[1]];
        assert_eq!((groups.as_array().map(Vec::len), &first["count"]), (Some(2), &json!(2)));
        assert_eq!((&first["title"], &first["key"]), (&json!("Outer: text"), &json!("1")));
        assert_eq!((&first["first_ms"], &first["last_ms"]), (&json!(10_000), &json!(20_000)));
        assert_eq!(first["traces"], json!(["b", "a"]));
        let frames = (&first["frames"][0]["file"], &first["frames"][0]["line"]);
        assert_eq!(frames, (&json!("inner.rs"), &json!(2)));
        assert_eq!(first["causes"][0]["title"], "Inner: text");
        assert_eq!((&second["title"], &second["level"]), (&json!("a message"), &json!("error")));
    }
}
