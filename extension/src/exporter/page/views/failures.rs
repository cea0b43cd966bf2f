//! Failures, grouped as Rollbar groups items: by fingerprint.

use std::collections::HashMap;

use serde::Serialize;
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

/// The groups of the failures in these payloads, the latest first.
pub fn groups<'a>(payloads: impl Iterator<Item = &'a Payload>) -> Vec<FailureGroup> {
    let failures = payloads.filter(|payload| payload.kind == SignalKind::Failures);
    let mut groups: HashMap<String, FailureGroup> = HashMap::new();
    let read_item = |item: EncodedItem<'_>| {
        let mut json: Value = serde_json::from_str(item.json).ok()?;
        let data = json.get_mut("data").map(Value::take).filter(Value::is_object)?;
        Some((item.items, data["timestamp"].as_i64().unwrap_or_default(), data))
    };
    let items = failures.flat_map(|payload| read(&payload.bytes)).filter_map(read_item);
    let mut items: Vec<(u64, i64, Value)> = items.collect();
    // The latest occurrence is shown.
    items.sort_by_key(|(_, timestamp, _)| std::cmp::Reverse(*timestamp));
    for (count, timestamp, data) in items {
        let trace = text(&data["custom"]["trace_id"]);
        let time_ms = timestamp.saturating_mul(1_000);
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
    /// Reads the member `data` of an item.
    fn of(mut data: Value, time_ms: i64) -> Self {
        let body = data["body"].take();
        let traces = match &body["trace_chain"] {
            Value::Array(chain) => chain.as_slice(),
            _ => body.get("trace").map(std::slice::from_ref).unwrap_or_default(),
        };
        let (shown, causes) = traces.split_first().unzip();
        let title = shown.map(title).or_else(|| text(&body["message"]["body"]));
        let title = title.unwrap_or_default();
        let cause = |trace| FailureCause { title: self::title(trace), frames: frames(trace) };
        let lines = body["telemetry"].as_array().into_iter().flatten().map(|entry| {
            let message = &entry["body"]["message"];
            json!({"time_ms": entry["timestamp_ms"], "level": entry["level"], "message": message})
        });
        Self {
            key: text(&data["fingerprint"]).unwrap_or_else(|| title.clone()),
            level: text(&data["level"]).unwrap_or_else(|| "error".to_owned()),
            count: 0,
            first_ms: time_ms,
            last_ms: time_ms,
            traces: Vec::new(),
            frames: shown.map(frames).unwrap_or_default(),
            causes: causes.unwrap_or_default().iter().map(cause).collect(),
            lines: lines.collect(),
            request: data["request"].take(),
            person: data["person"].take(),
            custom: data["custom"].take(),
            title,
        }
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn title(trace: &Value) -> String {
    let exception = &trace["exception"];
    let class = exception["class"].as_str().unwrap_or_default();
    match exception["message"].as_str().filter(|message| !message.is_empty()) {
        Some(message) => format!("{class}: {message}"),
        None => class.to_owned(),
    }
}

/// The most recent call first.
fn frames(trace: &Value) -> Vec<ShownFrame> {
    let number = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok());
    let frame = |frame: &Value| ShownFrame {
        file: text(&frame["filename"]).unwrap_or_default(),
        line: number(&frame["lineno"]),
        column: number(&frame["colno"]),
        function: text(&frame["method"]),
        own: frame["in_project"] == true,
    };
    trace["frames"].as_array().into_iter().flatten().rev().map(frame).collect()
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
