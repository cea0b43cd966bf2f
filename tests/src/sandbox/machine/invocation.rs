//! One invocation, from the caller's request to its report.

use std::time::Instant;

use serde_json::Value;
use tokio::sync::oneshot;

use crate::event::Event;
use crate::sandbox::reply::{FailureKind, InvokeError, Outcome};

/// When and how large the reply was.
pub(crate) struct Response {
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
    pub(crate) bytes: usize,
}

/// An invocation that waits or runs.
pub(crate) struct Invocation {
    pub(crate) request_id: String,
    pub(crate) payload: Value,
    pub(crate) trace_header: Option<String>,
    pub(crate) tenant_id: Option<String>,
    /// When the caller asked.
    pub(crate) accepted: Instant,
    /// When the function's time began: with a second init inside the invocation, before that.
    pub(crate) started: Option<Instant>,
    /// When its time is over.
    pub(crate) deadline: Option<Instant>,
    pub(crate) response: Option<Response>,
    /// The runtime's Next after the reply.
    pub(crate) runtime_done: Option<Instant>,
    /// Why it failed, if it did.
    pub(crate) failed: Option<FailureKind>,
    client: Option<oneshot::Sender<Outcome>>,
}

impl Invocation {
    pub(crate) fn new(event: Event, client: oneshot::Sender<Outcome>) -> Invocation {
        Invocation {
            request_id: uuid::Uuid::new_v4().to_string(),
            payload: event.payload,
            trace_header: event.trace_header,
            tenant_id: None,
            accepted: Instant::now(),
            started: None,
            deadline: None,
            response: None,
            runtime_done: None,
            failed: None,
            client: Some(client),
        }
    }

    /// The caller has its answer, or nobody waits for it any more.
    pub(crate) fn is_answered(&self) -> bool {
        self.client.is_none()
    }

    /// Hands the caller its answer, unless it has one.
    pub(crate) fn answer(&mut self, outcome: Result<crate::Reply, FailureKind>) {
        if let Err(kind) = &outcome {
            self.failed.get_or_insert(kind.clone());
        }
        if let Some(client) = self.client.take() {
            let request_id = self.request_id.clone();
            let _ = client.send(outcome.map_err(|kind| InvokeError { request_id, kind }));
        }
    }

    /// `status` and `errorType` of a failure, as platform events carry them.
    pub(crate) fn failure(&self) -> Option<(&'static str, Option<&'static str>)> {
        self.failed.as_ref().map(|kind| (kind.status(), kind.error_type()))
    }
}
