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

use serde_json::Value;

use crate::processor::failures::item::{Item, ItemContent, ItemData, ItemTrace};

/// Most bytes of an item. Rollbar has raised its limit over the years and does not document it; its
/// first limit is accepted in any case.
/// <https://docs.rollbar.com/reference/create-item>
pub const MAX_ITEM_BYTES: usize = 128 * 1024;

/// Characters that stay of a text that is cut: enough for the first sentences of a message.
const SHORT_CHARS: usize = 1_000;

/// Longest field that the step `texts` keeps: bytes of its name and of its JSON.
const SHORT_VALUE_BYTES: usize = 200;

/// The name and function of a step.
type Step = (&'static str, fn(&mut ItemData));

const STEPS: [Step; 7] = [
    ("telemetry", |data| keep_last(&mut data.body.telemetry, 10)),
    ("telemetry", |data| data.body.telemetry.clear()),
    ("frames", |data| traces(data).iter_mut().for_each(|trace| keep_ends(trace, 10))),
    ("frames", |data| traces(data).iter_mut().for_each(|trace| keep_ends(trace, 3))),
    ("causes", |data| {
        if let ItemContent::TraceChain(chain) = &mut data.body.content {
            chain.truncate(2);
        }
    }),
    ("request", |data| {
        if let Some(request) = &mut data.request {
            request.headers.clear();
            request.params.clear();
            request.get.clear();
            request.query_string = None;
            request.url.iter_mut().for_each(cut);
        }
    }),
    ("texts", cut_texts),
];

/// The item's JSON, trimmed until it fits or no step is left.
pub fn fitted(mut item: Item) -> String {
    let mut json = to_json(&item);
    for (name, step) in STEPS {
        if json.len() <= MAX_ITEM_BYTES {
            break;
        }
        step(&mut item.data);
        record_cut(&mut item.data, name);
        json = to_json(&item);
    }
    json
}

/// The smallest form of an item, after Rollbar rejected it as too large. `None` if it cannot be decoded
/// or trimmed further.
pub fn reduced(json: &str) -> Option<String> {
    let mut item: Item = serde_json::from_str(json).ok()?;
    reduce(&mut item);
    Some(to_json(&item)).filter(|reduced| reduced.len() < json.len())
}

/// Removes all that may be removed.
pub(super) fn reduce(item: &mut Item) {
    for (name, step) in STEPS {
        step(&mut item.data);
        record_cut(&mut item.data, name);
    }
}

pub(super) fn to_json(item: &Item) -> String {
    // Texts and numbers always serialise.
    serde_json::to_string(item).unwrap_or_default()
}

fn record_cut(data: &mut ItemData, name: &str) {
    let trimmed = data.custom.entry("trimmed".to_owned()).or_insert_with(|| Value::Array(vec![]));
    if let Value::Array(names) = trimmed
        && !names.iter().any(|known| known == name)
    {
        names.push(name.into());
    }
}

fn traces(data: &mut ItemData) -> &mut [ItemTrace] {
    match &mut data.body.content {
        ItemContent::Trace(trace) => std::slice::from_mut(trace),
        ItemContent::TraceChain(chain) => chain,
        ItemContent::Message(_) => &mut [],
    }
}

fn keep_last<T>(items: &mut Vec<T>, count: usize) {
    items.drain(..items.len().saturating_sub(count));
}

/// Keeps the `count` outermost and the `count` innermost frames.
fn keep_ends(trace: &mut ItemTrace, count: usize) {
    if trace.frames.len() > 2 * count {
        trace.frames.drain(count..trace.frames.len() - count);
    }
}

fn cut_texts(data: &mut ItemData) {
    for trace in traces(data) {
        trace.exception.message.iter_mut().for_each(cut);
        trace.exception.description.iter_mut().for_each(cut);
    }
    if let ItemContent::Message(message) = &mut data.body.content {
        cut(&mut message.body);
        message.more.retain(|name, value| is_short(name, value));
    }
    data.custom.retain(|name, value| is_short(name, value));
}

fn is_short(name: &str, value: &Value) -> bool {
    name.len() + value.to_string().len() <= SHORT_VALUE_BYTES
}

fn cut(text: &mut String) {
    *text = cut_to(text, SHORT_CHARS);
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
    use crate::processor::failures::item::{
        ItemBody, ItemException, ItemFrame, ItemLevel, ItemRequest, TelemetryEntry,
    };

    fn entry(text: &str) -> TelemetryEntry {
        TelemetryEntry {
            level: ItemLevel::Info,
            kind: "log".to_owned(),
            source: "server".to_owned(),
            timestamp_ms: 0,
            body: json!({ "message": text }),
        }
    }

    fn item(lines: usize, frames: usize, message: &str) -> Item {
        let frame = |line| ItemFrame {
            filename: "functions/src/store/dynamodb.rs".repeat(20),
            lineno: Some(line as u32),
            ..ItemFrame::default()
        };
        let trace = ItemTrace {
            frames: (0..frames).map(frame).collect(),
            exception: ItemException {
                class: "StoreError".to_owned(),
                message: Some(message.to_owned()),
                description: None,
            },
        };
        let telemetry = (0..lines).map(|_| entry(&"x".repeat(1_000))).collect();
        let body = ItemBody { content: ItemContent::Trace(trace), telemetry };
        let request = ItemRequest { url: Some("https://x/".to_owned()), ..ItemRequest::default() };
        Item { data: ItemData { body, request: Some(request), ..ItemData::default() } }
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
