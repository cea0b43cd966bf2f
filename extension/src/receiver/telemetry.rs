//! The listener to which Lambda's Telemetry API posts platform events and the function's lines.
//! <https://docs.aws.amazon.com/lambda/latest/dg/telemetry-api.html>

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::{net::TcpListener, sync::watch};

use crate::pipeline::PipelineHandle;
use crate::pipeline::refusals::{Receiver, RefusalReason, RefusedRequests};
use crate::receiver::body;
use crate::receiver::body::{BodyBudget, BodyError};
use crate::receiver::posts::Posts;
use crate::receiver::telemetry_split::{Post, Splitter};

#[derive(Debug)]
pub struct TelemetryReceiver {
    /// Counts refused requests.
    pipeline: PipelineHandle,
    posts: Posts,
    max_body_bytes: usize,
    room: BodyBudget,
    splitter: Mutex<Splitter>,
}

impl TelemetryReceiver {
    /// `max_body_bytes`: twice the subscription's `maxBytes` is usual, but a single line may be longer.
    pub fn new(pipeline: PipelineHandle, posts: Posts, max_body_bytes: usize) -> Self {
        let room = BodyBudget::new(max_body_bytes.saturating_mul(2));
        Self { pipeline, posts, max_body_bytes, room, splitter: Mutex::default() }
    }

    /// Answers until `stop` turns true. Then enqueues the part of an event whose continuation has not
    /// come.
    pub async fn serve(self, listener: TcpListener, stop: watch::Receiver<bool>) {
        let receiver = Arc::new(self);
        let handler = Arc::clone(&receiver);
        let handle = move |request| {
            let receiver = Arc::clone(&handler);
            async move { receiver.handle(request).await }
        };
        crate::receiver::server::serve(listener, stop, handle).await;
        let rest = receiver.split(Splitter::finish);
        if let Some(event) = rest {
            receiver.posts.receive(&[event.into()], SystemTime::now()).await;
        }
    }

    async fn handle(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (body, _room) = match body::read(request, self.max_body_bytes, &self.room).await {
            Ok(read) => read,
            Err(error) => {
                self.refused(RefusalReason::of(error.status()), 1, error.to_string()).await;
                // Lambda retries after a 503.
                let is_busy = matches!(error, BodyError::NoRoom);
                let busy = StatusCode::SERVICE_UNAVAILABLE;
                return answer(if is_busy { busy } else { StatusCode::BAD_REQUEST });
            }
        };
        let Post { mut events, mut unreadable } = self.split(|splitter| splitter.read(&body));
        let values = events.len();
        events.retain(|json| json.starts_with('{'));
        unreadable += values - events.len();
        self.posts.receive(&events, SystemTime::now()).await;
        if unreadable > 0 {
            let bytes = body.len();
            let kept = events.len();
            let detail =
                format!("parts of a POST of {bytes} bytes are not events; {kept} events are kept");
            self.refused(RefusalReason::Invalid, unreadable as u64, detail).await;
        }
        let is_refused = events.is_empty() && unreadable > 0;
        answer(if is_refused { StatusCode::BAD_REQUEST } else { StatusCode::OK })
    }

    fn split<T>(&self, act: impl FnOnce(&mut Splitter) -> T) -> T {
        act(&mut self.splitter.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn refused(&self, reason: RefusalReason, count: u64, detail: String) {
        let receiver = Receiver::Telemetry;
        self.pipeline.refused(RefusedRequests { receiver, reason, count, detail }).await;
    }
}

fn answer(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests;
