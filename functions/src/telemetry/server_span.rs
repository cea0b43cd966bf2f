//! The span of an invocation, "S": from the event to the posted reply.
//! Attributes by <https://opentelemetry.io/docs/specs/semconv/http/http-spans/> and
//! <https://opentelemetry.io/docs/specs/semconv/faas/faas-spans/>.

use http::{Method, uri::Authority};
use lambda_runtime::Context;
use opentelemetry::{KeyValue, trace::Status};
use tracing::{Span, field::Empty, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::{current_invocation, trace};
use crate::http::{ApiError, Request, Response, Route, cut};

/// Opens it, before anything is known but the time.
pub(super) fn open() -> Span {
    info_span!(parent: None, "invocation", otel.name = Empty, otel.kind = "server")
}

/// Names it. A span's name is fixed once it has started.
pub(super) fn name(span: &Span, route: &Route, request: Option<&Request>) {
    let method = request.map(|request| known(request.method())).filter(|name| *name != "_OTHER");
    // `HTTP` stands for an unknown method, by the conventions.
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
    describe_function(span, context);
    if let Some(tenant_id) = current_invocation::tenant_id(context) {
        span.set_attribute("aws.lambda.tenant_id", tenant_id);
    }
    if let Some(header) = &context.xray_trace_id {
        span.set_attribute("cruddur.xray_header", header.clone());
    }
    let Some(request) = request else { return };
    span.set_attribute("http.request.method", known(request.method()));
    if known(request.method()) == "_OTHER" {
        span.set_attribute(
            "http.request.method_original",
            cut(request.method().as_str()).to_owned(),
        );
    }
    span.set_attribute("http.request.body.size", request.body().len() as i64);
    span.set_attribute("url.path", request.path_excerpt().to_owned());
    span.set_attribute("url.scheme", request.scheme());
    if !request.query().is_empty() {
        span.set_attribute("url.query", request.query_excerpt());
    }
    describe_connection(span, request);
}

/// The names are those of <https://opentelemetry.io/docs/specs/semconv/faas/aws-lambda/>.
fn describe_function(span: &Span, context: &Context) {
    let invoked = &context.invoked_function_arn;
    let parts: Vec<&str> = invoked.split(':').collect();
    let ["arn", _, "lambda", _, account, "function", _, ..] = parts[..] else { return };
    span.set_attribute("aws.lambda.invoked_arn", invoked.clone());
    span.set_attribute("cloud.account.id", account.to_owned());
    // An alias may point elsewhere tomorrow; the version is what ran.
    let resource = match parts[..] {
        [.., _] if parts.len() == 8 => {
            format!("{}:{}", parts[..7].join(":"), context.env_config.version)
        }
        _ => invoked.clone(),
    };
    span.set_attribute("cloud.resource_id", resource);
}

fn describe_connection(span: &Span, request: &Request) {
    if let Some((name, version)) = request.protocol().and_then(|text| text.split_once('/')) {
        span.set_attribute("network.protocol.name", cut(name).to_ascii_lowercase());
        span.set_attribute(
            "network.protocol.version",
            cut(version).trim_end_matches(".0").to_owned(),
        );
    }
    if let Some(address) = request.client_address() {
        span.set_attribute("client.address", cut(address).to_owned());
    }
    if let Some(agent) = request.header("user-agent") {
        span.set_attribute("user_agent.original", cut(agent).to_owned());
    }
    let host = request.header("host").and_then(|host| host.parse::<Authority>().ok());
    if let Some(host) = &host {
        span.set_attribute("server.address", cut(host.host()).to_owned());
    }
    let forwarded = request.header("x-forwarded-port").and_then(|port| port.parse().ok());
    if let Some(port) = forwarded.or_else(|| host?.port_u16()) {
        span.set_attribute("server.port", i64::from(port));
    }
}

/// Adds how it went.
///
/// 5xx is an error of ours: status and `exception` event. 4xx is the client's: only its code.
pub(super) fn record_outcome(span: &Span, reply: &Response, error: Option<&ApiError>) {
    span.set_attribute("http.response.status_code", i64::from(reply.status_code()));
    span.set_attribute("http.response.body.size", reply.body_bytes() as i64);
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

/// Tells the caller which trace this is, in headers that a page may read.
pub(super) fn name_trace(span: &Span, mut reply: Response) -> Response {
    let (traceparent, xray) = trace::reply_headers(span);
    for (name, value) in [("traceparent", traceparent), ("x-amzn-trace-id", xray)] {
        if let Some(value) = value {
            reply = reply.with_header(name, value);
        }
    }
    reply
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
