//! Whether Honeycomb, or the backend in its place, can be sent to.

use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::{Method, StatusCode, header};
use serde_json::Value;

use crate::{
    client::http::{HttpReply, readable},
    delivery::{error::ExportError, healthcheck::Finding},
    exporter::honeycomb::{Honeycomb, HoneycombApi, HoneycombCall, MAX_REPLY_BYTES},
};

/// Who the key is. <https://api-docs.honeycomb.io/api/auth>
const AUTH: HoneycombCall<'static> =
    HoneycombCall { method: Method::GET, path: "/1/auth", headers: &[], body: Bytes::new() };

/// A request without spans, for backends that have no such question.
const NO_SPANS: HoneycombCall<'static> = HoneycombCall {
    method: Method::POST,
    path: "/v1/traces",
    headers: &[(header::CONTENT_TYPE, "application/x-protobuf")],
    body: Bytes::new(),
};

impl Honeycomb {
    /// Asks twice, so that the second answer tells the round trip.
    pub async fn check(&mut self) -> Vec<Finding> {
        let Self(api) = self;
        let call = if api.has_key() { AUTH } else { NO_SPANS };
        let endpoint = api.endpoint().to_owned();
        let begun = Instant::now();
        let first = match api.send(call.clone(), MAX_REPLY_BYTES).await {
            Ok(reply) => reply,
            Err(error @ ExportError::NoKey { .. }) => {
                return vec![Finding::failed("no key", &error)];
            }
            Err(error) => return vec![Finding::failed(&endpoint, &error)],
        };
        let connected = begun.elapsed();
        let clock = Finding::clock(&first.headers, SystemTime::now());
        let mut findings = match judge(&endpoint, api, &first) {
            Ok(told) => {
                let begun = Instant::now();
                // Had it answered otherwise now, a third question could say otherwise again.
                let _ = api.send(call, MAX_REPLY_BYTES).await;
                let (round_trip, connected) = (begun.elapsed().as_millis(), connected.as_millis());
                let times = format!(
                    "{endpoint} answers in {round_trip} ms, the first time in {connected} ms"
                );
                vec![Finding::fine(times), told]
            }
            Err(problem) => vec![problem],
        };
        findings.extend(clock);
        findings
    }
}

/// What the answer says of the key.
fn judge(endpoint: &str, api: &HoneycombApi, reply: &HttpReply) -> Result<Finding, Finding> {
    let status = reply.status;
    if status == StatusCode::UNAUTHORIZED && api.has_key() {
        let why = "does not know the key. Is it of the other region (EU or US), or deleted?";
        return Err(Finding::refused(format!("{endpoint} {why}")));
    }
    if !status.is_success() {
        let message = readable(&reply.body);
        let error = ExportError::Status { status, message, retry_after: None };
        return Err(Finding::failed(endpoint, &error));
    }
    if !api.has_key() {
        return Ok(Finding::fine("takes OTLP without a key of Honeycomb's"));
    }
    let auth: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    owner(&auth, api.has_dataset()).ok_or_else(|| {
        Finding::misconfigured(format!("{endpoint} does not say whose the key is: no Honeycomb?"))
    })
}

fn owner(auth: &Value, has_dataset: bool) -> Option<Finding> {
    let team = auth["team"]["name"].as_str()?;
    let kind = auth["type"].as_str().unwrap_or("unknown");
    let environment = auth["environment"]["name"].as_str().filter(|name| !name.is_empty());
    let place = environment
        .map_or("all of it (a classic key)".to_owned(), |name| format!("environment {name}"));
    let told = format!("the key is of kind {kind}, team {team}, {place}");
    if environment.is_none() && !has_dataset {
        return Some(Finding::refused(format!("{told}, which needs HONEYCOMB_DATASET")));
    }
    // An ingest key may always send; a configuration key has that as one of its permissions.
    let may_send = kind != "configuration" || auth["api_key_access"]["events"] != false;
    Some(match may_send {
        true => Finding::fine(told),
        false => Finding::refused(format!("{told}, but may not send events")),
    })
}
