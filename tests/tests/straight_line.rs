//! One request, one trace: reply, log line and what Honeycomb decoded agree.

mod browser;
mod endpoints;
pub(crate) mod everywhere;
mod failures;
mod headers;
mod private;

use cruddur_tests::event::root_trace_id;
use cruddur_tests::otlp::{Span, kind};
use cruddur_tests::{Honeycomb, Reply, Sandbox, event};
use jiff::Timestamp;
use serde_json::{Value, json};

/// The example of <https://www.w3.org/TR/trace-context/>.
const CALLER_TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER_SPAN: &str = "b7ad6b7169203331";

async fn start(honeycomb: &Honeycomb) -> Sandbox {
    Sandbox::builder("home-activities").honeycomb(honeycomb).demo_store().start().await
}

#[tokio::test]
async fn a_request_without_a_caller_is_a_trace_of_its_own_named_by_lambdas_root() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = start(&honeycomb).await;

    let reply = sandbox.invoke(event("home-activities")).await;
    let server = honeycomb.server_span(&reply.request_id).await;

    assert_is_the_demo_feed(&reply);
    assert_eq!(Some(&server.trace_id), reply.root_trace_id().as_ref());
    assert_eq!(server.parent_id, None, "X-Ray's Parent is no parent in OpenTelemetry");
    assert_describes_the_request(&server, &reply);
    assert_has_its_store_span(&honeycomb, &server);
    assert_is_told_in_the_log(&sandbox, &honeycomb, &reply, &server).await;
}

#[tokio::test]
async fn a_request_with_a_callers_traceparent_continues_that_trace() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = start(&honeycomb).await;
    let traceparent = format!("00-{CALLER_TRACE}-{CALLER_SPAN}-00");

    let reply = sandbox.invoke(event("home-activities").header("traceparent", &traceparent)).await;
    let server = honeycomb.server_span(&reply.request_id).await;

    assert_is_the_demo_feed(&reply);
    assert_eq!(server.trace_id, CALLER_TRACE);
    assert_eq!(server.parent_id.as_deref(), Some(CALLER_SPAN));
    assert_eq!(server.flags & 1, 1, "sampled by the function itself");
    assert_describes_the_request(&server, &reply);
    assert_has_its_store_span(&honeycomb, &server);
    assert_is_told_in_the_log(&sandbox, &honeycomb, &reply, &server).await;
}

#[tokio::test]
async fn a_malformed_traceparent_counts_as_none() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = start(&honeycomb).await;
    let zeros = "0".repeat(32);
    let malformed = [
        String::new(),
        "garbage".to_owned(),
        format!("00-{zeros}-{CALLER_SPAN}-01"),
        format!("00-{CALLER_TRACE}-{}-01", &zeros[..16]),
        format!("ff-{CALLER_TRACE}-{CALLER_SPAN}-01"),
        format!("00-{CALLER_TRACE}-{CALLER_SPAN}"),
        format!("00-{}-{CALLER_SPAN}-01", CALLER_TRACE.to_uppercase()),
    ];

    for traceparent in malformed {
        let event = event("home-activities").header("traceparent", &traceparent);
        let reply = sandbox.invoke(event).await;
        let server = honeycomb.server_span(&reply.request_id).await;

        assert_is_the_demo_feed(&reply);
        assert_eq!(Some(server.trace_id), reply.root_trace_id(), "{traceparent:?}");
        assert_eq!(server.parent_id, None, "{traceparent:?}");
    }
}

#[tokio::test]
async fn a_request_with_no_usable_trace_header_gets_a_trace_id_that_begins_with_the_time() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = start(&honeycomb).await;
    let events = [
        event("home-activities").without_trace_header(),
        event("home-activities").trace_header("Root=1-zzzz;Sampled=1"),
    ];

    for event in events {
        let reply = sandbox.invoke(event).await;
        let server = honeycomb.server_span(&reply.request_id).await;

        assert_is_the_demo_feed(&reply);
        let seconds = i64::from_str_radix(&server.trace_id[..8], 16).expect("hex digits");
        let age = Timestamp::now().as_second() - seconds;
        assert!((0..60).contains(&age), "{} is {age} s old", server.trace_id);
        assert_eq!(server.parent_id, None);
    }
}

#[tokio::test]
async fn only_the_first_invocation_of_a_process_is_a_cold_start() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = start(&honeycomb).await;

    let first = sandbox.invoke(event("home-activities")).await;
    let second = sandbox.invoke(event("home-activities")).await;

    let first = honeycomb.server_span(&first.request_id).await;
    let second = honeycomb.server_span(&second.request_id).await;
    assert_eq!(first.attribute("faas.coldstart"), true);
    assert_eq!(second.attribute("faas.coldstart"), false);
    assert_ne!(first.trace_id, second.trace_id);
}

