//! Removes from a page's spans everything but known attributes, and bounds the rest.
//!
//! Any client can send such spans. Unknown names would make columns at Honeycomb without end, and
//! names such as `app.user_id` and `http.route` would pass for a function's own.

use opentelemetry_proto::tonic::{
    common::v1::{InstrumentationScope, KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind},
};

use crate::http::{cut, masked_query};

/// Attributes of spans and of their events: those of OpenTelemetry's instrumentation for pages.
/// <https://opentelemetry.io/docs/languages/js/getting-started/browser/>
const OF_SPANS: [&str; 40] = [
    "browser.language",
    "browser.platform",
    "component",
    "error.type",
    "event_type",
    "exception.message",
    "exception.stacktrace",
    "exception.type",
    "http.host",
    "http.method",
    "http.request.body.size",
    "http.request.method",
    "http.request_content_length",
    "http.request_content_length_uncompressed",
    "http.response.body.size",
    "http.response.status_code",
    "http.response_content_length",
    "http.response_content_length_uncompressed",
    "http.scheme",
    "http.status_code",
    "http.status_text",
    "http.target",
    "http.url",
    "http.user_agent",
    "network.protocol.name",
    "network.protocol.version",
    "page.route",
    "page.url",
    "screen.height",
    "screen.width",
    "server.address",
    "server.port",
    "session.id",
    "target_element",
    "target_xpath",
    "url.full",
    "url.path",
    "url.query",
    "url.scheme",
    "user_agent.original",
];

/// Attributes of the resource.
const OF_RESOURCES: [&str; 14] = [
    "browser.brands",
    "browser.language",
    "browser.mobile",
    "browser.platform",
    "deployment.environment",
    "deployment.environment.name",
    "service.version",
    "session.id",
    "telemetry.distro.name",
    "telemetry.distro.version",
    "telemetry.sdk.language",
    "telemetry.sdk.name",
    "telemetry.sdk.version",
    "user_agent.original",
];

/// Most events of a span. The instrumentation of a page load makes some twenty.
const MAX_EVENTS: usize = 32;

/// Longest `tracestate`, in bytes: <https://www.w3.org/TR/trace-context/#tracestate-limits>
const MAX_TRACESTATE_BYTES: usize = 512;

/// Removes the parts by which a function signals to the extension, links, and unknown attributes.
pub(super) fn clean_span(span: &mut Span) {
    if span.kind == SpanKind::Server as i32 {
        span.kind = SpanKind::Internal as i32;
    }
    shorten(&mut span.name);
    span.links.clear();
    if span.trace_state.len() > MAX_TRACESTATE_BYTES {
        span.trace_state.clear();
    }
    if let Some(status) = &mut span.status {
        shorten(&mut status.message);
    }
    clean_attributes(&mut span.attributes, &OF_SPANS);
    span.events.retain(|event| event.name != "rollbar.message");
    span.events.truncate(MAX_EVENTS);
    for event in &mut span.events {
        shorten(&mut event.name);
        clean_attributes(&mut event.attributes, &OF_SPANS);
    }
}

/// Keeps known attributes of a resource.
pub(super) fn clean_resource(attributes: &mut Vec<KeyValue>) {
    clean_attributes(attributes, &OF_RESOURCES);
}

/// Keeps the name and the version of the instrumentation.
pub(super) fn clean_scope(scope: &mut InstrumentationScope) {
    shorten(&mut scope.name);
    shorten(&mut scope.version);
    scope.attributes.clear();
}

fn clean_attributes(attributes: &mut Vec<KeyValue>, known: &[&str]) {
    let mut seen = Vec::new();
    attributes.retain_mut(|KeyValue { key, value, .. }| {
        let Some(known) = known.iter().find(|known| *known == key) else { return false };
        let is_new = !seen.contains(known);
        seen.push(known);
        is_new
            && value
                .as_mut()
                .and_then(|value| value.value.as_mut())
                .is_none_or(|value| clean_value(key, value))
    });
}

/// Cuts a text, and masks the query of a URL. `false` for values of values.
fn clean_value(key: &str, value: &mut Value) -> bool {
    match value {
        Value::StringValue(text) => {
            match key {
                "http.url" | "http.target" | "page.url" | "url.full" => mask_query(text),
                "url.query" => *text = masked_query(text),
                _ => {}
            }
            shorten(text);
            true
        }
        Value::ArrayValue(array) => {
            array.values.truncate(MAX_EVENTS);
            array.values.retain_mut(|value| match &mut value.value {
                Some(Value::StringValue(text)) => {
                    shorten(text);
                    true
                }
                _ => false,
            });
            true
        }
        Value::BoolValue(_) | Value::IntValue(_) | Value::DoubleValue(_) => true,
        _ => false,
    }
}

fn mask_query(url: &mut String) {
    let without_fragment = url.split('#').next().unwrap_or_default();
    *url = match without_fragment.split_once('?') {
        Some((path, query)) => format!("{}?{}", cut(path), masked_query(query)),
        None => without_fragment.to_owned(),
    };
}

fn shorten(text: &mut String) {
    text.truncate(cut(text).len());
}
