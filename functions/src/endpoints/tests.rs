//! The endpoints together, on the local store: what one writes, the others show.

mod refused;
mod shown;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::{
    config::Config,
    http::{ApiError, Request, Response},
    runtime::App,
    test_support::Event,
};

/// The functions over one empty store.
struct Api {
    app: App,
    _directory: TempDir,
}

impl Api {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cruddur.db").to_string_lossy().into_owned();
        let vars = |name: &str| (name == "CRUDDUR_SQLITE").then(|| path.clone());
        Self { app: App::new(Config::from_vars(vars)), _directory: directory }
    }

    async fn call(
        &self,
        handle: impl AsyncFn(&App, Request) -> Result<Response, ApiError>,
        event: Event,
    ) -> (u16, Value) {
        let outcome = handle(&self.app, event.request()).await;
        let reply = outcome.unwrap_or_else(|error| error.reply());
        (reply.status_code(), serde_json::from_str(reply.body()).unwrap())
    }

    /// The body of a call that succeeds.
    async fn ok(
        &self,
        handle: impl AsyncFn(&App, Request) -> Result<Response, ApiError>,
        event: Event,
    ) -> Value {
        let (status, body) = self.call(handle, event).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    async fn publish(&self, handle: &str, message: &str) -> Value {
        self.ok(create_activity::handle, activity(handle, message)).await
    }

    async fn answer(&self, handle: &str, to: &Value, message: &str) -> Value {
        self.ok(reply_activity::handle, answer(handle, to, message)).await
    }

    async fn shown(&self, uuid: &Value) -> Value {
        let event = Event::new("GET", "/").key(text(uuid));
        self.ok(show_activities::handle, event).await[0].take()
    }

    async fn send(&self, from: &str, to: &str, message: &str) -> Value {
        let body = json!({"message": message, "user_receiver_handle": to});
        self.ok(create_message::handle, Event::new("POST", "/").by(from).json(body)).await
    }
}

fn activity(handle: &str, message: &str) -> Event {
    let body = json!({"message": message, "ttl": "7-days"});
    Event::new("POST", "/api/activities").by(handle).json(body)
}

fn answer(handle: &str, to: &Value, message: &str) -> Event {
    Event::new("POST", "/").key(text(&to["uuid"])).by(handle).json(json!({"message": message}))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// One field of each entry of a list.
fn all<'a>(list: &'a Value, field: &str) -> Vec<&'a Value> {
    list.as_array().unwrap().iter().map(|entry| &entry[field]).collect()
}
