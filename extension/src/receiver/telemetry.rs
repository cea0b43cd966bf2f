//! The listener to which Lambda's Telemetry API posts platform events and the function's lines.
//! <https://docs.aws.amazon.com/lambda/latest/dg/telemetry-api.html>

use std::time::SystemTime;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tracing::warn;

use crate::{
    pipeline::PipelineHandle,
    processor::{
        Processor,
        platform_spans::{PlatformEvent, RawEvent},
    },
    receiver::body::{self, BodyBudget, BodyError},
};

/// Where events lead.
#[derive(Debug)]
pub struct TelemetryReceiver {
    /// Takes the spans that the platform tells of, and the lines.
    pub pipeline: PipelineHandle,
    /// Learns which invocations are over.
    pub invocations: Processor,
    /// Largest body. Twice the subscription's `maxBytes` is usual, but a single line may be longer.
    pub max_body_bytes: usize,
    /// For all requests under way.
    pub room: BodyBudget,
}

impl TelemetryReceiver {
    /// Reads one POST of events.
    pub async fn handle(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (body, _room) = match body::read(request, self.max_body_bytes, &self.room).await {
            Ok(read) => read,
            // Lambda tries again.
            Err(BodyError::NoRoom) => return refuse(StatusCode::SERVICE_UNAVAILABLE, "no room"),
            Err(error) => return refuse(StatusCode::BAD_REQUEST, &error.to_string()),
        };
        // A function may write anything: no byte of it must cost the lines beside it.
        let json = String::from_utf8_lossy(&body);
        match RawEvent::read_all(&json, SystemTime::now()) {
            Ok(events) => self.take(&events).await,
            Err(error) => return refuse(StatusCode::BAD_REQUEST, &error.to_string()),
        }
        Response::new(Full::default())
    }

    async fn take(&self, events: &[RawEvent<'_>]) {
        // Fails only if the pipeline has stopped, which its owner reports.
        for lines in self.invocations.lines(events) {
            let _ = self.pipeline.receive(lines).await;
        }
        for event in events.iter().filter(|event| event.kind.starts_with("platform.")) {
            let mut news = self.invocations.platform_event(PlatformEvent::read(event));
            if let Some(spans) = news.spans.take() {
                let _ = self.pipeline.receive(spans).await;
            }
            for failure in news.failures.drain(..) {
                let _ = self.pipeline.receive(failure).await;
            }
            // After the pipeline has everything: whoever waits for the end flushes it too.
            self.invocations.told(news);
        }
        if self.invocations.wants_failures() {
            self.pipeline.count().await;
        }
    }
}

fn refuse(status: StatusCode, reason: &str) -> Response<Full<Bytes>> {
    warn!("Lambda's telemetry could not be read: {reason}");
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
