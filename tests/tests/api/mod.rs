//! The API as callers have it: the built functions over one store, SQLite's or DynamoDB's.
#![allow(
    clippy::unwrap_used,
    reason = "these functions are tests, though their attribute is elsewhere"
)]

/// Makes a test of each function for each store: `sqlite::it_holds` and `dynamodb::it_holds`.
macro_rules! on_both_stores {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $test() {
                super::$test(crate::api::Api::over(cruddur_tests::Store::sqlite().await)).await;
            })+
        }
        mod dynamodb {
            $(#[tokio::test]
            async fn $test() {
                super::$test(crate::api::Api::over(cruddur_tests::Store::dynamodb().await)).await;
            })+
        }
    };
}

mod bad_bodies;
mod bad_days;
mod bad_input;
mod bad_requests;
mod cold;
mod concurrency;
mod deletion;
mod forms;
mod identity;
mod people;
mod quota;
mod story;
pub(crate) mod samples;

use std::collections::BTreeMap;
use std::sync::Arc;

use cruddur_tests::{Event, Reply, Sandbox, Store, event};
use serde_json::Value;
use tokio::sync::Mutex;

/// All functions over one store, each in an environment of its own, started by its first request.
pub(crate) struct Api {
    store: Store,
    /// The value of `CRUDDUR_WRITE_QUOTA`.
    quota: &'static str,
    sandboxes: Mutex<BTreeMap<String, Arc<Sandbox>>>,
}

impl Api {
    pub(crate) fn over(store: Store) -> Api {
        Api { store, quota: "0", sandboxes: Mutex::default() }
    }

    /// The same with a write quota.
    fn with_quota(self, quota: &'static str) -> Api {
        Api { quota, ..self }
    }

    /// Another environment of a function than the one that [`Api::call`] uses, as Lambda starts them
    /// for requests that come at the same time.
    async fn start(&self, function: &str) -> Sandbox {
        Sandbox::builder(function)
            .without_extension()
            .freezing(false)
            .store(&self.store)
            .env("FRONTEND_URL", "http://localhost:3000")
            .env("CRUDDUR_WRITE_QUOTA", self.quota)
            .start()
            .await
    }

    async fn call(&self, function: &str, event: Event) -> Reply {
        let mut sandboxes = self.sandboxes.lock().await;
        let sandbox = match sandboxes.get(function) {
            Some(sandbox) => sandbox.clone(),
            None => {
                let sandbox = Arc::new(self.start(function).await);
                sandboxes.insert(function.to_owned(), sandbox.clone());
                sandbox
            }
        };
        drop(sandboxes);
        sandbox.invoke(event).await
    }

    /// The body of a request that must succeed.
    async fn get(&self, function: &str, event: Event) -> Value {
        let reply = self.call(function, event).await;
        assert_eq!(reply.status, 200, "{function}: {}", reply.body);
        reply.json
    }
}

/// The sample event of a function, sent by a user of this name.
fn request_of(user: &str, function: &str) -> Event {
    event(function).caller(&format!("sub-{user}"), user)
}

/// Something in a reply that must be text.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}
