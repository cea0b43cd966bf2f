//! The runtime loop: takes an event, answers it, and sends the telemetry once the reply is posted.

use std::{convert::Infallible, panic::AssertUnwindSafe};

use futures_util::FutureExt;
use lambda_runtime::{
    Error, LambdaEvent, Runtime, service_fn,
    tower::{ServiceExt, layer::layer_fn},
};
use serde_json::value::RawValue;
use tracing::{error, warn};

use crate::{
    api::{ApiError, Reply, Request, Route},
    app::App,
    config::Config,
    panics,
    telemetry::{Telemetry, server_span},
};

/// Runs a function until Lambda ends it: `handle` answers each request of `route`.
///
/// Fails only if the Runtime API cannot be reached. Whatever an event holds and whatever the
/// handler does, panics included, is answered with a reply of ours, and the next event is fine.
pub async fn run(
    route: Route,
    handle: impl AsyncFn(&App, Request) -> Result<Reply, ApiError>,
) -> Result<(), Error> {
    let config = Config::from_vars(|name| std::env::var(name).ok());
    let telemetry = Telemetry::start(&config);
    let app = App::new(config);
    // The raw event: what cannot become a request is answered too, by `answer`, not by the library.
    let service = service_fn(|event: LambdaEvent<Box<RawValue>>| {
        answer(&telemetry, &route, event, async |request| handle(&app, request).await)
    });
    // The inner service posts the reply to the Runtime API; what comes after it, the client does
    // not wait for, but the runtime's next request for work does.
    let telemetry_after_reply = layer_fn(|posting_replies| {
        ServiceExt::map_future(posting_replies, |reply_posted| telemetry.around(reply_posted))
    });
    Runtime::new(service).layer(telemetry_after_reply).run().await
}

async fn answer(
    telemetry: &Telemetry,
    route: &Route,
    event: LambdaEvent<Box<RawValue>>,
    handle: impl AsyncFnOnce(Request) -> Result<Reply, ApiError>,
) -> Result<Reply, Infallible> {
    let request = Request::from_event(event.payload.get());
    telemetry.identify(&event.context, route, request.as_ref().ok());
    let outcome = match request {
        Ok(request) => serve(route, request, handle).await,
        Err(error) => Err(error),
    };
    let reply = outcome.as_ref().map_or_else(ApiError::reply, Reply::clone);
    let error = outcome.err();
    server_span::record_outcome(&reply, error.as_ref());
    if let Some(error) = error {
        log(&reply, &error);
    }
    Ok(reply)
}

async fn serve(
    route: &Route,
    request: Request,
    handle: impl AsyncFnOnce(Request) -> Result<Reply, ApiError>,
) -> Result<Reply, ApiError> {
    route.check(&request)?;
    // What a handler shares with the next invocation is guarded by locks that survive a panic.
    let caught = AssertUnwindSafe(handle(request)).catch_unwind().await;
    caught.unwrap_or_else(|panic| Err(ApiError::Panicked(panics::message(panic.as_ref()))))
}

/// The one place where a failed request is logged.
fn log(reply: &Reply, error: &ApiError) {
    let status = reply.status_code();
    let code = error.status_and_code().1;
    match status {
        500.. => error!(status, code, "Request failed: {}", error.chain()),
        _ => warn!(status, code, "Request refused: {}", error.chain()),
    }
}

#[cfg(test)]
#[path = "lambda_tests.rs"]
mod tests;
