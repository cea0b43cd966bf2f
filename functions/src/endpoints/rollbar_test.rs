//! `GET /rollbar/test`: sends a message to Rollbar, to see that it arrives.

use opentelemetry::KeyValue;
use tracing::{Span, info};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::{
    api::{ApiError, Reply, Request, Route},
    app::App,
};

/// What this function answers.
pub const ROUTE: Route = Route { methods: &["GET"], path: "/rollbar/test" };

/// The same words as text. The extension finds the span event and reports it as a warning.
pub async fn handle(_app: &App, _request: Request) -> Result<Reply, ApiError> {
    let message = "Hello World!";
    let attributes = vec![KeyValue::new("level", "warning"), KeyValue::new("body", message)];
    Span::current().add_event("rollbar.message", attributes);
    info!("Sent a message to Rollbar");
    Ok(Reply::html(message))
}
