//! What a failure becomes at Rollbar: one item, in the trace that Honeycomb has.

use std::time::Duration;

use cruddur_tests::http_client::{get, post};
use cruddur_tests::rollbar::{POISON, limited};
use cruddur_tests::{
    Answer, Builder, Event, Exit, FailureKind, Honeycomb, Program, Rollbar, Sandbox, What, event,
    otlp, raw_event,
};
use serde_json::{Value, json};

fn sandbox(function: &str, honeycomb: &Honeycomb, rollbar: &Rollbar) -> Builder {
    Sandbox::builder(function).honeycomb(honeycomb).rollbar(rollbar).demo_store()
}

/// Makes a request of `home-activities` panic.
fn panicking() -> Event {
    event("home-activities").header("x-cruddur-fault", "panic")
}

/// Ends the sandbox; the only item that Rollbar has then.
async fn only_item(sandbox: &Sandbox, rollbar: &Rollbar) -> Value {
    sandbox.shutdown().await;
    let items = rollbar.items();
    let [item] = &items[..] else { panic!("{items:#?}\n{}", sandbox.story()) };
    item.clone()
}

#[tokio::test]
async fn a_message_is_a_warning_in_the_trace_of_its_request_before_the_next_one() {
    let (honeycomb, rollbar) = (Honeycomb::start().await, Rollbar::start().await);
    let sandbox = sandbox("rollbar-test", &honeycomb, &rollbar).start().await;

    let reply = sandbox.invoke(event("rollbar-test")).await;
    sandbox.ended(&reply.request_id).await;

    let before_next = rollbar.items_reach(1).await;
    let item = only_item(&sandbox, &rollbar).await;
    let server = honeycomb.server_span(&reply.request_id).await;
    assert_eq!((reply.status, before_next.len()), (200, 1));
    assert_eq!(item["body"]["message"]["body"], "Hello World!");
    assert_eq!((&item["level"], &item["environment"]), (&json!("warning"), &json!("production")));
    assert_eq!(item["context"], "/rollbar/test");
    assert_eq!(item["custom"]["trace_id"], server.trace_id.as_str());
    assert_eq!(item["custom"]["request_id"], reply.request_id.as_str());
    let lines = item["body"]["telemetry"].as_array().expect("lines");
    let said = |text: &str| lines.iter().any(|line| line["body"]["message"] == text);
    assert!(said("Sent a message to Rollbar"), "{lines:#?}");
}

#[tokio::test]
async fn a_panicking_request_is_one_item_with_its_frames_its_request_and_its_trace() {
    let (honeycomb, rollbar) = (Honeycomb::start().await, Rollbar::start().await);
    let url = "https://ui.honeycomb.io/t/environments/e/trace?trace_id={trace_id}";
    let builder = sandbox("home-activities", &honeycomb, &rollbar);
    let sandbox = builder.env("CRUDDUR_TRACE_URL", url).start().await;

    let failed = sandbox.invoke(panicking().query("access_token", "s3cret")).await;
    let next = sandbox.invoke(event("home-activities")).await;
    let item = only_item(&sandbox, &rollbar).await;

    assert_eq!((failed.status, next.status), (500, 200));
    let server = honeycomb.server_span(&failed.request_id).await;
    let custom = &item["custom"];
    assert_eq!(custom["trace_id"], server.trace_id.as_str());
    assert_eq!(custom["span_id"], server.span_id.as_str());
    assert_eq!(custom["trace_url"], url.replace("{trace_id}", &server.trace_id));
    let xray = custom["xray_trace_id"].as_str().expect("X-Ray's id");
    assert_eq!(Some(xray.replace('-', "")[1..].to_owned()), failed.root_trace_id());
    assert!(custom["xray_url"].as_str().expect("a link").ends_with(xray), "{custom}");
    assert_eq!(custom["cold_start"], true);
    assert!(custom["remaining_ms"].as_i64().expect("milliseconds") > 0, "{custom}");

    assert_eq!((&item["level"], &item["language"]), (&json!("error"), &json!("rust")));
    let trace = &item["body"]["trace"];
    assert_eq!(trace["exception"]["class"], "Panic");
    assert_eq!(
        trace["exception"]["message"],
        server.event_attribute("exception", "exception.message")
    );
    let frames = trace["frames"].as_array().expect("frames");
    let ours = |frame: &&Value| frame["in_project"] == true;
    let innermost = frames.iter().rfind(ours).expect("one of ours");
    assert!(
        innermost["filename"].as_str().expect("a file").contains("functions/src"),
        "{innermost}"
    );
    assert!(innermost["lineno"].is_u64() && innermost["method"].is_string(), "{innermost}");

    assert_eq!(item["context"], "/api/activities/home");
    let request = &item["request"];
    assert_eq!(request["method"], "GET");
    let asked = request["url"].as_str().expect("a URL");
    assert!(asked.contains("/api/activities/home?"), "{asked}");
    assert!(!item.to_string().contains("s3cret"), "{item:#}");
    let lines = item["body"]["telemetry"].as_array().expect("lines");
    assert!(lines.iter().any(|line| line["level"] == "error"), "{lines:#?}");
    for path in ["/server/host", "/request/user_ip"] {
        assert!(item.pointer(path).is_some_and(Value::is_string), "{path}: {item:#}");
    }
    for path in ["/code_version", "/server/code_version", "/notifier/version"] {
        let version = item.pointer(path);
        assert_eq!(version, Some(&json!(env!("CARGO_PKG_VERSION"))), "{path}: {item:#}");
    }
}

