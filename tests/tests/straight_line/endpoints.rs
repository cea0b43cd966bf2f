//! Each endpoint's story, told alike by the reply, the log and the spans at the far end.

#![allow(
    clippy::unwrap_used,
    reason = "these functions are tests, though their attribute is elsewhere"
)]

use cruddur::domain::UserKey;
use cruddur_tests::otlp::{Span, kind};
use cruddur_tests::{Honeycomb, Reply, Sandbox, Store, event, function_of, functions};
use serde_json::{Value, json};

use super::browser::PAGE;

/// A sample event, its business step, and what came of it: an attribute, and where the reply has the
/// same (by JSON pointer; a list's length is `#`; a number is what it must be).
const STORIES: [(&str, &str, &str, &str); 20] = [
    ("browser-traces", "browser-traces", "app.result_length", "1"),
    ("create-activity", "create-activity", "app.activity_uuid", "/uuid"),
    ("create-message", "create-message", "app.message_uuid", "/uuid"),
    ("create-message-to-group", "create-message", "app.message_group_uuid", "/message_group_uuid"),
    ("delete-activity", "delete-activity", "app.activity_uuid", "/uuid"),
    ("health-check", "health-check", "app.success", "/success"),
    ("home-activities", "home-activities", "app.result_length", "#"),
    ("like-activity", "like-activity", "app.likes_count", "/likes_count"),
    ("message-groups", "message-groups", "app.result_length", "#"),
    ("notifications-activities", "notifications-activities", "app.result_length", "#"),
    ("reply-activity", "reply-activity", "app.activity_uuid", "/uuid"),
    ("rollbar-test", "rollbar-test", "app.message", "text"),
    ("search-activities", "search-activities", "app.result_length", "#"),
    ("show-activities", "user-activities", "app.result_length", "#"),
    ("show-activities-by-id", "show-activity", "app.activity_uuid", "/0/uuid"),
    ("show-messages", "show-messages", "app.result_length", "#"),
    ("show-status", "show-status", "app.activity_uuid", "/activity/uuid"),
    ("update-profile", "update-profile", "app.user_uuid", "/uuid"),
    ("user-profile", "user-profile", "app.user_uuid", "/uuid"),
    ("user-short", "user-short", "app.user_uuid", "/uuid"),
];

#[tokio::test]
async fn every_endpoint_is_told_alike_by_reply_log_and_spans_on_sqlite() {
    let store = Store::sqlite().await;
    every_endpoint_is_told_alike(store, "sqlite").await;
}

#[tokio::test]
async fn every_endpoint_is_told_alike_by_reply_log_and_spans_on_dynamodb() {
    let store = Store::dynamodb().await;
    every_endpoint_is_told_alike(store, "aws.dynamodb").await;
}

async fn every_endpoint_is_told_alike(store: Store, engine: &str) {
    store.seed();
    for (file, step, attribute, place) in STORIES {
        let function = function_of(file);
        // Unsampled spans go no further than the extension: of those, the function's own.
        let unsampled = function == "health-check";
        let honeycomb = match unsampled {
            true => Honeycomb::without_key().await,
            false => Honeycomb::start().await,
        };
        let builder = Sandbox::builder(function).store(&store).env("FRONTEND_URL", PAGE);
        let sandbox = match unsampled {
            true => builder.without_extension().otlp_endpoint(&honeycomb.url()).start().await,
            false => builder.honeycomb(&honeycomb).start().await,
        };
        let event = event(file);

        let reply = sandbox.invoke(event.clone()).await;
        let server = honeycomb.server_span(&reply.request_id).await;

        assert_eq!(reply.status, 200, "{file}: {}", reply.body);
        let trace = honeycomb.trace(&server.trace_id);
        let told = Story { file, event: event.payload(), reply: &reply, server: &server };
        told.is_a_root_with_its_route_status_and_user(unsampled);
        told.has_a_line(&sandbox, "Hello World!").await;
        let step = told.has_the_step(&trace, step, attribute, place);
        told.has_store_calls(&trace, step, engine);
    }
}

struct Story<'a> {
    file: &'a str,
    event: &'a Value,
    reply: &'a Reply,
    server: &'a Span,
}

