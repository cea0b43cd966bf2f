//! The span of an invocation, "S": from the event to the posted reply.
//! Attributes by <https://opentelemetry.io/docs/specs/semconv/http/http-spans/> and
//! <https://opentelemetry.io/docs/specs/semconv/faas/faas-spans/>.

use http::Method;
use lambda_runtime::Context;
use opentelemetry::{KeyValue, trace::Status};
use tracing::{Span, field::Empty, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::api::{ApiError, Reply, Request, Route};

/// Opens it, before anything is known but the time.
pub(super) fn open() -> Span {
    info_span!(parent: None, "invocation", otel.name = Empty, otel.kind = "server")
}

/// Names it. A span's name is fixed once it has started.
pub(super) fn name(span: &Span, route: &Route, request: Option<&Request>) {
    let method = request.map(|request| known(request.method())).filter(|name| *name != "_OTHER");
    // `HTTP` stands for a method that cannot be told, by the conventions.
    span.record("otel.name", format!("{} {}", method.unwrap_or("HTTP"), route.path));
}

/// Says what is known before the handler runs.
pub(super) fn describe(
    span: &Span,
    context: &Context,
    route: &Route,
    request: Option<&Request>,
    cold_start: bool,
) {
    span.set_attribute("app.name", "cruddur");
    span.set_attribute("faas.trigger", "http");
    span.set_attribute("faas.invocation_id", context.request_id.clone());
    span.set_attribute("faas.coldstart", cold_start);
    span.set_attribute("http.route", route.path);
    if let Some(header) = &context.xray_trace_id {
        span.set_attribute("cruddur.xray_header", header.clone());
    }
    let Some(request) = request else { return };
    span.set_attribute("http.request.method", known(request.method()));
    if known(request.method()) == "_OTHER" {
        span.set_attribute("http.request.method_original", request.method().to_string());
    }
    span.set_attribute("url.path", request.path().to_owned());
    span.set_attribute("url.scheme", request.scheme());
}

/// Adds how it went to the current span, which must be the server span.
///
/// 5xx is an error of ours: status and `exception` event. 4xx is the client's: only its code.
pub fn record_outcome(reply: &Reply, error: Option<&ApiError>) {
    let span = Span::current();
    span.set_attribute("http.response.status_code", i64::from(reply.status_code()));
    let Some(error) = error else { return };
    span.set_attribute("app.error_code", error.status_and_code().1);
    if reply.status_code() < 500 {
        return;
    }
    span.set_status(Status::error("")); // no description: the status code says it all
    span.set_attribute("error.type", reply.status_code().to_string());
    span.add_event(
        "exception",
        vec![
            KeyValue::new("exception.type", error.kind()),
            KeyValue::new("exception.message", error.chain()),
        ],
    );
}

/// The methods that the conventions know; any other could be made up by a client.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        "PATCH" => "PATCH",
        "TRACE" => "TRACE",
        "CONNECT" => "CONNECT",
        _ => "_OTHER",
    }
}
