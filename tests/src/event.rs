//! What a test invokes a function with: a sample event of `events/`, changed as needed.

use std::fs;
use std::path::Path;

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

/// One invocation: the payload, and the trace header that the Runtime API hands over with it.
#[derive(Clone, Debug)]
pub struct Event {
    pub(crate) payload: Value,
    pub(crate) trace_header: Option<String>,
}

/// The sample event `events/<name>.json` of this repository, with a fresh, sampled trace header.
pub fn event(name: &str) -> Event {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events").join(format!("{name}.json"));
    let text = fs::read_to_string(&path)
        .unwrap_or_else(|problem| panic!("sample event {}: {problem}", path.display()));
    let payload = serde_json::from_str(&text)
        .unwrap_or_else(|problem| panic!("sample event {}: {problem}", path.display()));
    raw_event(payload)
}

/// Any payload at all, also what no gateway would send.
pub fn raw_event(payload: Value) -> Event {
    Event { payload, trace_header: Some(new_trace_header()) }
}

impl Event {
    /// What the function will get.
    pub fn payload(&self) -> &Value {
        &self.payload
    }

    /// Sets a request header; names are lower case in payload format 2.0.
    pub fn header(mut self, name: &str, value: &str) -> Event {
        self.payload["headers"][name] = Value::from(value);
        self
    }

    /// Takes a request header away.
    pub fn without_header(mut self, name: &str) -> Event {
        if let Some(headers) = self.payload["headers"].as_object_mut() {
            headers.remove(name);
        }
        self
    }

    /// Replaces the whole payload.
    pub fn raw(mut self, payload: Value) -> Event {
        self.payload = payload;
        self
    }

    /// The value of `Lambda-Runtime-Trace-Id`, instead of a fresh one.
    pub fn trace_header(mut self, value: &str) -> Event {
        self.trace_header = Some(value.to_owned());
        self
    }

    /// No `Lambda-Runtime-Trace-Id` at all.
    pub fn without_trace_header(mut self) -> Event {
        self.trace_header = None;
        self
    }
}

/// `Root=1-<time>-<random>;Parent=<random>;Sampled=1`, as an active tracing function gets it.
pub fn new_trace_header() -> String {
    let seconds = Timestamp::now().as_second();
    let random = Uuid::new_v4().simple().to_string();
    let parent = Uuid::new_v4().simple().to_string();
    format!("Root=1-{seconds:08x}-{};Parent={};Sampled=1", &random[..24], &parent[..16])
}

/// The 32 hex digits of a trace header's `Root`: the same trace as OpenTelemetry writes it.
pub fn root_trace_id(trace_header: &str) -> Option<String> {
    let root = trace_header.split(';').find_map(|part| part.strip_prefix("Root=1-"))?;
    Some(root.replace('-', ""))
}
