//! A runtime and an extension that a test plays itself, over the same HTTP as real ones.

use std::collections::BTreeMap;
use std::future::Future;
use std::os::unix::fs::PermissionsExt;

use cruddur_tests::Program;
use cruddur_tests::http_client::{HttpReply, get, post, send};
use http::Method;
use serde_json::{Value, json};

/// A function that answers each event with the event as its body.
pub(crate) fn echo() -> Program {
    runtime(|event| async move { json!({ "statusCode": 200, "body": event.to_string() }) })
}

/// A function that handles each event with this.
pub(crate) fn runtime<H, R>(handle: H) -> Program
where
    H: Fn(Value) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Value> + Send,
{
    Program::task(move |variables| {
        let handle = handle.clone();
        async move {
            let base = format!("http://{}/2018-06-01/runtime", variables["AWS_LAMBDA_RUNTIME_API"]);
            loop {
                let event = get(&format!("{base}/invocation/next"), &[]).await.expect("an event");
                let id = event.header("lambda-runtime-aws-request-id").expect("an id").to_owned();
                let reply = handle(event.json()).await.to_string();
                let url = format!("{base}/invocation/{id}/response");
                post(&url, &[], reply).await.expect("an answer to the response");
            }
        }
    })
}

/// An extension's side of the Extensions API.
#[derive(Clone)]
pub(crate) struct Puppet {
    base: String,
    identifier: String,
}

impl Puppet {
    /// Registers; panics if that is refused.
    pub(crate) async fn register(
        variables: &BTreeMap<String, String>,
        name: &str,
        events: &[&str],
    ) -> Puppet {
        let api = &variables["AWS_LAMBDA_RUNTIME_API"];
        let reply = register(api, name, events).await;
        assert_eq!(reply.status, 200, "{}", reply.json());
        let identifier = reply.header("lambda-extension-identifier").expect("an identifier");
        Puppet { base: format!("http://{api}"), identifier: identifier.to_owned() }
    }

    /// The next event.
    pub(crate) async fn next(&self) -> Value {
        let url = format!("{}/2020-01-01/extension/event/next", self.base);
        let event = get(&url, &[("lambda-extension-identifier", &self.identifier)]).await;
        event.expect("an event").json()
    }

    /// `init` or `exit`.
    pub(crate) async fn error(&self, stage: &str) -> HttpReply {
        let url = format!("{}/2020-01-01/extension/{stage}/error", self.base);
        let headers = [
            ("lambda-extension-identifier", self.identifier.as_str()),
            ("lambda-extension-function-error-type", "Extension.OfATest"),
        ];
        post(&url, &headers, "{}").await.expect("an answer")
    }

    /// Subscribes to the Telemetry API with the listener at this address.
    pub(crate) async fn subscribe(&self, listener: &str, types: &[&str]) -> HttpReply {
        self.put_subscription(subscription(listener, types)).await
    }

    /// Sends a subscription as it is.
    pub(crate) async fn put_subscription(&self, body: Value) -> HttpReply {
        let url = format!("{}/2022-07-01/telemetry", self.base);
        let headers = [("lambda-extension-identifier", self.identifier.as_str())];
        send(Method::PUT, &url, &headers, body.to_string()).await.expect("an answer")
    }
}

/// A subscription that is fine, with the shortest of buffers.
pub(crate) fn subscription(listener: &str, types: &[&str]) -> Value {
    let port = listener.rsplit(':').next().expect("a port");
    json!({
        "schemaVersion": "2022-12-13", "types": types,
        "buffering": { "timeoutMs": 25, "maxItems": 1000, "maxBytes": 262_144 },
        "destination": { "protocol": "HTTP", "URI": format!("http://sandbox.localdomain:{port}/") },
    })
}

/// The register call alone.
pub(crate) async fn register(api: &str, name: &str, events: &[&str]) -> HttpReply {
    let url = format!("http://{api}/2020-01-01/extension/register");
    let body = json!({ "events": events }).to_string();
    post(&url, &[("lambda-extension-name", name)], body).await.expect("an answer")
}

/// An extension that takes every event and does nothing, until SHUTDOWN.
pub(crate) fn idle_extension(name: &'static str) -> Program {
    Program::task(move |variables| async move {
        let puppet = Puppet::register(&variables, name, &["INVOKE", "SHUTDOWN"]).await;
        while puppet.next().await["eventType"] != "SHUTDOWN" {}
    })
}

/// An executable shell script, there as long as this is.
pub(crate) struct Script {
    pub(crate) program: Program,
    _directory: tempfile::TempDir,
}

/// Runs these lines in a real process.
pub(crate) fn script(lines: &str) -> Script {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("script");
    std::fs::write(&path, format!("#!/bin/sh\n{lines}\n")).expect("a script");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&path, mode).expect("an executable script");
    Script { program: Program::Binary(path), _directory: directory }
}