#[tokio::test]
async fn a_timeout_is_one_item_in_the_trace_of_the_root_that_the_extension_made() {
    let (honeycomb, rollbar) = (Honeycomb::start().await, Rollbar::start().await);
    let builder = sandbox("home-activities", &honeycomb, &rollbar).freezing(false);
    let sandbox = builder.function_timeout(Duration::from_secs(2)).start().await;

    sandbox.stall_function();
    let error = sandbox.try_invoke(event("home-activities")).await.expect_err("a timeout");
    let next = sandbox.invoke(event("home-activities")).await;
    let item = only_item(&sandbox, &rollbar).await;

    assert_eq!((error.kind, next.status), (FailureKind::Timeout, 200));
    assert_is_of_the_platform(&item, "Timeout", &honeycomb).await;
}

#[tokio::test]
async fn a_killed_function_is_one_item_in_the_trace_of_the_root_that_the_extension_made() {
    let (honeycomb, rollbar) = (Honeycomb::start().await, Rollbar::start().await);
    let builder = sandbox("home-activities", &honeycomb, &rollbar).freezing(false);
    let sandbox = builder.start().await;

    sandbox.stall_function();
    let failing = sandbox.try_invoke(event("home-activities"));
    let killing = async {
        let begun = |what: &What| matches!(what, What::InvokeStarted { .. });
        sandbox.happens("an invocation", begun).await;
        sandbox.kill_function(); // as the kernel does when memory runs out
    };
    let (outcome, ()) = tokio::join!(failing, killing);
    let next = sandbox.invoke(event("home-activities")).await;
    let item = only_item(&sandbox, &rollbar).await;

    assert_eq!(outcome.expect_err("a crash").kind, FailureKind::RuntimeExit);
    assert_eq!(next.status, 200);
    assert_is_of_the_platform(&item, "Runtime.ExitError", &honeycomb).await;
}

async fn assert_is_of_the_platform(item: &Value, class: &str, honeycomb: &Honeycomb) {
    assert_eq!(item["level"], "critical");
    assert_eq!(item["body"]["trace"]["exception"]["class"], class);
    let id = item["custom"]["request_id"].as_str().expect("a request id");
    let root = honeycomb.server_span(id).await;
    assert_eq!(item["custom"]["trace_id"], root.trace_id.as_str());
    assert_eq!(root.status, otlp::STATUS_ERROR);
}

#[tokio::test]
async fn what_rollbar_did_not_take_at_first_comes_once_and_as_the_same_item() {
    let (honeycomb, rollbar) = (Honeycomb::start().await, Rollbar::start().await);
    let sandbox = sandbox("home-activities", &honeycomb, &rollbar).start().await;
    rollbar.next_answer(Answer::Reset);

    let failed = sandbox.invoke(panicking()).await;
    sandbox.ended(&failed.request_id).await;
    rollbar.requests_reach(1).await;
    sandbox.invoke(event("home-activities")).await;
    let item = only_item(&sandbox, &rollbar).await;

    let server = honeycomb.server_span(&failed.request_id).await;
    assert_eq!(item["custom"]["trace_id"], server.trace_id.as_str());
    let requests = rollbar.requests();
    assert_eq!(requests[0].status, None);
    let uuid = |body: &[u8]| {
        serde_json::from_slice::<Value>(body).map(|item| item["data"]["uuid"].clone()).ok()
    };
    let all: Vec<_> = requests.iter().filter_map(|request| uuid(&request.body)).collect();
    assert!(all.iter().all(|id| *id == item["uuid"]), "{all:?}");
}

#[tokio::test]
async fn replies_decide_what_becomes_of_an_item() {
    let (honeycomb, rollbar) = (Honeycomb::start().await, Rollbar::start().await);
    let builder = sandbox("home-activities", &honeycomb, &rollbar);
    let sandbox = builder.start().await;
    rollbar.next_answer(Answer::status(413));

    let failed = sandbox.invoke(panicking()).await;
    sandbox.ended(&failed.request_id).await;
    let item = only_item(&sandbox, &rollbar).await;

    let requests = rollbar.requests();
    assert_eq!(requests.len(), 2, "{requests:#?}");
    assert!(requests[1].body.len() < requests[0].body.len());
    let trimmed = item["custom"]["trimmed"].as_array().expect("what was left out");
    assert!(trimmed.contains(&json!("frames")), "{trimmed:?}");
    assert_eq!(item["body"]["trace"]["exception"]["class"], "Panic");
}

