//! The Telemetry API's far end: a queue for each subscriber, emptied by a task of its own.
//!
//! A subscriber that is slow or away delays nobody: events pile up in its own queue. While the
//! environment sleeps nothing is sent, as nobody could take it.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout_at};

use super::journal::What;
use super::machine::Notes;
use super::platform;
use crate::http_client;

/// Longest wait for a subscriber's answer before the batch is sent again. Our choice.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// Waits between attempts, doubled each time; after the last the batch is dropped. Our choice.
const FIRST_BACKOFF: Duration = Duration::from_millis(20);
const ATTEMPTS: u32 = 6;

/// What an extension asked for, checked.
pub(crate) struct Request {
    pub(crate) types: Vec<String>,
    url: String,
    max_items: usize,
    max_bytes: usize,
    timeout: Duration,
}

impl Request {
    /// Reads the body of the subscription call; the error is the service's `errorMessage`.
    pub(crate) fn parse(body: &[u8]) -> Result<Request, String> {
        let body: Value = serde_json::from_slice(body).map_err(|problem| problem.to_string())?;
        let schema = body["schemaVersion"].as_str().unwrap_or_default();
        if !["2022-07-01", "2022-12-13", "2025-01-29"].contains(&schema) {
            return Err(format!("schemaVersion {schema:?} is not supported"));
        }
        let types = body["types"].as_array().into_iter().flatten();
        let types: Vec<String> =
            types.filter_map(|kind| kind.as_str().map(str::to_owned)).collect();
        let known = |kind: &String| ["platform", "function", "extension"].contains(&kind.as_str());
        if types.is_empty() || !types.iter().all(known) {
            return Err(format!("types {} are not supported", body["types"]));
        }
        let buffering = &body["buffering"];
        // Bounds and defaults: telemetry-api-reference.html.
        Ok(Request {
            types,
            url: destination(&body["destination"])?,
            max_items: bounded(buffering, "maxItems", 1_000, 10_000, 10_000)?,
            max_bytes: bounded(buffering, "maxBytes", 262_144, 1_048_576, 262_144)?,
            timeout: Duration::from_millis(
                bounded(buffering, "timeoutMs", 25, 30_000, 1_000)? as u64
            ),
        })
    }
}

/// Only the sandbox's own name is allowed; it is this machine.
fn destination(destination: &Value) -> Result<String, String> {
    let uri = destination["URI"].as_str().unwrap_or_default();
    let rest = uri.strip_prefix("http://sandbox.localdomain:");
    match (destination["protocol"].as_str(), rest) {
        (Some("HTTP"), Some(port_and_path)) => Ok(format!("http://127.0.0.1:{port_and_path}")),
        // TCP exists in Lambda; nobody here uses it.
        _ => Err(format!("destination {destination} is not supported")),
    }
}

fn bounded(
    from: &Value,
    name: &str,
    min: usize,
    max: usize,
    default: usize,
) -> Result<usize, String> {
    match &from[name] {
        Value::Null => Ok(default),
        value => match value.as_u64().and_then(|value| usize::try_from(value).ok()) {
            Some(value) if (min..=max).contains(&value) => Ok(value),
            _ => Err(format!("{name} {value} is not between {min} and {max}")),
        },
    }
}

enum Item {
    Event(Value),
    Flush,
}

/// All subscribers, and the events that came before them.
pub(crate) struct Telemetry {
    subscribers: Vec<Subscriber>,
    /// Since the start of init; a subscription gets them all.
    before: Option<Vec<Value>>,
    awake: watch::Sender<bool>,
    notes: Notes,
}

struct Subscriber {
    name: String,
    types: Vec<String>,
    queue: mpsc::UnboundedSender<Item>,
    worker: AbortHandle,
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.worker.abort();
    }
}

impl Telemetry {
    pub(crate) fn new(notes: Notes) -> Telemetry {
        let (awake, _) = watch::channel(true);
        Telemetry { subscribers: Vec::new(), before: None, awake, notes }
    }

    /// A new init: nobody is subscribed any more, everything from now on is kept for who will be.
    pub(crate) fn reset(&mut self) {
        self.subscribers.clear();
        self.before = Some(Vec::new());
        self.awake.send_replace(true);
    }

    /// Init is over.
    pub(crate) fn close_subscriptions(&mut self) {
        self.before = None;
    }