impl Story<'_> {
    fn is_a_root_with_its_route_status_and_user(&self, unsampled: bool) {
        let Story { file, event, reply, server } = self;
        let (method, route) = event["routeKey"].as_str().unwrap().split_once(' ').unwrap();
        assert_eq!(server.name, format!("{method} {route}"), "{file}");
        assert_eq!((server.kind, server.parent_id.as_ref()), (kind::SERVER, None), "{file}");
        assert_eq!(server.flags & 1, u32::from(!unsampled), "{file}");
        assert_eq!(Some(&server.trace_id), reply.root_trace_id().as_ref(), "{file}");
        let named = format!("00-{}-{}-0{}", server.trace_id, server.span_id, server.flags & 1);
        assert_eq!(reply.headers.get("traceparent"), Some(&named), "{file}");
        let http = &event["requestContext"]["http"];
        for (key, expected) in [
            ("http.route", json!(route)),
            ("http.request.method", json!(method)),
            ("http.response.status_code", json!(reply.status)),
            ("http.response.body.size", json!(reply.body_bytes)),
            ("url.path", event["rawPath"].clone()),
            ("client.address", http["sourceIp"].clone()),
            ("user_agent.original", http["userAgent"].clone()),
            ("faas.invocation_id", json!(reply.request_id)),
            ("cruddur.xray_header", json!(reply.trace_header)),
            ("app.user_id", self.user()),
        ] {
            assert_eq!(server.attribute(key), expected, "{file}: {key}");
        }
        assert_eq!((server.status, server.events.contains(&"exception".to_owned())), (0, false));
    }

    /// The caller's public id, by the token; `null` without one.
    fn user(&self) -> Value {
        let claims = &self.event["requestContext"]["authorizer"]["jwt"]["claims"];
        let claim = |name: &str| claims[name].as_str();
        let key = claim("iss").zip(claim("sub")).and_then(|(iss, sub)| UserKey::of_token(iss, sub));
        json!(key)
    }

    /// The line of substance, and then the access line, with the request's ids; all lines are JSON.
    async fn has_a_line(&self, sandbox: &Sandbox, message_text: &str) {
        let Story { file, event, reply, server } = self;
        let access = sandbox.function_log("duration_ms").await;
        let query = event["rawQueryString"].as_str().unwrap().replace("term=crud", "term=REDACTED");
        let path = event["rawPath"].as_str().unwrap();
        let path = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        let http = &event["requestContext"]["http"];
        for (key, expected) in [
            ("level", json!("INFO")),
            ("requestId", json!(reply.request_id)),
            ("trace_id", json!(server.trace_id)),
            ("span_id", json!(server.span_id)),
            ("client_address", http["sourceIp"].clone()),
            ("method", http["method"].clone()),
            ("scheme", json!("https")),
            ("path", json!(path)),
            ("status", json!(reply.status)),
            ("user_id", self.user()),
            ("error", Value::Null),
        ] {
            assert_eq!(access[key], expected, "{file}: {key} of {access}");
        }
        let lines: Vec<Value> = sandbox
            .function_log_lines()
            .iter()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
            .filter(|line: &Value| line["requestId"] == reply.request_id.as_str())
            .collect();
        assert_eq!(lines.len(), 2, "{file}: {lines:#?}");
        assert_eq!(lines[0]["trace_id"], server.trace_id.as_str(), "{file}");
        let body: Value =
            serde_json::from_str(event["body"].as_str().unwrap_or_default()).unwrap_or_default();
        let texts = [body["message"].as_str(), body["bio"].as_str(), Some(message_text)];
        for text in texts.into_iter().flatten() {
            let log = format!("{lines:?}");
            assert!(!log.contains(text), "{file} tells in its log what users wrote: {log}");
        }
    }

    fn has_the_step<'a>(
        &self,
        trace: &'a [Span],
        name: &str,
        attribute: &str,
        place: &str,
    ) -> &'a Span {
        let Story { file, reply, server, .. } = self;
        let step = trace.iter().find(|span| span.name == name);
        let step = step.unwrap_or_else(|| panic!("{file} has no {name}: {trace:#?}"));
        assert_eq!(step.parent_id.as_ref(), Some(&server.span_id), "{file}");
        assert_eq!(step.kind, kind::INTERNAL, "{file}");
        let expected = match place {
            "#" => json!(reply.json.as_array().unwrap().len()),
            "text" => json!(reply.body),
            "1" => json!(1),
            place => reply.json.pointer(place).unwrap().clone(),
        };
        assert_eq!(step.attribute(attribute), expected, "{file}: {attribute}");
        step
    }

    fn has_store_calls(&self, trace: &[Span], step: &Span, engine: &str) {
        let Story { file, server, .. } = self;
        let calls: Vec<&Span> = trace.iter().filter(|span| span.kind == kind::CLIENT).collect();
        let needs_no_store = ["browser-traces", "health-check", "rollbar-test"].contains(file);
        assert_eq!(calls.is_empty(), needs_no_store, "{file}: {trace:#?}");
        for call in &calls {
            assert_eq!(call.attribute("db.system.name"), engine, "{file}");
            assert!(call.attribute("db.operation.name").is_string(), "{file}");
            assert!(call.attribute("db.collection.name").is_string(), "{file}");
            let parents = [Some(&step.span_id), Some(&server.span_id)];
            assert!(parents.contains(&call.parent_id.as_ref()), "{file}: {call:#?}");
        }
        // A transaction of no writes is none to DynamoDB.
        let asked = calls.iter().filter(|call| call.attribute("app.store.requests") != 0);
        for call in asked.filter(|_| engine == "aws.dynamodb") {
            let operation = call.attribute("db.operation.name");
            let table = call.attribute("db.collection.name");
            assert_eq!(call.name, format!("DynamoDB.{}", operation.as_str().unwrap()), "{file}");
            for (key, expected) in [
                ("rpc.system", json!("aws-api")),
                ("rpc.service", json!("DynamoDB")),
                ("rpc.method", operation),
                ("aws.dynamodb.table_names", json!([table])),
                ("app.store.retries", json!(0)),
            ] {
                assert_eq!(call.attribute(key), expected, "{file}: {key} of {call:#?}");
            }
            assert!(call.attribute("aws.request_id").is_string(), "{file}: {call:#?}");
            assert!(call.attribute("server.address").is_string(), "{file}: {call:#?}");
            let consumed = call.attribute("aws.dynamodb.consumed_capacity");
            let consumed: Value = serde_json::from_str(consumed[0].as_str().unwrap()).unwrap();
            assert!(consumed["CapacityUnits"].is_number(), "{file}: {call:#?}");
        }
    }
}