#[tokio::test]
async fn a_wrong_token_is_said_once_and_costs_nobody_anything() {
    let (honeycomb, rollbar) = (Honeycomb::start().await, Rollbar::start().await);
    let builder = sandbox("home-activities", &honeycomb, &rollbar);
    let sandbox = builder.env("ROLLBAR_ACCESS_TOKEN", "no-token-of-theirs").start().await;

    for _ in 0..3 {
        let failed = sandbox.invoke(panicking()).await;
        sandbox.ended(&failed.request_id).await;
        honeycomb.server_span(&failed.request_id).await;
    }
    sandbox.shutdown().await;

    assert!(rollbar.items().is_empty());
    assert!(rollbar.requests().iter().all(|request| request.status == Some(403)));
    assert!(rollbar.requests().len() < 3, "it rests: {:#?}", rollbar.requests());
    let told = sandbox.extension_log_lines();
    let told: Vec<_> = told.iter().filter(|line| line.contains("ROLLBAR_ACCESS_TOKEN")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
}

#[tokio::test]
async fn a_limit_is_waited_for() {
    let (honeycomb, rollbar) = (Honeycomb::start().await, Rollbar::start().await);
    let sandbox = sandbox("home-activities", &honeycomb, &rollbar).start().await;
    rollbar.always(limited(60));

    let failed = sandbox.invoke(panicking()).await;
    sandbox.ended(&failed.request_id).await;
    rollbar.requests_reach(1).await;
    let next = sandbox.invoke(panicking()).await;
    sandbox.ended(&next.request_id).await;
    assert_eq!(rollbar.requests().len(), 1, "it is left alone");
    rollbar.always(Answer::Proper);
    sandbox.shutdown().await; // everybody is tried once more

    assert_eq!(rollbar.items().len(), 2, "{}", sandbox.story());
}

/// A function in another language: for each event it sends the spans of its payload, with the
/// request's id in the place of `REQUEST_ID`, and then replies.
fn other_language() -> Program {
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

fn span(number: u64, kind: u64, given: &Value, events: &[(&str, Value)]) -> Value {
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

fn server(given: Value, events: &[(&str, Value)]) -> Value {
    let mut all = json!({
        "faas.invocation_id": "REQUEST_ID", "http.request.method": "POST",
        "http.route": "/items/{id}", "url.path": "/items/7", "url.scheme": "https",
    });
    all.as_object_mut().expect("an object").extend(given.as_object().expect("an object").clone());
    span(1, otlp::kind::SERVER as u64, &all, events)
}

fn traces(spans: Vec<Value>) -> Event {
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

#[tokio::test]
async fn a_failure_that_a_kill_takes_before_it_is_told_is_counted() {
    let (honeycomb, rollbar) = (Honeycomb::start().await, Rollbar::start().await);
    let builder = Sandbox::builder("shop").honeycomb(&honeycomb).rollbar(&rollbar);
    let builder = builder.function(other_language()).env("CRUDDUR_LOG", "info").freezing(false);
    let sandbox = builder.start().await;
    let nothing = || raw_event(json!({}));
    let reply = sandbox.invoke(nothing()).await;
    sandbox.ended(&reply.request_id).await;

    let exception = json!({ "exception.type": "X", "exception.message": "no" });
    let failed = traces(vec![span(2, 1, &json!({}), &[("exception", exception)])]);
    let url = format!("{}/v1/traces", sandbox.otlp_url());
    let body = failed.payload()["traces"].to_string();
    let taken = post(&url, &[("content-type", "application/json")], body).await;
    sandbox.kill_extension();
    let killed = |what: &What| matches!(what, What::Exited(_, Exit::Signal(9)));
    sandbox.happens("the kill", killed).await;
    sandbox.try_invoke(nothing()).await.expect_err("a crash");
    sandbox.invoke(nothing()).await;
    sandbox.shutdown().await;

    assert_eq!(taken.expect("an answer").status, 200);
    let lines = sandbox.extension_log_lines();
    let summary = lines.iter().filter_map(|line| line.split_once("Summary: ")).next_back();
    let summary: Value = serde_json::from_str(summary.expect("a summary").1).expect("JSON");
    let failures = &summary["destinations"]["rollbar"]["failures"];
    assert_eq!(failures["dropped"], json!({ "killed": 1 }), "{}", sandbox.story());
}
