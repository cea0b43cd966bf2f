//! The listener to which Lambda's Telemetry API posts platform events.
//! <https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html>
//!
//! A tolerant decoder of our own: unknown types and fields are fine, since Lambda adds some every
//! year and refuses nothing that a listener leaves unread.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use tokio::time::timeout;
use tracing::warn;

use super::BODY_TIMEOUT;
use crate::invocations::EndedInvocations;

/// One POST holds up to twice the subscription's `maxBytes` of 256 KiB, and some metadata.
const MAX_BODY_BYTES: usize = 1 << 20;

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    record: serde_json::Value,
}

/// Reads one POST of events and notes which invocations are over.
pub async fn handle(request: Request<Incoming>, ended: &EndedInvocations) -> Response<Full<Bytes>> {
    let body = Limited::new(request.into_body(), MAX_BODY_BYTES).collect();
    let events = match timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => serde_json::from_slice::<Vec<Event>>(&body.to_bytes()),
        Ok(Err(error)) => return refuse(&error.to_string()),
        Err(_) => return refuse("the body did not arrive in time"),
    };
    match events {
        Ok(events) => note_ended(events, ended),
        Err(error) => return refuse(&error.to_string()),
    }
    Response::new(Full::default())
}

fn note_ended(events: Vec<Event>, ended: &EndedInvocations) {
    for event in events.iter().filter(|event| event.kind == "platform.runtimeDone") {
        if let Some(request_id) = event.record["requestId"].as_str() {
            ended.push(request_id.to_owned());
        }
    }
}

fn refuse(reason: &str) -> Response<Full<Bytes>> {
    warn!("Platform events could not be read: {reason}");
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response
}
