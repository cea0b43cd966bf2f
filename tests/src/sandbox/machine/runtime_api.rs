//! Runtime API, version 2018-06-01: what the function's process calls.

use std::time::Instant;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::invocation::{Invocation, Response};
use super::{Machine, Phase};
use crate::sandbox::journal::What;
use crate::sandbox::platform;
use crate::sandbox::reply::{FailureKind, GatewayReply, Reply};
use crate::sandbox::routes::{Answer, BodyFault};

impl Machine {
    /// Ends the present invocation for the runtime; answered with the next one.
    pub(super) fn runtime_next(&mut self, answer: oneshot::Sender<Answer>) {
        self.notes.write(What::RuntimeNext);
        if self.is_managed() {
            return self.managed_next(answer);
        }
        if self.phase() == Phase::Invoking {
            let Some(invocation) = &mut self.current else { return };
            if !invocation.is_answered() {
                let refusal = "the present invocation has no response yet";
                let _ = answer.send(Answer::error(403, "InvalidStateTransition", refusal));
                return;
            }
            if invocation.runtime_done.is_none() {
                let now = Instant::now();
                invocation.runtime_done = Some(now);
                let done = platform::runtime_done(invocation, now);
                self.telemetry.emit(done);
            }
            self.runtime = Some(answer);
            return self.end_invocation_if_done();
        }
        let first = self.runtime.replace(answer).is_none();
        if self.phase() == Phase::Init {
            if first {
                self.emit_init(platform::init_runtime_done(self.init.phase, None));
            }
            self.end_init_if_ready();
        }
    }

    /// The reply goes to the caller at once, whatever the processes still do.
    pub(super) fn runtime_response(
        &mut self,
        request_id: String,
        streamed: bool,
        body: Result<Bytes, BodyFault>,
        began: Instant,
    ) -> Answer {
        let take = |invocation: &mut Invocation| take_response(invocation, streamed, body, began);
        let answer = match self.unanswered(&request_id) {
            _ if self.is_managed() => self.managed_answer(&request_id, take),
            Some(refusal) => refusal,
            None => self.current.as_mut().map_or_else(accepted, take),
        };
        self.notes.write(What::RuntimeResponse { request_id, status: answer.status });
        answer
    }

    /// The function failed, and says so.
    pub(super) fn runtime_error(
        &mut self,
        request_id: String,
        error_type: Option<String>,
        body: Value,
    ) -> Answer {
        let take = |invocation: &mut Invocation| {
            let now = Instant::now();
            invocation.response = Some(Response { began: now, ended: now, bytes: 0 });
            invocation.answer(Err(FailureKind::Function(body)));
            accepted()
        };
        let answer = match self.unanswered(&request_id) {
            _ if self.is_managed() => self.managed_answer(&request_id, take),
            Some(refusal) => refusal,
            None => self.current.as_mut().map_or_else(accepted, take),
        };
        let error_type = error_type.unwrap_or_default();
        self.notes.write(What::RuntimeError { request_id, error_type, status: answer.status });
        answer
    }

    /// The function could not start.
    pub(super) fn runtime_init_error(&mut self, error_type: Option<String>) -> Answer {
        let error_type = error_type.unwrap_or_default();
        self.notes.write(What::RuntimeInitError { error_type });
        if self.phase() != Phase::Init {
            return Answer::error(403, "InvalidStateTransition", "init is over");
        }
        self.fail_init(FailureKind::Init("Runtime.InitError"));
        accepted()
    }

    /// Why a response to this invocation cannot be taken, if so.
    fn unanswered(&self, request_id: &str) -> Option<Answer> {
        let current = self.current.as_ref().filter(|_| self.phase() == Phase::Invoking);
        match current {
            Some(invocation) if invocation.request_id != request_id => {
                Some(Answer::error(400, "InvalidRequestID", "Invalid request ID"))
            }
            Some(invocation) if !invocation.is_answered() => None,
            _ => Some(Answer::error(
                400,
                "InvalidStateTransition",
                "State transition is not allowed",
            )),
        }
    }
}

fn accepted() -> Answer {
    Answer::new(202, json!({ "status": "OK" }))
}

fn take_response(
    invocation: &mut Invocation,
    streamed: bool,
    body: Result<Bytes, BodyFault>,
    began: Instant,
) -> Answer {
    let bytes = body.as_ref().map_or(0, Bytes::len);
    invocation.response = Some(Response { began, ended: Instant::now(), bytes });
    let payload = match body {
        Ok(payload) => payload,
        Err(BodyFault::TooLarge) => {
            invocation.answer(Err(FailureKind::ResponseTooLarge));
            let limit = "Exceeded maximum allowed payload size (6291556 bytes).";
            return Answer::error(413, "RequestEntityTooLarge", limit);
        }
        Err(BodyFault::Truncated) => {
            invocation.answer(Err(FailureKind::TruncatedResponse));
            return Answer::error(400, "TruncatedResponse", "the body broke off");
        }
    };
    let reply = GatewayReply::parse(&payload, streamed);
    let text = reply.text();
    let GatewayReply { status, headers, cookies, body } = reply;
    invocation.answer(Ok(Reply {
        status,
        headers,
        cookies,
        json: serde_json::from_str(&text).unwrap_or_default(),
        body: text,
        body_bytes: body.len(),
        payload,
        request_id: invocation.request_id.clone(),
        trace_header: invocation.trace_header.clone(),
        latency: invocation.accepted.elapsed(),
    }));
    accepted()
}