    pub(crate) fn subscriptions_are_open(&self) -> bool {
        self.before.is_some()
    }

    /// Sleeping: nothing is delivered until the next wake.
    pub(crate) fn sleep(&self, asleep: bool) {
        self.awake.send_replace(!asleep);
    }

    /// A subscription of the same extension replaces its earlier one.
    pub(crate) fn subscribe(&mut self, name: &str, request: Request) {
        self.subscribers.retain(|subscriber| subscriber.name != name);
        let (queue, items) = mpsc::unbounded_channel();
        let types = request.types.clone();
        let worker = Worker {
            name: name.to_owned(),
            request,
            items,
            awake: self.awake.subscribe(),
            notes: self.notes.clone(),
        };
        let worker = tokio::spawn(worker.run()).abort_handle();
        let subscriber = Subscriber { name: name.to_owned(), types, queue, worker };
        for event in self.before.iter().flatten() {
            subscriber.take(event);
        }
        self.subscribers.push(subscriber);
    }

    /// Hands an event to every queue that wants its type.
    pub(crate) fn emit(&mut self, event: Value) {
        for subscriber in &self.subscribers {
            subscriber.take(&event);
        }
        if let Some(before) = &mut self.before {
            before.push(event);
        }
    }

    /// Sends what is buffered without waiting for its time.
    pub(crate) fn flush(&self) {
        for subscriber in &self.subscribers {
            let _ = subscriber.queue.send(Item::Flush);
        }
    }
}

impl Subscriber {
    fn take(&self, event: &Value) {
        let event_type = event["type"].as_str().unwrap_or_default();
        let class = event_type.split('.').next().unwrap_or_default();
        if self.types.iter().any(|wanted| wanted == class) {
            let _ = self.queue.send(Item::Event(event.clone()));
        }
    }
}

struct Worker {
    name: String,
    request: Request,
    items: mpsc::UnboundedReceiver<Item>,
    awake: watch::Receiver<bool>,
    notes: Notes,
}

impl Worker {
    async fn run(mut self) {
        let mut lost: Option<Value> = None;
        while let Some(mut batch) = self.collect().await {
            batch.splice(0..0, lost.take());
            let body = json!(batch).to_string();
            if self.deliver(&body).await {
                let types = batch.iter().filter_map(|event| event["type"].as_str());
                let types = types.map(str::to_owned).collect();
                self.notes.write(What::Delivered { name: self.name.clone(), types });
            } else {
                self.notes.write(What::DeliveryFailed { name: self.name.clone() });
                lost = Some(platform::logs_dropped(batch.len(), body.len()));
            }
        }
    }

    /// The next batch: full by count or size, or its first event's time is over, or a flush.
    async fn collect(&mut self) -> Option<Vec<Value>> {
        let first = loop {
            if let Item::Event(event) = self.items.recv().await? {
                break event;
            }
        };
        let due = Instant::now() + self.request.timeout;
        let mut bytes = first.to_string().len();
        let mut batch = vec![first];
        while batch.len() < self.request.max_items && bytes < self.request.max_bytes {
            match timeout_at(due, self.items.recv()).await {
                Ok(Some(Item::Event(event))) => {
                    bytes += event.to_string().len();
                    batch.push(event);
                }
                Ok(Some(Item::Flush) | None) | Err(_) => break,
            }
        }
        Some(batch)
    }

    async fn deliver(&mut self, body: &str) -> bool {
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                sleep(FIRST_BACKOFF * 2_u32.pow(attempt - 1)).await;
            }
            if self.post(body).await {
                return true;
            }
        }
        false
    }

    /// One attempt; the time that the environment sleeps through does not count.
    async fn post(&mut self, body: &str) -> bool {
        if self.awake.wait_for(|awake| *awake).await.is_err() {
            return false;
        }
        let json = [("content-type", "application/json")];
        let answer = http_client::post(&self.request.url, &json, body.to_owned());
        tokio::pin!(answer);
        loop {
            tokio::select! {
                answer = &mut answer => return answer.is_ok_and(|answer| answer.status == 200),
                () = sleep(ANSWER_LIMIT) => {
                    if *self.awake.borrow() {
                        return false;
                    }
                    if self.awake.wait_for(|awake| *awake).await.is_err() {
                        return false;
                    }
                }
            }
        }
    }
}
