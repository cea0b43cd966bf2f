//! What a test invokes a function with: a sample event of `events/`, changed as needed.

use std::fs;
use std::path::Path;

use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
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

    /// Who asks, as the gateway's authorizer reads it from a token.
    pub fn caller(self, sub: &str, handle: &str) -> Event {
        self.claims(json!({"sub": sub, "username": handle, "token_use": "access"}))
    }

    /// All claims of the token; `null` for a request without one.
    pub fn claims(mut self, claims: Value) -> Event {
        let authorizer = match claims {
            Value::Null => Value::Null,
            claims => json!({"jwt": {"claims": claims, "scopes": null}}),
        };
        self.payload["requestContext"]["authorizer"] = authorizer;
        self
    }

    /// Sets the method.
    pub fn method(mut self, method: &str) -> Event {
        self.payload["requestContext"]["http"]["method"] = method.into();
        self
    }

    /// Sets a variable of the route's path, as the gateway does: decoded.
    pub fn path_parameter(mut self, name: &str, value: &str) -> Event {
        self.payload["pathParameters"][name] = value.into();
        let route = self.payload["routeKey"].as_str().unwrap_or_default();
        let path = route.split_once(' ').map_or("", |(_, path)| path);
        let parameters = self.payload["pathParameters"].as_object().into_iter().flatten();
        let path = parameters.fold(path.to_owned(), |path, (name, value)| {
            path.replace(&format!("{{{name}}}"), value.as_str().unwrap_or_default())
        });
        self.payload["requestContext"]["http"]["path"] = path.clone().into();
        self.payload["rawPath"] = path.into();
        self
    }

    /// Sets a parameter of the query, beside those that are there.
    pub fn query(mut self, name: &str, value: &str) -> Event {
        self.payload["queryStringParameters"][name] = value.into();
        let parameters = self.payload["queryStringParameters"].as_object();
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let pairs = parameters.into_iter().flatten().map(|(name, value)| {
            format!("{}={}", encoded(name), encoded(value.as_str().unwrap_or_default()))
        });
        self.payload["rawQueryString"] = pairs.collect::<Vec<_>>().join("&").into();
        self
    }

    /// Sets the body, whatever text it is.
    pub fn body(mut self, text: &str) -> Event {
        self.payload["body"] = text.into();
        self
    }

    /// Sets the body.
    pub fn json(self, body: &Value) -> Event {
        self.body(&body.to_string())
    }

    /// Has the body read as base64, which it must be.
    pub fn is_base64(mut self) -> Event {
        self.payload["isBase64Encoded"] = true.into();
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
