//! A log group at moto: where the extension writes, and what a test reads back.

use serde_json::{Value, json};

use crate::http_client;
use crate::moto;
use crate::proxy::Proxy;
use crate::sandbox::environment::REGION;

/// A group that does not exist yet, behind a proxy with faults of its own.
pub struct LogGroup {
    /// Its name.
    pub name: String,
    /// Where the extension sends to.
    pub proxy: Proxy,
}

/// One event, as it was stored.
#[derive(Clone, Debug)]
pub struct LogEvent {
    /// Unix milliseconds.
    pub timestamp: i64,
    /// The message, which is always an object.
    pub line: Value,
}

/// The service's limits:
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html>
const MAX_BYTES: usize = 1_048_576;
const EVENT_BYTES: usize = 26;
const MAX_EVENTS: usize = 10_000;
const MAX_SPAN_MS: i64 = 24 * 60 * 60 * 1_000;

impl LogGroup {
    /// A name that no other test has.
    pub async fn new() -> LogGroup {
        LogGroup { name: moto::unique("cruddur"), proxy: Proxy::start(moto::url()).await }
    }

    /// Whether it has been made, and its retention in days.
    pub async fn retention(&self) -> Option<i64> {
        let asked = json!({ "logGroupNamePrefix": self.name });
        call("DescribeLogGroups", asked).await["logGroups"][0]["retentionInDays"].as_i64()
    }

    /// Removes it with all that it holds.
    pub async fn delete(&self) {
        call("DeleteLogGroup", json!({ "logGroupName": self.name })).await;
    }

    /// The names of its streams.
    pub async fn streams(&self) -> Vec<String> {
        let found = call("DescribeLogStreams", json!({ "logGroupName": self.name })).await;
        let streams = found["logStreams"].as_array().into_iter().flatten();
        streams.filter_map(|stream| stream["logStreamName"].as_str().map(str::to_owned)).collect()
    }

    /// All events of all streams, each in the order in which the service would show them.
    pub async fn events(&self) -> Vec<LogEvent> {
        let mut events = Vec::new();
        for stream in self.streams().await {
            let mut token = Value::Null;
            loop {
                let asked = json!({
                    "logGroupName": self.name, "logStreamName": stream,
                    "startFromHead": true, "nextToken": token,
                });
                let page = call("GetLogEvents", asked).await;
                let found = page["events"].as_array().cloned().unwrap_or_default();
                if found.is_empty() || page["nextForwardToken"] == token {
                    break;
                }
                token = page["nextForwardToken"].clone();
                events.extend(found.iter().map(|event| LogEvent {
                    timestamp: event["timestamp"].as_i64().expect("a time"),
                    line: parse(event["message"].as_str().expect("a message")),
                }));
            }
        }
        events
    }

    /// All lines.
    pub async fn lines(&self) -> Vec<Value> {
        self.events().await.into_iter().map(|event| event.line).collect()
    }

    /// Panics if a request was not as the service demands.
    pub fn assert_all_requests_are_within_limits(&self) {
        // One that was reset on its way has no whole body.
        for request in self.proxy.bodies("PutLogEvents").iter().filter(|it| it.is_object()) {
            let events = request["logEvents"].as_array().expect("events");
            let messages = events.iter().map(|event| event["message"].as_str().expect("text"));
            let bytes: usize = messages.clone().map(|text| text.len() + EVENT_BYTES).sum();
            let times = events.iter().map(|event| event["timestamp"].as_i64().expect("a time"));
            let times: Vec<i64> = times.collect();
            assert!((1..=MAX_EVENTS).contains(&events.len()), "{} events", events.len());
            assert!(bytes <= MAX_BYTES, "{bytes} bytes");
            assert!(messages.clone().all(|text| !text.is_empty()), "an empty message");
            assert!(times.is_sorted(), "not in order");
            assert!(times[times.len() - 1] - times[0] <= MAX_SPAN_MS, "more than a day");
        }
    }
}

fn parse(message: &str) -> Value {
    serde_json::from_str(message).unwrap_or_else(|_| panic!("no JSON: {message}"))
}

/// An operation of CloudWatch Logs, past the proxy. moto believes every signature.
async fn call(operation: &str, body: Value) -> Value {
    let target = format!("Logs_20140328.{operation}");
    let credential = format!("AKID/20260101/{REGION}/logs/aws4_request");
    let authorization =
        format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0");
    let headers = [
        ("content-type", "application/x-amz-json-1.1"),
        ("x-amz-target", &target),
        ("authorization", &authorization),
    ];
    let mut body = body;
    if let Some(fields) = body.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    let reply = http_client::post(moto::url(), &headers, body.to_string()).await;
    let reply = reply.expect("moto answers");
    if reply.body.is_empty() { Value::Null } else { reply.json() }
}
