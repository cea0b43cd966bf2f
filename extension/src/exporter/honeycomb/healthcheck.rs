//! Whether Honeycomb, or another OTLP backend, is reachable and accepts the key.

use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::Value;

use crate::client::http::{HttpReply, readable};
use crate::delivery::error::ExportError;
use crate::delivery::healthcheck::Finding;
use crate::exporter::honeycomb::request::{HoneycombApi, HoneycombCall};
use crate::exporter::otlp::engine::OtlpEngine;
use crate::exporter::otlp::request::MAX_REPLY_BYTES;
use crate::otlp::payload::SignalKind;

/// Describes the key. <https://api-docs.honeycomb.io/api/auth>
const AUTH: HoneycombCall<'static> =
    HoneycombCall { method: Method::GET, path: "/1/auth", headers: &[], body: Bytes::new() };

/// Describes the key; another backend gets an export without spans, compressed as batches are.
async fn ask(engine: &mut OtlpEngine<HoneycombApi>) -> Result<HttpReply, ExportError> {
    match engine.backend.has_key() {
        true => engine.backend.send(AUTH, MAX_REPLY_BYTES).await,
        false => engine.send_empty(SignalKind::Traces).await,
    }
}

/// Sends two requests: the second measures the round trip on an open connection.
pub(super) async fn check(engine: &mut OtlpEngine<HoneycombApi>) -> Vec<Finding> {
    let endpoint = engine.backend.endpoint().to_owned();
    let begun = Instant::now();
    let first = match ask(engine).await {
        Ok(reply) => reply,
        Err(error @ ExportError::NoKey { .. }) => {
            return vec![Finding::failed("no key", &error)];
        }
        Err(error) => return vec![Finding::failed(&endpoint, &error)],
    };
    let connected = begun.elapsed();
    let clock = Finding::clock(&first.headers, SystemTime::now());
    let mut findings = match key_finding(&endpoint, engine, &first) {
        Ok(key) => {
            let begun = Instant::now();
            // Only its time matters; the first reply decides.
            let _ = ask(engine).await;
            let (round_trip, connected) = (begun.elapsed().as_millis(), connected.as_millis());
            let times =
                format!("{endpoint} answers in {round_trip} ms, the first time in {connected} ms");
            let link = environment_url(&endpoint, &first).map(Finding::fine);
            [Finding::fine(times), key].into_iter().chain(link).collect()
        }
        Err(problem) => vec![problem],
    };
    findings.extend(clock);
    findings
}

fn key_finding(
    endpoint: &str,
    engine: &OtlpEngine<HoneycombApi>,
    reply: &HttpReply,
) -> Result<Finding, Finding> {
    let (status, api) = (reply.status, &engine.backend);
    if status == StatusCode::UNAUTHORIZED && api.has_key() {
        let why = "does not know the key: is it deleted, or of the other region (EU, US)?";
        return Err(Finding::refused(format!("{endpoint} {why}")));
    }
    if !status.is_success() {
        let message = readable(&reply.body);
        let error = ExportError::Status { status, message, retry_after: None };
        return Err(Finding::failed(endpoint, &error));
    }
    if !api.has_key() {
        let compression =
            engine.compression(SignalKind::Traces).encoding().unwrap_or("no compression");
        let text = format!("accepts OTLP without a Honeycomb key, with {compression}");
        return Ok(Finding::fine(text));
    }
    let auth: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    owner_finding(&auth, api.has_dataset()).ok_or_else(|| {
        Finding::misconfigured(format!(
            "{endpoint} does not describe the key, so it is probably not Honeycomb"
        ))
    })
}

/// Where the key's data is shown; `None` for a classic key, and at any host but Honeycomb's own.
fn environment_url(endpoint: &str, reply: &HttpReply) -> Option<String> {
    let host =
        endpoint.strip_prefix("https://api.").filter(|host| host.ends_with("honeycomb.io"))?;
    let auth: Value = serde_json::from_slice(&reply.body).ok()?;
    let slug = |of: &str| auth[of]["slug"].as_str().filter(|slug| !slug.is_empty());
    let (team, environment) = (slug("team")?, slug("environment")?);
    Some(format!("https://ui.{host}/{team}/environments/{environment}"))
}

fn owner_finding(auth: &Value, has_dataset: bool) -> Option<Finding> {
    let team = auth["team"]["name"].as_str()?;
    let kind = auth["type"].as_str().unwrap_or("unknown");
    let environment = auth["environment"]["name"].as_str().filter(|name| !name.is_empty());
    let place = environment
        .map_or("all of it (a classic key)".to_owned(), |name| format!("environment {name}"));
    let key = format!("the key is of kind {kind}, team {team}, {place}");
    if environment.is_none() && !has_dataset {
        return Some(Finding::refused(format!("{key}, which needs HONEYCOMB_DATASET")));
    }
    // An ingest key may always send; a configuration key has that as one of its permissions.
    let may_send = kind != "configuration" || auth["api_key_access"]["events"] != false;
    Some(match may_send {
        true => Finding::fine(key),
        false => Finding::refused(format!("{key}, but may not send events")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_of_a_key_has_an_address_at_honeycomb_itself() {
        let url = |endpoint, auth: Value| {
            let body = auth.to_string().into();
            let reply = HttpReply { status: StatusCode::OK, headers: Default::default(), body };
            environment_url(endpoint, &reply)
        };
        let auth = |environment: &str| serde_json::json!({ "team": { "slug": "acme" }, "environment": { "slug": environment } });

        let europe = url("https://api.eu1.honeycomb.io", auth("test"));
        assert_eq!(europe.as_deref(), Some("https://ui.eu1.honeycomb.io/acme/environments/test"));
        assert_eq!(url("https://api.honeycomb.io", auth("")), None);
        assert_eq!(url("http://127.0.0.1:4000", auth("test")), None);
    }
}
