//! Honeycomb's management API: one call at a time, with retries and messages for refusals.
//! <https://api-docs.honeycomb.io/api>

use std::time::{Duration, SystemTime};

use http::{Method, StatusCode, header};
use serde_json::Value;
use tokio::time::sleep;

use crate::client::http::{HttpReply, readable, retry_after};
use crate::command::command_error::{CommandError, is_temporary};
use crate::config::ConfigError;
use crate::delivery::error::ExportError;
use crate::exporter::honeycomb::config::HoneycombConfig;
use crate::exporter::honeycomb::request::{HoneycombApi, HoneycombCall};

/// Most bytes of a reply: a list of boards contains every board with all of its panels.
const MAX_REPLY_BYTES: usize = 32 << 20;

/// Most attempts of a call; the default pauses between them take 3 s together.
const MAX_ATTEMPTS: u32 = 4;

/// Longest pause between attempts: Honeycomb's limits are per minute.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Variables of the key and the endpoint.
const KEY_VARIABLES: [&str; 5] = [
    "HONEYCOMB_CONFIGURATION_KEY",
    "HONEYCOMB_API_KEY",
    "HONEYCOMB_API_KEY_SECRET",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "HONEYCOMB_API_ENDPOINT",
];

/// Why the variables of the key and the endpoint cannot be used. Errors of others do not matter here.
pub(super) fn key_error(errors: &[ConfigError]) -> Option<String> {
    let error = errors.iter().find(|error| KEY_VARIABLES.contains(&error.variable()));
    error.map(ConfigError::to_string)
}

#[derive(Debug)]
pub(super) struct Client(HoneycombApi);

impl Client {
    pub(super) fn new(config: HoneycombConfig) -> Self {
        Self(HoneycombApi::new(config))
    }

    /// The reply's JSON; `None` if the status is one of `expected`.
    pub(super) async fn call(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        expected: &[StatusCode],
    ) -> Result<Option<Value>, CommandError> {
        let reply = self.send(&method, path, body).await?;
        if reply.status.is_success() {
            return Ok(Some(serde_json::from_slice(&reply.body).unwrap_or_default()));
        }
        if expected.contains(&reply.status) {
            return Ok(None);
        }
        let message = error_message(&reply.body);
        let status = reply.status;
        Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => CommandError::Refused(format!(
                "Honeycomb does not allow {method} {path} with this key: {status}: {message}"
            )),
            status if is_temporary(status) => {
                CommandError::Unreachable(format!("{method} {path}: {status}: {message}"))
            }
            status => CommandError::Refused(format!("{method} {path}: {status}: {message}")),
        })
    }

    /// Retries after the pause that Honeycomb asks for. A POST is retried only if it was refused, since
    /// it may have been executed otherwise.
    async fn send(
        &mut self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<HttpReply, CommandError> {
        let mut attempt = 1;
        loop {
            let body = body.map(Value::to_string).unwrap_or_default().into();
            let headers = &[(header::CONTENT_TYPE, "application/json")];
            let call = HoneycombCall { method: method.clone(), path, headers, body };
            let result = self.0.send(call, MAX_REPLY_BYTES).await;
            let pause = Duration::from_millis(500) * attempt;
            let pause = match &result {
                Ok(reply) if reply.status == StatusCode::TOO_MANY_REQUESTS => {
                    Some(retry_after(&reply.headers, SystemTime::now()).unwrap_or(pause))
                }
                Ok(reply) if reply.status.is_server_error() => Some(pause),
                Ok(_) | Err(ExportError::NoKey { .. } | ExportError::Misconfigured(_)) => None,
                Err(_) => Some(pause),
            };
            let was_refused = matches!(&result, Ok(reply) if reply.status.is_client_error());
            let may_repeat = was_refused || *method != Method::POST;
            match pause.filter(|_| may_repeat && attempt < MAX_ATTEMPTS) {
                Some(pause) => sleep(pause.min(MAX_PAUSE)).await,
                None => return Ok(result?),
            }
            attempt += 1;
        }
    }
}

/// Its errors have one of three forms, and may say which fields they are about.
fn error_message(body: &[u8]) -> String {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let places = [&json["error"], &json["detail"], &json["title"], &json["errors"][0]["title"]];
    let message = places.iter().find_map(|place| place.as_str());
    let mut message = readable(message.map_or(body, str::as_bytes));
    for detail in json["type_detail"].as_array().into_iter().flatten() {
        let text = |field: &str| readable(detail[field].as_str().unwrap_or_default().as_bytes());
        message.push_str(&format!("; {}: {}", text("field"), text("description")));
    }
    message
}
