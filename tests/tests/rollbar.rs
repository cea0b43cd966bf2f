//! What a failure becomes at Rollbar: one item, in the trace that Honeycomb has.

mod ends;
pub(crate) mod other_language;

use cruddur_tests::rollbar::limited;
use cruddur_tests::{Answer, Builder, Event, Honeycomb, Rollbar, Sandbox, event};
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
    assert!(said("Recorded a message for Rollbar"), "{lines:#?}");
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
