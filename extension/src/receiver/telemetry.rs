//! The listener to which Lambda's Telemetry API posts platform events.
//! <https://docs.aws.amazon.com/lambda/latest/dg/telemetry-api.html>

use std::time::SystemTime;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use tokio::time::timeout;
use tracing::warn;

use super::BODY_TIMEOUT;
use crate::{invocations::Invocations, pipeline::Handle, platform::Event};

/// One POST holds up to twice the subscription's `maxBytes` of 256 KiB, and some metadata.
const MAX_BODY_BYTES: usize = 1 << 20;

/// Where events lead.
#[derive(Debug)]
pub struct TelemetryReceiver {
    /// Takes the spans that the platform tells of.
    pub pipeline: Handle,
    /// Learns which invocations are over.
    pub invocations: Invocations,
}

impl TelemetryReceiver {
    /// Reads one POST of events.
    pub async fn handle(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let body = Limited::new(request.into_body(), MAX_BODY_BYTES).collect();
        let events = match timeout(BODY_TIMEOUT, body).await {
            Ok(Ok(body)) => Event::read_all(&body.to_bytes(), SystemTime::now()),
            Ok(Err(error)) => return refuse(&error.to_string()),
            Err(_) => return refuse("the body did not arrive in time"),
        };
        match events {
            Ok(events) => self.take(events).await,
            Err(error) => return refuse(&error.to_string()),
        }
        Response::new(Full::default())
    }

    async fn take(&self, events: Vec<Event>) {
        for event in events {
            let (spans, ended) = self.invocations.platform_event(event);
            if let Some(spans) = spans {
                // Fails only if the pipeline has stopped, which its owner reports.
                let _ = self.pipeline.receive(spans).await;
            }
            ended.into_iter().for_each(|request_id| self.invocations.ended(request_id));
        }
    }
}

fn refuse(reason: &str) -> Response<Full<Bytes>> {
    warn!("Platform events could not be read: {reason}");
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response
}
