//! Filters: which spans, attributes and levels arrive where, and what the sums say.

use cruddur_tests::http_client::{get, post};
use cruddur_tests::otlp::{STATUS_ERROR, Span, kind};
use cruddur_tests::{Builder, Event, Honeycomb, Program, Reply, Sandbox, raw_event};
use serde_json::{Value, json};

/// A function that replies, then posts a child span and the SERVER span of its event's route.
fn function() -> Program {
    Program::task(|variables| async move {
        let base = format!("http://{}/2018-06-01/runtime", variables["AWS_LAMBDA_RUNTIME_API"]);
        let url = format!("{}/v1/traces", variables["OTEL_EXPORTER_OTLP_ENDPOINT"]);
        let json = [("content-type", "application/json")];
        loop {
            let event = get(&format!("{base}/invocation/next"), &[]).await.expect("an event");
            let id = event.header("lambda-runtime-aws-request-id").expect("an id").to_owned();
            let reply = format!("{base}/invocation/{id}/response");
            post(&reply, &[], r#"{"statusCode":200}"#).await.expect("an answer");
            post(&url, &json, request(&event.json(), &id)).await.expect("an answer");
        }
    })
}

fn request(event: &Value, request_id: &str) -> String {
    let trace = uuid::Uuid::new_v4().simple().to_string();
    let text = |key: &str, value: &str| json!({ "key": key, "value": { "stringValue": value } });
    let [method, route] = ["method", "route"].map(|key| event[key].as_str().expect("a text"));
    let span = |number: u64, name: &str, kind: i32, attributes: Value| {
        json!({
            "traceId": trace, "spanId": format!("{number:016x}"), "name": name, "kind": kind,
            "startTimeUnixNano": "1767225600000000000", "endTimeUnixNano": "1767225600001000000",
            "attributes": attributes,
        })
    };
    let mut child = span(2, "cache.get", kind::INTERNAL, json!([text("db.query.text", "x")]));
    child["parentSpanId"] = json!(format!("{:016x}", 1));
    if event["fails"] == true {
        child["status"] = json!({ "code": STATUS_ERROR });
    }
    let attributes = json!([
        text("http.request.method", method),
        text("http.route", route),
        text("enduser.id", "someone"),
        text("faas.invocation_id", request_id),
        text("cruddur.xray_header", ""), // no span follows it
    ]);
    let server = span(1, &format!("{method} {route}"), kind::SERVER, attributes);
    json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [child, server] }] }] }).to_string()
}

fn event(method: &str, route: &str, fails: bool) -> Event {
    raw_event(json!({ "method": method, "route": route, "fails": fails }))
}

fn sandbox(honeycomb: &Honeycomb) -> Builder {
    Sandbox::builder("shop").honeycomb(honeycomb).function(function()).env("CRUDDUR_LOG", "info")
}

async fn invoke(sandbox: &Sandbox, event: Event) -> Reply {
    let reply = sandbox.invoke(event).await;
    sandbox.ended(&reply.request_id).await;
    reply
}

/// The account of spans in the extension's last summary.
fn account(sandbox: &Sandbox, destination: &str) -> Value {
    let lines = sandbox.extension_log_lines();
    let summary = lines.iter().rev().find_map(|line| line.split_once("ummary: "));
    let (_, json) = summary.unwrap_or_else(|| panic!("no summary\n{}", sandbox.story()));
    let summary: Value = serde_json::from_str(json).expect("JSON");
    summary["destinations"][destination]["traces"].clone()
}

/// The names of the spans that arrived, those of the platform included.
fn names(honeycomb: &Honeycomb) -> Vec<String> {
    let mut names: Vec<_> = honeycomb.spans().into_iter().map(|span| span.name).collect();
    names.sort();
    names
}

