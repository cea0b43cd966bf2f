//! Functions in other languages: exceptions of their spans and log records.

use cruddur_tests::http_client::{get, post};
use cruddur_tests::rollbar::POISON;
use cruddur_tests::{Event, Honeycomb, Program, Rollbar, Sandbox, otlp, raw_event};
use serde_json::{Value, json};

/// A function in another language: for each event it sends the spans of its payload, with the
/// request's id in the place of `REQUEST_ID`, and then replies.
pub(crate) fn other_language() -> Program {
    Program::task(|variables| async move {
        let base = format!("http://{}/2018-06-01/runtime", variables["AWS_LAMBDA_RUNTIME_API"]);
        let otlp = variables["OTEL_EXPORTER_OTLP_ENDPOINT"].clone();
        loop {
            let event = get(&format!("{base}/invocation/next"), &[]).await.expect("an event");
            let id = event.header("lambda-runtime-aws-request-id").expect("an id").to_owned();
            for path in ["traces", "logs"] {
                let body = event.json()[path].to_string().replace("REQUEST_ID", &id);
                if body != "null" {
                    let json = [("content-type", "application/json")];
                    let reply = post(&format!("{otlp}/v1/{path}"), &json, body).await;
                    assert_eq!(reply.expect("an answer").status, 200);
                }
            }
            let url = format!("{base}/invocation/{id}/response");
            post(&url, &[], r#"{"statusCode":200}"#).await.expect("an answer to the response");
        }
    })
}

fn attributes(given: &Value) -> Value {
    let given = given.as_object().expect("an object");
    let attribute = |(key, value): (&String, &Value)| {
        let value = match value {
            Value::Number(number) => json!({ "intValue": number }),
            text => json!({ "stringValue": text }),
        };
        json!({ "key": key, "value": value })
    };
    given.iter().map(attribute).collect()
}

const TRACE: &str = "5759e988bd862e3fe1be46a994272793";

pub(super) fn span(number: u64, kind: u64, given: &Value, events: &[(&str, Value)]) -> Value {
    let events = events.iter().map(|(name, given)| {
        json!({ "timeUnixNano": "1767225600000000000", "name": name, "attributes": attributes(given) })
    });
    json!({
        "traceId": TRACE, "spanId": format!("{number:016x}"), "name": format!("span {number}"),
        "kind": kind, "startTimeUnixNano": "1767225600000000000",
        "endTimeUnixNano": "1767225600001000000",
        "attributes": attributes(given), "events": events.collect::<Vec<_>>(),
    })
}

pub(crate) fn server(given: Value, events: &[(&str, Value)]) -> Value {
    let mut all = json!({
        "faas.invocation_id": "REQUEST_ID", "http.request.method": "POST",
        "http.route": "/items/{id}", "url.path": "/items/7", "url.scheme": "https",
    });
    all.as_object_mut().expect("an object").extend(given.as_object().expect("an object").clone());
    span(1, otlp::kind::SERVER as u64, &all, events)
}

pub(crate) fn traces(spans: Vec<Value>) -> Event {
    let resource = json!({ "attributes": attributes(&json!({
        "service.name": "shop", "telemetry.sdk.language": "python",
    })) });
    raw_event(json!({ "traces": { "resourceSpans": [{
        "resource": resource, "scopeSpans": [{ "spans": spans }],
    }] } }))
}

/// The items after these events.
async fn items_of(events: Vec<Event>) -> Vec<Value> {
    let (honeycomb, rollbar) = (Honeycomb::start().await, Rollbar::start().await);
    let builder = Sandbox::builder("shop").honeycomb(&honeycomb).rollbar(&rollbar);
    let sandbox = builder.function(other_language()).start().await;
    for event in events {
        let reply = sandbox.invoke(event).await;
        sandbox.ended(&reply.request_id).await;
    }
    sandbox.shutdown().await;
    for request in rollbar.requests() {
        let accepted = [Some(200), Some(422)].contains(&request.status);
        assert!(accepted, "{request:?}: {}", String::from_utf8_lossy(&request.body));
    }
    rollbar.items()
}

#[tokio::test]
async fn a_reply_of_5xx_without_a_word_is_an_item_and_one_of_4xx_is_none() {
    let reply =
        |status: u64| traces(vec![server(json!({ "http.response.status_code": status }), &[])]);

    let items = items_of(vec![reply(404), reply(503)]).await;

    let [item] = &items[..] else { panic!("{items:#?}") };
    assert_eq!(item["body"]["trace"]["exception"]["class"], "HTTP 503");
    assert_eq!(item["request"]["params"], json!({ "id": "7" }));
    assert_eq!((&item["language"], &item["custom"]["trace_id"]), (&json!("python"), &json!(TRACE)));
}

#[tokio::test]
async fn an_exception_that_spans_and_a_log_record_tell_of_is_one_item() {
    let stack = "Traceback (most recent call last):\n  File \"/var/task/app.py\", line 3, in f\n    g()\n  \
                 File \"/var/task/lib.py\", line 9, in g\n    raise X\nX: no";
    let thrown =
        json!({ "exception.type": "X", "exception.message": "no", "exception.stacktrace": stack });
    let event = traces(vec![
        span(2, 1, &json!({}), &[("exception", thrown.clone())]),
        server(json!({}), &[("exception", thrown.clone())]),
    ]);
    let mut payload = event.payload().clone();
    payload["logs"] = json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": [{
        "timeUnixNano": "1767225600000000000", "severityNumber": 17, "traceId": TRACE,
        "spanId": "0000000000000001", "body": { "stringValue": "no" },
        "attributes": attributes(&thrown),
    }] }] }] });

    let items = items_of(vec![raw_event(payload)]).await;

    let [item] = &items[..] else { panic!("{items:#?}") };
    let frames = &item["body"]["trace"]["frames"];
    assert_eq!(
        frames[1],
        json!({
            "filename": "/var/task/lib.py", "lineno": 9, "method": "g", "in_project": true,
        }),
        "the most recent call last: {frames}"
    );
}

