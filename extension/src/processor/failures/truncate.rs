//! Trims items to Rollbar's limit, beginning with the least useful parts:
//!
//! | step | removed |
//! |---|---|
//! | `telemetry` | log lines, but for the last ten; then all |
//! | `frames` | the middle of stacks longer than 20 frames; then of those longer than 6 |
//! | `causes` | all exceptions of a chain but the first two |
//! | `request` | headers, parameters and query; the URL is cut |
//! | `texts` | the rest of messages and unknown stacks after 1,000 characters, and long values of `custom` and of messages' fields |
//!
//! `custom.trimmed` names the steps that an item went through.

use serde_json::{Map, Value};

/// Most bytes of an item. Rollbar has raised its limit over the years and does not document it; its
/// first limit is accepted in any case.
/// <https://docs.rollbar.com/reference/create-item>
pub const MAX_ITEM_BYTES: usize = 128 * 1024;

/// Characters that stay of a text that is cut: enough for the first sentences of a message.
const SHORT_CHARS: usize = 1_000;

/// Longest field that the step `texts` keeps: bytes of its name and of its JSON.
const SHORT_VALUE_BYTES: usize = 200;

/// The name and function of a step.
type Step = (&'static str, fn(&mut Value));

const STEPS: [Step; 7] = [
    ("telemetry", |data| keep_last_lines(data, 10)),
    ("telemetry", |data| keep_last_lines(data, 0)),
    ("frames", |data| traces(data).for_each(|trace| keep_ends(trace, 10))),
    ("frames", |data| traces(data).for_each(|trace| keep_ends(trace, 3))),
    ("causes", |data| {
        if let Some(Value::Array(chain)) = data.pointer_mut("/body/trace_chain") {
            chain.truncate(2);
        }
    }),
    ("request", |data| {
        if let Some(Value::Object(request)) = data.get_mut("request") {
            request.retain(|name, _| !REQUEST_DETAILS.contains(&name.as_str()));
            cut_field(request, "url");
        }
    }),
    ("texts", cut_texts),
];

const REQUEST_DETAILS: [&str; 4] = ["headers", "params", "GET", "query_string"];

/// The item's JSON, trimmed until it fits or no step is left.
pub(super) fn fitted(mut data: Value) -> String {
    let mut json = to_json(&data);
    for (name, step) in STEPS {
        if json.len() <= MAX_ITEM_BYTES {
            break;
        }
        step(&mut data);
        record_cut(&mut data, name);
        json = to_json(&data);
    }
    json
}

/// The smallest form of an item, after Rollbar rejected it as too large. `None` if it cannot be decoded
/// or trimmed further.
pub fn reduced(json: &str) -> Option<String> {
    let mut item: Value = serde_json::from_str(json).ok()?;
    let mut data = item.get_mut("data")?.take();
    reduce(&mut data);
    Some(to_json(&data)).filter(|reduced| reduced.len() < json.len())
}

/// Removes all that may be removed.
pub(super) fn reduce(data: &mut Value) {
    for (name, step) in STEPS {
        step(data);
        record_cut(data, name);
    }
}

pub(super) fn to_json(data: &Value) -> String {
    format!("{{\"data\":{data}}}")
}

fn record_cut(data: &mut Value, name: &str) {
    let Some(Value::Object(custom)) = data.get_mut("custom") else { return };
    let trimmed = custom.entry("trimmed").or_insert_with(|| Value::Array(vec![]));
    if let Value::Array(names) = trimmed
        && !names.iter().any(|known| known == name)
    {
        names.push(name.into());
    }
}

fn traces(data: &mut Value) -> impl Iterator<Item = &mut Map<String, Value>> {
    let body = data.get_mut("body").and_then(Value::as_object_mut).into_iter().flatten();
    let traces = body.flat_map(|(name, content)| match (name.as_str(), content) {
        ("trace", trace) => std::slice::from_mut(trace),
        ("trace_chain", Value::Array(chain)) => chain.as_mut_slice(),
        _ => &mut [],
    });
    traces.filter_map(Value::as_object_mut)
}

fn keep_last_lines(data: &mut Value, count: usize) {
    let Some(Value::Object(body)) = data.get_mut("body") else { return };
    match body.get_mut("telemetry") {
        Some(Value::Array(lines)) if count > 0 => {
            drop(lines.drain(..lines.len().saturating_sub(count)))
        }
        _ => drop(body.remove("telemetry")),
    }
}

/// Keeps the `count` outermost and the `count` innermost frames.
fn keep_ends(trace: &mut Map<String, Value>, count: usize) {
    if let Some(Value::Array(frames)) = trace.get_mut("frames")
        && frames.len() > 2 * count
    {
        frames.drain(count..frames.len() - count);
    }
}

fn cut_texts(data: &mut Value) {
    for trace in traces(data) {
        if let Some(Value::Object(exception)) = trace.get_mut("exception") {
            cut_field(exception, "message");
            cut_field(exception, "description");
        }
    }
    if let Some(Value::Object(message)) = data.pointer_mut("/body/message") {
        cut_field(message, "body");
        message.retain(|name, value| name == "body" || is_short(name, value));
    }
    if let Some(Value::Object(custom)) = data.get_mut("custom") {
        custom.retain(|name, value| is_short(name, value));
    }
}

fn is_short(name: &str, value: &Value) -> bool {
    name.len() + value.to_string().len() <= SHORT_VALUE_BYTES
}

fn cut_field(fields: &mut Map<String, Value>, name: &str) {
    if let Some(Value::String(text)) = fields.get_mut(name) {
        *text = cut_to(text, SHORT_CHARS);
    }
}

/// The first `max_chars` characters.
pub fn cut_to(text: &str, max_chars: usize) -> String {
    let end = text.char_indices().nth(max_chars).map_or(text.len(), |(end, _)| end);
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn item(lines: usize, frames: usize, message: &str) -> Value {
        let line = json!({
            "level": "info", "type": "log", "source": "server", "timestamp_ms": 0,
            "body": { "message": "x".repeat(1_000) },
        });
        let filename = "functions/src/store/dynamodb.rs".repeat(20);
        let frames: Vec<_> =
            (0..frames).map(|line| json!({ "filename": filename, "lineno": line })).collect();
        let exception = json!({ "class": "StoreError", "message": message });
        let trace = json!({ "frames": frames, "exception": exception });
        json!({
            "body": { "trace": trace, "telemetry": vec![line; lines] },
            "request": { "url": "https://x/" },
            "custom": {},
        })
    }

    fn parsed(json: &str) -> Value {
        assert!(json.len() <= MAX_ITEM_BYTES, "{} bytes", json.len());
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn an_item_that_fits_stays_as_it_is() {
        let small = item(3, 50, "gone");

        assert_eq!(fitted(small.clone()), to_json(&small));
    }

    #[test]
    fn lines_leave_before_frames_and_frames_before_texts() {
        let fitted = |lines, frames, message: &str| parsed(&fitted(item(lines, frames, message)));

        let lines = fitted(200, 50, "gone");
        assert_eq!(lines["data"]["custom"]["trimmed"], json!(["telemetry"]));
        assert_eq!(lines["data"]["body"]["telemetry"].as_array().unwrap().len(), 10);

        let frames = fitted(0, 1_000, "gone");
        assert_eq!(frames["data"]["custom"]["trimmed"], json!(["telemetry", "frames"]));
        let kept = frames["data"]["body"]["trace"]["frames"].as_array().unwrap();
        let kept: Vec<_> = kept.iter().map(|frame| frame["lineno"].as_u64().unwrap()).collect();
        assert_eq!(kept, (0..10).chain(990..1_000).collect::<Vec<_>>());

        let texts = fitted(0, 0, &"é".repeat(100_000));
        let message = texts["data"]["body"]["trace"]["exception"]["message"].as_str().unwrap();
        assert_eq!(message, "é".repeat(1_000));
        assert_eq!(texts["data"]["request"]["url"], "https://x/");
    }

    #[test]
    fn a_reduced_item_is_smaller_and_says_so_once() {
        let json = fitted(item(5, 50, "gone"));

        let smaller = reduced(&json).unwrap();

        assert!(smaller.len() < json.len());
        let data = &parsed(&smaller)["data"];
        assert_eq!(data["body"]["trace"]["frames"].as_array().unwrap().len(), 6);
        assert_eq!(data["body"]["telemetry"], Value::Null);
        assert_eq!(reduced(&smaller), None);
        assert_eq!(reduced("{"), None);
    }
}