#[tokio::test]
async fn honeycomb_gets_no_health_check_and_no_preflight_unless_it_fails_and_another_backend_does()
{
    let (honeycomb, backend) = (Honeycomb::start().await, Honeycomb::without_key().await);
    let sandbox = sandbox(&honeycomb).env("CRUDDUR_OTLP_ENDPOINT", &backend.url()).start().await;

    invoke(&sandbox, event("GET", "/home", false)).await;
    invoke(&sandbox, event("GET", "/api/health", false)).await;
    invoke(&sandbox, event("OPTIONS", "/home", false)).await;
    invoke(&sandbox, event("GET", "/healthz", true)).await;
    sandbox.shutdown().await;

    let of_function = |names: Vec<String>| {
        let wanted = |name: &String| name.contains('/') || name == "cache.get";
        names.into_iter().filter(wanted).collect::<Vec<_>>()
    };
    let story = sandbox.story();
    let at_honeycomb = of_function(names(&honeycomb));
    assert_eq!(at_honeycomb, ["GET /healthz", "GET /home", "cache.get", "cache.get"], "{story}");
    let all = ["GET /api/health", "GET /healthz", "GET /home", "OPTIONS /home"];
    assert_eq!(of_function(names(&backend))[..4], all, "{story}");
    // Of both invocations the two spans above, and the platform's below them.
    let filtered = account(&sandbox, "honeycomb")["dropped"]["filtered"].as_u64().unwrap_or(0);
    assert_eq!(backend.spans().len() as u64, honeycomb.spans().len() as u64 + filtered, "{story}");
    assert!(filtered >= 4, "{story}");
    let parents: Vec<_> = honeycomb.spans().into_iter().filter_map(|span| span.parent_id).collect();
    let ids: Vec<_> = honeycomb.spans().into_iter().map(|span| span.span_id).collect();
    assert!(parents.iter().all(|parent| ids.contains(parent)), "an orphan\n{story}");
}

#[tokio::test]
async fn spans_and_attributes_that_are_dropped_arrive_nowhere_and_are_counted() {
    let (honeycomb, backend) = (Honeycomb::start().await, Honeycomb::without_key().await);
    let sandbox = sandbox(&honeycomb)
        .env("CRUDDUR_OTLP_ENDPOINT", &backend.url())
        .env("CRUDDUR_DROP_SPANS", "cache.*")
        .env("CRUDDUR_DROP_ATTRIBUTES", "db.*,http.request.*")
        .env("CRUDDUR_MASK_ATTRIBUTES", "enduser.id")
        .start()
        .await;

    let reply = invoke(&sandbox, event("GET", "/home", false)).await;
    invoke(&sandbox, event("GET", "/home", true)).await;
    sandbox.shutdown().await;

    for destination in [&honeycomb, &backend] {
        let server = destination.server_span(&reply.request_id).await;
        let text = |key: &str| server.attribute(key);
        assert_eq!(
            [text("http.request.method"), text("http.route")],
            [Value::Null, json!("/home")]
        );
        assert_eq!(text("enduser.id"), "***");
        let children: Vec<Span> =
            destination.spans().into_iter().filter(|span| span.name == "cache.get").collect();
        let [failed] = &children[..] else { panic!("{children:?}\n{}", sandbox.story()) };
        assert_eq!((failed.status, failed.attribute("db.query.text")), (STATUS_ERROR, Value::Null));
    }
    for destination in ["honeycomb", "otlp"] {
        let account = account(&sandbox, destination);
        assert_eq!(account["dropped"], json!({"filtered": 1}), "{destination}: {account}");
    }
}

#[tokio::test]
async fn a_broken_filter_is_one_line_and_everything_arrives() {
    let honeycomb = Honeycomb::start().await;
    let builder = sandbox(&honeycomb).env("CRUDDUR_DROP_SPANS", "/home,^/.*$");
    let sandbox = builder.env("CRUDDUR_LOG", "warn").start().await;

    let reply = invoke(&sandbox, event("GET", "/home", false)).await;
    sandbox.shutdown().await;

    honeycomb.server_span(&reply.request_id).await;
    let lines = sandbox.extension_log_lines();
    let [line] = &lines[..] else { panic!("not one line: {lines:#?}") };
    assert!(line.contains("CRUDDUR_DROP_SPANS is ignored: entry 2"), "{line}");
}