#[tokio::test]
async fn spans_reach_honeycomb_compressed_with_the_key_and_as_protobuf() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = start(&honeycomb).await;

    let reply = sandbox.invoke(event("home-activities")).await;
    honeycomb.server_span(&reply.request_id).await;

    let request = &honeycomb.requests()[0];
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/v1/traces"));
    assert_eq!(request.header("x-honeycomb-team"), Some(honeycomb.key()));
    assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
    let encoding = request.header("content-encoding");
    assert!(matches!(encoding, Some("gzip" | "zstd")), "{encoding:?}");
}

#[tokio::test]
async fn spans_of_function_and_extension_name_the_version_that_made_them() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = start(&honeycomb).await;

    let reply = sandbox.invoke(event("home-activities")).await;
    sandbox.shutdown().await;
    let server = honeycomb.server_span(&reply.request_id).await;
    let init = honeycomb.span("init").await;

    for span in [server, init] {
        assert_eq!(span.resource("telemetry.distro.name"), "cruddur-telemetry", "{span:#?}");
        assert_eq!(span.resource("telemetry.distro.version"), env!("CARGO_PKG_VERSION"));
    }
}

/// An array of activities, some of them with replies.
fn assert_is_the_demo_feed(reply: &Reply) {
    assert_eq!(reply.status, 200, "{}", reply.body);
    let activities = reply.json.as_array().expect("an array");
    let text =
        |activity: &Value, key: &str| activity[key].as_str().is_some_and(|text| !text.is_empty());
    let whole =
        |activity: &Value| ["uuid", "handle", "message"].iter().all(|key| text(activity, key));
    assert!(!activities.is_empty() && activities.iter().all(whole), "{}", reply.body);
    let replies = activities.iter().filter_map(|activity| activity["replies"].as_array()).flatten();
    assert!(replies.clone().count() > 0 && replies.clone().all(whole), "{}", reply.body);
}

/// Names and attributes of the server span: conventions of OpenTelemetry, and our own.
fn assert_describes_the_request(server: &Span, reply: &Reply) {
    assert_eq!(server.name, "GET /api/activities/home");
    assert_eq!(server.kind, kind::SERVER);
    let expected = [
        ("http.route", json!("/api/activities/home")),
        ("http.request.method", json!("GET")),
        ("http.response.status_code", json!(200)),
        ("faas.invocation_id", json!(reply.request_id)),
        ("faas.coldstart", json!(true)),
        ("app.name", json!("cruddur")),
        ("cruddur.xray_header", json!(reply.trace_header)),
    ];
    for (key, value) in expected {
        assert_eq!(server.attribute(key), value, "{key}");
    }
    assert_eq!(server.resource("service.name"), "home-activities");
}

/// The function's tree: the server span, in it the business step, in that the store's spans.
fn assert_has_its_store_span(honeycomb: &Honeycomb, server: &Span) {
    let trace = honeycomb.trace(&server.trace_id);
    let children = |parent: &Span| -> Vec<&Span> {
        // The extension adds what only the platform knows, such as `init`, which begins earlier.
        let own = trace.iter().filter(|span| !PLATFORMS.contains(&span.name.as_str()));
        own.filter(|span| span.parent_id.as_ref() == Some(&parent.span_id)).collect()
    };
    let [step] = children(server)[..] else { panic!("not one business step: {trace:#?}") };
    assert_eq!(step.name, "home-activities");
    let store = children(step);
    assert!(!store.is_empty(), "{trace:#?}");
    for span in &store {
        assert_eq!((span.kind, span.attribute("db.system.name")), (kind::CLIENT, json!("sqlite")));
        assert!(children(span).is_empty(), "{trace:#?}");
    }
    for (outer, inner) in std::iter::once((server, step)).chain(store.iter().map(|it| (step, *it)))
    {
        let ((from, to), (start, end)) = (outer.times, inner.times);
        assert!(from <= start && start <= end && end <= to, "{trace:#?}");
    }
}

/// Spans of the extension.
const PLATFORMS: [&str; 4] = ["init", "restore", "runtimeOverhead", "platform.report"];

/// The line of substance carries the ids of the request, and of a span that Honeycomb has.
async fn assert_is_told_in_the_log(
    sandbox: &Sandbox,
    honeycomb: &Honeycomb,
    reply: &Reply,
    server: &Span,
) {
    let line = sandbox.function_log(&reply.request_id).await;
    assert_eq!(line["requestId"], reply.request_id.as_str());
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["service"], "home-activities");
    assert!(line["message"].as_str().is_some_and(|text| !text.is_empty()), "{line}");
    let time: Timestamp = line["timestamp"].as_str().expect("a time").parse().expect("RFC 3339");
    assert!(time.duration_until(Timestamp::now()).as_secs() < 60, "{line}");
    assert_eq!(line["trace_id"], server.trace_id.as_str());
    let trace = honeycomb.trace(&server.trace_id);
    assert!(trace.iter().any(|span| line["span_id"] == span.span_id.as_str()), "{line}");
    let xray = line["xray_trace_id"].as_str().expect("X-Ray's id");
    assert_eq!(root_trace_id(&format!("Root={xray}")), reply.root_trace_id());
}
