//! Failures, grouped as Rollbar groups items: by fingerprint.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::{Value, json};

use crate::otlp::failure_codec::{EncodedItem, read};
use crate::otlp::payload::{Payload, SignalKind};
use crate::processor::failures::item::{
    Item, ItemBody, ItemContent, ItemFrame, ItemLevel, ItemTrace,
};

/// Most traces that a group lists, the latest first.
const MAX_TRACES: usize = 50;

#[derive(Debug, Serialize)]
pub struct FailureGroup {
    key: String,
    title: String,
    level: &'static str,
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

/// The groups of the failures in these payloads, the latest first.
pub fn groups<'a>(payloads: impl Iterator<Item = &'a Payload>) -> Vec<FailureGroup> {
    let failures = payloads.filter(|payload| payload.kind == SignalKind::Failures);
    let mut groups: HashMap<String, FailureGroup> = HashMap::new();
    let mut items: Vec<(u64, Item)> = failures
        .flat_map(|payload| read(&payload.bytes))
        .filter_map(|EncodedItem { items, json, .. }| {
            Some((items, serde_json::from_str(json).ok()?))
        })
        .collect();
    // The latest occurrence is shown.
    items.sort_by_key(|(_, item)| std::cmp::Reverse(item.data.timestamp));
    for (count, item) in items {
        let trace = item.data.custom.get("trace_id").and_then(Value::as_str).map(str::to_owned);
        let time_ms = item.data.timestamp.unwrap_or_default().saturating_mul(1_000);
        let shown = FailureGroup::of(item, time_ms);
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
    fn of(item: Item, time_ms: i64) -> Self {
        let data = item.data;
        let ItemBody { content, telemetry } = data.body;
        let (title, frames, causes) = match content {
            ItemContent::Message(message) => (message.body, Vec::new(), Vec::new()),
            ItemContent::Trace(trace) => (title(&trace), frames(trace), Vec::new()),
            ItemContent::TraceChain(chain) => {
                let mut chain = chain.into_iter();
                let outermost = chain.next().unwrap_or_default();
                let causes =
                    chain.map(|trace| FailureCause { title: title(&trace), frames: frames(trace) });
                (title(&outermost), frames(outermost), causes.collect())
            }
        };
        let lines = telemetry.into_iter().map(|entry| {
            let message = entry.body.get("message").cloned().unwrap_or(entry.body);
            json!({"time_ms": entry.timestamp_ms, "level": entry.level, "message": message})
        });
        Self {
            key: data.fingerprint.unwrap_or_else(|| title.clone()),
            level: data.level.unwrap_or(ItemLevel::Error).name(),
            count: 0,
            first_ms: time_ms,
            last_ms: time_ms,
            traces: Vec::new(),
            lines: lines.collect(),
            request: json!(data.request),
            person: json!(data.person),
            custom: json!(data.custom),
            title,
            frames,
            causes,
        }
    }
}

fn title(trace: &ItemTrace) -> String {
    match trace.exception.message.as_deref().filter(|message| !message.is_empty()) {
        Some(message) => format!("{}: {message}", trace.exception.class),
        None => trace.exception.class.clone(),
    }
}

/// The most recent call first.
fn frames(trace: ItemTrace) -> Vec<ShownFrame> {
    let frame = |frame: ItemFrame| ShownFrame {
        file: frame.filename,
        line: frame.lineno,
        column: frame.colno,
        function: frame.method,
        own: frame.in_project,
    };
    trace.frames.into_iter().rev().map(frame).collect()
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