#[tokio::test]
async fn nothing_that_a_function_says_breaks_an_item() {
    let huge = "é".repeat(500_000);
    let exceptions = [
        json!({}),
        json!({ "exception.type": "" }),
        json!({ "exception.message": huge }),
        json!({ "exception.type": huge, "exception.stacktrace": format!("{huge}\n at x:1:1\n").repeat(3) }),
        json!({ "exception.stacktrace": " at f (/a.js:1:1)\n".repeat(20_000) }),
        json!({ "exception.type": "\u{0}\u{7f}\n", "exception.message": "\u{202e}\"\\" }),
        json!({ "exception.type": "E", "exception.message": "GET https://x/?token=s3cret&a=1 failed" }),
    ];
    let hostile = json!({
        "url.query": "password=s3cret", "http.request.header.authorization": "s3cret",
        "http.request.header.cookie": "s3cret", "app.user_id": huge, "client.address": "s3cret",
        "http.request.body": "s3cret", "faas.version": huge, "service.version": huge,
    });
    let mut events: Vec<_> = exceptions
        .into_iter()
        .map(|exception| traces(vec![server(hostile.clone(), &[("exception", exception)])]))
        .collect();
    events.push(traces(vec![server(hostile, &[("rollbar.message", json!({ "level": "loud" }))])]));
    let count = events.len();

    let items = items_of(events).await;

    assert_eq!(items.len(), count, "{items:#?}");
    assert!(!json!(items).to_string().contains("s3cret"));
}

#[tokio::test]
async fn thousands_of_errors_in_one_invocation_are_one_item_and_of_messages_few_with_their_number()
{
    let error = json!({ "exception.type": "E", "exception.message": "no" });
    let mut spans: Vec<_> =
        (2..3_000).map(|n| span(n, 1, &json!({}), &[("exception", error.clone())])).collect();
    let message = ("rollbar.message", json!({ "level": "error", "body": "again" }));
    spans.push(server(json!({}), &vec![message; 30]));

    let items = items_of(vec![traces(spans)]).await;

    let (errors, messages): (Vec<_>, Vec<_>) =
        items.iter().partition(|item| item["body"]["trace"].is_object());
    assert_eq!(errors.len(), 1, "{items:#?}");
    assert_eq!(errors[0]["custom"]["failures"], 2_998);
    let told = |item: &&Value| item["custom"]["occurrences"].as_u64().unwrap_or(1);
    assert_eq!((messages.len(), messages.iter().map(told).sum::<u64>()), (6, 30));
}

#[tokio::test]
async fn an_item_that_rollbar_refuses_is_dropped_alone() {
    let failing = |text: &str| {
        let exception = json!({ "exception.type": text, "exception.message": "no" });
        traces(vec![server(json!({}), &[("exception", exception)])])
    };

    let items = items_of(vec![failing("A"), failing(POISON), failing("B")]).await;

    let classes: Vec<_> =
        items.iter().map(|item| &item["body"]["trace"]["exception"]["class"]).collect();
    assert_eq!(classes, ["A", "B"]);
}
