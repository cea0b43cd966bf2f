//! The three APIs as HTTP: each route reads its request and asks the machine, which answers.

use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::machine::{Call, Message};

/// Six mebibytes and the head-room that Lambda's own emulator gives (`MaxPayloadSize`).
/// <https://github.com/aws/aws-lambda-runtime-interface-emulator>
pub(crate) const MAX_RESPONSE_BYTES: usize = 6 * 1024 * 1024 + 100;

type Messages = mpsc::UnboundedSender<Message>;

/// Status, headers and JSON body of an API's answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn new(status: u16, body: Value) -> Answer {
        Answer { status, headers: Vec::new(), body }
    }

    /// An error in the form of all three APIs.
    pub(crate) fn error(status: u16, error_type: &str, message: &str) -> Answer {
        Answer::new(status, json!({ "errorType": error_type, "errorMessage": message }))
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Answer {
        self.headers.push((name, value.into()));
        self
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response =
            Response::builder().status(self.status).header("content-type", "application/json");
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        let body = Body::from(self.body.to_string());
        response.body(body).unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
    }
}

/// All routes of Runtime API, Extensions API and Telemetry API.
pub(crate) fn router(machine: Messages) -> Router {
    Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(runtime_next))
        .route("/2018-06-01/runtime/invocation/{id}/response", post(runtime_response))
        .route("/2018-06-01/runtime/invocation/{id}/error", post(runtime_error))
        .route("/2018-06-01/runtime/init/error", post(runtime_init_error))
        .route("/2020-01-01/extension/register", post(register))
        .route("/2020-01-01/extension/event/next", get(extension_next))
        .route("/2020-01-01/extension/init/error", post(extension_init_error))
        .route("/2020-01-01/extension/exit/error", post(extension_exit_error))
        .route("/2022-07-01/telemetry", put(subscribe))
        .with_state(machine)
}

async fn ask(machine: &Messages, call: Call) -> Answer {
    let (answer, answered) = oneshot::channel();
    let _ = machine.send(Message::Call(call, answer));
    // The machine drops a call only with itself.
    answered.await.unwrap_or_else(|_| Answer::error(500, "Sandbox.Failure", "the sandbox is gone"))
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

async fn runtime_next(State(machine): State<Messages>) -> Answer {
    ask(&machine, Call::RuntimeNext).await
}

async fn runtime_response(
    State(machine): State<Messages>,
    Path(request_id): Path<String>,
    request: Request<Body>,
) -> Answer {
    let began = Instant::now();
    let (head, body) = request.into_parts();
    let mode = header(&head.headers, "lambda-runtime-function-response-mode");
    let streamed = mode.is_some_and(|mode| mode.eq_ignore_ascii_case("streaming"));
    let body = read_response(body).await;
    ask(&machine, Call::RuntimeResponse { request_id, streamed, body, began }).await
}

/// What is wrong with a response's body.
#[derive(Debug)]
pub(crate) enum BodyFault {
    TooLarge,
    Truncated,
}

async fn read_response(body: Body) -> Result<Bytes, BodyFault> {
    use http_body_util::{BodyExt, LengthLimitError, Limited};
    match Limited::new(body, MAX_RESPONSE_BYTES).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(problem) if problem.is::<LengthLimitError>() => Err(BodyFault::TooLarge),
        Err(_) => Err(BodyFault::Truncated),
    }
}

async fn runtime_error(
    State(machine): State<Messages>,
    Path(request_id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let error_type = header(&headers, "lambda-runtime-function-error-type");
    let body = serde_json::from_slice(&body).unwrap_or_default();
    ask(&machine, Call::RuntimeError { request_id, error_type, body }).await
}

async fn runtime_init_error(State(machine): State<Messages>, headers: HeaderMap) -> Answer {
    let error_type = header(&headers, "lambda-runtime-function-error-type");
    ask(&machine, Call::RuntimeInitError { error_type }).await
}

async fn register(State(machine): State<Messages>, headers: HeaderMap, body: Bytes) -> Answer {
    let features = header(&headers, "lambda-extension-accept-feature").unwrap_or_default();
    let call = Call::Register {
        name: header(&headers, "lambda-extension-name"),
        account_id: features.split(',').any(|feature| feature.trim() == "accountId"),
        body,
    };
    ask(&machine, call).await
}

async fn extension_next(State(machine): State<Messages>, headers: HeaderMap) -> Answer {
    ask(&machine, Call::ExtensionNext { identifier: identifier(&headers) }).await
}

async fn extension_init_error(State(machine): State<Messages>, headers: HeaderMap) -> Answer {
    let call = Call::ExtensionError {
        identifier: identifier(&headers),
        error_type: header(&headers, "lambda-extension-function-error-type"),
        in_init: true,
    };
    ask(&machine, call).await
}

async fn extension_exit_error(State(machine): State<Messages>, headers: HeaderMap) -> Answer {
    let call = Call::ExtensionError {
        identifier: identifier(&headers),
        error_type: header(&headers, "lambda-extension-function-error-type"),
        in_init: false,
    };
    ask(&machine, call).await
}

async fn subscribe(State(machine): State<Messages>, headers: HeaderMap, body: Bytes) -> Answer {
    ask(&machine, Call::Subscribe { identifier: identifier(&headers), body }).await
}

fn identifier(headers: &HeaderMap) -> Option<String> {
    header(headers, "lambda-extension-identifier")
}