#[test]
fn no_function_is_without_a_story() {
    let told: std::collections::BTreeSet<String> =
        STORIES.iter().map(|row| function_of(row.0).to_owned()).collect();

    assert_eq!(told, functions().into_iter().collect());
}

#[tokio::test]
async fn a_request_that_is_refused_is_a_warning_with_its_code_and_no_error() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = Sandbox::builder("user-short").honeycomb(&honeycomb).demo_store().start().await;
    let event = event("user-short")
        .path_parameter("handle", "nobody")
        .query("api_key", "s3cret")
        .query("page", "1");

    let reply = sandbox.invoke(event).await;
    let server = honeycomb.server_span(&reply.request_id).await;
    let line = sandbox.function_log("duration_ms").await;

    assert_eq!((reply.status, &reply.json), (404, &json!(["user_not_found"])));
    assert_eq!((server.status, server.events.len()), (0, 0));
    assert_eq!(server.attribute("http.response.status_code"), 404);
    assert_eq!(server.attribute("app.error_code"), "user_not_found");
    assert_eq!(server.attribute("error.type"), Value::Null);
    // The extension masks secrets once more.
    assert_eq!(server.attribute("url.query"), "api%5Fkey=***&page=REDACTED");
    assert_eq!((&line["level"], &line["status"]), (&json!("WARN"), &json!(404)));
    assert_eq!(line["code"], "user_not_found");
    assert_eq!(line["path"], "/api/users/nobody/short?api%5Fkey=REDACTED&page=REDACTED");
    assert_eq!(line["trace_id"], server.trace_id.as_str());
}

#[tokio::test]
async fn a_body_that_is_refused_is_not_quoted_in_the_log() {
    let sandbox =
        Sandbox::builder("create-activity").without_extension().demo_store().start().await;

    let reply = sandbox.invoke(event("create-activity").body("\"my secret diary\"")).await;
    let line = sandbox.function_log("duration_ms").await;

    assert_eq!((reply.status, &reply.json), (400, &json!(["malformed_json"])));
    assert!(line["error"].as_str().unwrap().contains("malformed"), "{line}");
    assert!(!line.to_string().contains("diary"), "{line}");
}
