//! Sampling for Honeycomb: what arrives there, with which rate, and what the sums say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cruddur_tests::http_client::{get, post};
use cruddur_tests::otlp::{STATUS_ERROR, Span, kind};
use cruddur_tests::{Builder, Event, Honeycomb, Program, Rollbar, Sandbox, eventually, raw_event};
use serde_json::{Value, json};
use tokio::sync::Notify;

/// A function that posts a child span, then replies, then posts its server span with the status of its
/// event. It waits for `goes_on` in between, if the event asks for that.
fn function(goes_on: &Arc<Notify>) -> Program {
    let goes_on = Arc::clone(goes_on);
    Program::task(move |variables| {
        let goes_on = Arc::clone(&goes_on);
        async move {
            let base = format!("http://{}/2018-06-01/runtime", variables["AWS_LAMBDA_RUNTIME_API"]);
            let url = format!("{}/v1/traces", variables["OTEL_EXPORTER_OTLP_ENDPOINT"]);
            let json = [("content-type", "application/json")];
            loop {
                let event = get(&format!("{base}/invocation/next"), &[]).await.expect("an event");
                let id = event.header("lambda-runtime-aws-request-id").expect("an id").to_owned();
                let event = event.json();
                post(&url, &json, child(&event)).await.expect("an answer");
                if event["waits"] == true {
                    goes_on.notified().await;
                }
                let reply = format!("{base}/invocation/{id}/response");
                post(&reply, &[], r#"{"statusCode":200}"#).await.expect("an answer");
                post(&url, &json, server(&event, &id)).await.expect("an answer");
            }
        }
    })
}

fn request(span: Value) -> String {
    let service = json!({ "key": "service.name", "value": { "stringValue": "shop" } });
    let resource = json!({ "attributes": [service] });
    json!({ "resourceSpans": [{ "resource": resource, "scopeSpans": [{ "spans": [span] }] }] })
        .to_string()
}

fn span(event: &Value, name: &str, kind: i32) -> Value {
    json!({
        "traceId": event["trace"], "spanId": &uuid::Uuid::new_v4().simple().to_string()[..16],
        "name": name, "kind": kind, "startTimeUnixNano": "1767225600000000000",
        "endTimeUnixNano": "1767225600001000000",
    })
}

fn child(event: &Value) -> String {
    request(span(event, "child", kind::INTERNAL))
}

fn server(event: &Value, request_id: &str) -> String {
    let mut span = span(event, "server", kind::SERVER);
    let named = json!({ "key": "faas.invocation_id", "value": { "stringValue": request_id } });
    // No span follows it, as with ours.
    let last = json!({ "key": "cruddur.xray_header", "value": { "stringValue": "" } });
    span["attributes"] = json!([named, last]);
    if event["fails"] == true {
        span["status"] = json!({ "code": STATUS_ERROR });
    }
    request(span)
}

fn event(trace: &str, fails: bool) -> Event {
    raw_event(json!({ "trace": trace, "fails": fails }))
}

fn new_trace() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

fn sandbox(honeycomb: &Honeycomb, rate: u32) -> Builder {
    Sandbox::builder("shop")
        .honeycomb(honeycomb)
        .function(function(&Arc::default()))
        .env("CRUDDUR_HONEYCOMB_SAMPLE_RATE", &rate.to_string())
        .env("CRUDDUR_HONEYCOMB_SAMPLE_SALT", "a stack")
        .env("CRUDDUR_LOG", "info")
}

async fn invoke(sandbox: &Sandbox, event: Event) {
    let reply = sandbox.invoke(event).await;
    sandbox.ended(&reply.request_id).await;
}

/// The function's and the extension's spans at Honeycomb by trace: the sorted names, and the rates.
fn by_trace(honeycomb: &Honeycomb) -> BTreeMap<String, (Vec<String>, BTreeSet<String>)> {
    let mut traces: BTreeMap<String, (Vec<String>, BTreeSet<String>)> = BTreeMap::new();
    for Span { trace_id, name, .. } in honeycomb.spans() {
        traces.entry(trace_id).or_default().0.push(name);
    }
    for (trace_id, (names, rates)) in &mut traces {
        names.sort();
        let spans = honeycomb.trace(trace_id);
        rates.extend(spans.iter().map(|span| span.resource("sampleRate").to_string()));
    }
    traces
}

/// The account of spans for Honeycomb in the extension's last summary.
fn account(sandbox: &Sandbox) -> Value {
    let lines = sandbox.extension_log_lines();
    let summary = lines.iter().rev().find_map(|line| line.split_once("ummary: "));
    let (_, json) = summary.unwrap_or_else(|| panic!("no summary\n{}", sandbox.story()));
    let summary: Value = serde_json::from_str(json).expect("JSON");
    summary["destinations"]["honeycomb"]["traces"].clone()
}

#[tokio::test]
async fn a_trace_arrives_whole_with_its_rate_or_not_at_all_and_a_failed_or_cold_one_always() {
    let (honeycomb, rollbar) = (Honeycomb::start().await, Rollbar::start().await);
    let sandbox = sandbox(&honeycomb, 2).rollbar(&rollbar).start().await;
    let [cold, failed] = [new_trace(), new_trace()];
    let others: Vec<String> = (0..30).map(|_| new_trace()).collect();

    invoke(&sandbox, event(&cold, false)).await;
    for trace in &others {
        invoke(&sandbox, event(trace, false)).await;
    }
    invoke(&sandbox, event(&failed, true)).await;
    sandbox.shutdown().await;

    let traces = by_trace(&honeycomb);
    let none = BTreeSet::from(["null".to_owned()]);
    assert_eq!(traces[&cold].1, none, "{traces:?}");
    assert!(traces[&cold].0.contains(&"init".to_owned()), "{traces:?}");
    assert_eq!(traces[&failed].1, none, "{traces:?}");
    let kept: Vec<_> = others.iter().filter_map(|trace| traces.get(trace)).collect();
    assert!((3..28).contains(&kept.len()), "{traces:?}");
    let whole = ["child", "platform.report", "runtimeOverhead", "server"].map(str::to_owned);
    for (names, rates) in &kept {
        assert_eq!((&names[..], rates), (&whole[..], &BTreeSet::from(["2".to_owned()])));
    }
    let account = account(&sandbox);
    let left_out = account["dropped"]["sampled_out"].as_u64().expect("a number");
    assert_eq!(left_out, 4 * (30 - kept.len() as u64), "{account}");
    let delivered = account["delivered"].as_u64().expect("a number");
    assert_eq!(account["received"], delivered + left_out, "{account}");
    assert_eq!(delivered, honeycomb.spans().len() as u64);
    assert_eq!(rollbar.items().len(), 1, "Rollbar gets all");
}

#[tokio::test]
async fn of_a_trace_across_two_functions_the_choice_is_one_and_the_failed_part_may_stand_alone() {
    let [first, second] = [Honeycomb::start().await, Honeycomb::start().await];
    let failing = sandbox(&first, 2).start().await;
    let other = sandbox(&second, 2).start().await;
    let traces: Vec<String> = (0..24).map(|_| new_trace()).collect();

    for sandbox in [&failing, &other] {
        invoke(sandbox, event(&new_trace(), false)).await; // cold
    }
    for (place, trace) in traces.iter().enumerate() {
        invoke(&failing, event(trace, place % 2 == 0)).await;
        invoke(&other, event(trace, false)).await;
    }
    failing.shutdown().await;
    other.shutdown().await;

    let (first, second) = (by_trace(&first), by_trace(&second));
    for (place, trace) in traces.iter().enumerate() {
        let rates = |it: &BTreeMap<String, (_, BTreeSet<String>)>| {
            it.get(trace).map(|(_, rates)| rates.iter().cloned().collect::<Vec<_>>())
        };
        let choice = rates(&second);
        assert!(choice.is_none() || choice == Some(vec!["2".to_owned()]), "{choice:?}");
        let expected = if place % 2 == 0 { Some(vec!["null".to_owned()]) } else { choice };
        assert_eq!(rates(&first), expected, "{place}");
    }
    let alone = traces.iter().filter(|it| first.contains_key(*it) && !second.contains_key(*it));
    assert!(alone.count() > 0);
}

#[tokio::test]
async fn the_spans_of_a_slow_part_arrive_while_it_runs() {
    let honeycomb = Honeycomb::start().await;
    let goes_on = Arc::new(Notify::new());
    let sandbox = sandbox(&honeycomb, 1_000_000)
        .function(function(&goes_on))
        .env("CRUDDUR_HONEYCOMB_SLOW_MS", "300")
        .start()
        .await;
    invoke(&sandbox, event(&new_trace(), false)).await; // cold
    let [quick, slow] = [new_trace(), new_trace()];
    invoke(&sandbox, event(&quick, false)).await;

    let waiting = raw_event(json!({ "trace": slow, "fails": false, "waits": true }));
    let running = sandbox.invoke(waiting);
    let arrives = async {
        let of_slow = |span: &Span| span.trace_id == slow;
        let span = honeycomb.span_where("the child of the slow part", of_slow).await;
        goes_on.notify_one();
        span
    };
    let (reply, span) = tokio::join!(running, arrives);
    sandbox.ended(&reply.request_id).await;
    sandbox.shutdown().await;

    assert_eq!((span.name.as_str(), span.resource("sampleRate")), ("child", Value::Null));
    let names: Vec<_> = honeycomb.trace(&slow).into_iter().map(|span| span.name).collect();
    assert!(names.contains(&"server".to_owned()), "{names:?}");
    assert!(honeycomb.trace(&quick).is_empty());
}

#[tokio::test]
async fn a_kept_part_survives_a_kill_and_the_undecided_one_follows_the_choice() {
    let honeycomb = Honeycomb::start().await;
    let goes_on = Arc::new(Notify::new());
    let sandbox =
        sandbox(&honeycomb, 1_000_000).function(function(&goes_on)).freezing(false).start().await;
    let [cold, undecided] = [new_trace(), new_trace()];
    honeycomb.always(cruddur_tests::Answer::status(503));
    invoke(&sandbox, event(&cold, false)).await;
    let waiting = raw_event(json!({ "trace": undecided, "fails": false, "waits": true }));
    let running = sandbox.try_invoke(waiting);
    let kill = async {
        let spool = sandbox.directory().join("spool");
        assert!(eventually(async || holds(&spool, &undecided), |is_there| *is_there).await);
        honeycomb.always(cruddur_tests::Answer::Proper);
        sandbox.kill_extension();
        goes_on.notify_one();
    };
    let _ = tokio::join!(running, kill);
    invoke(&sandbox, event(&new_trace(), false)).await;
    sandbox.shutdown().await;

    assert!(honeycomb.trace(&cold).iter().any(|span| span.name == "child"));
    assert!(honeycomb.trace(&undecided).iter().all(|span| span.name != "child"));
}

/// Whether a file of the spool holds a span of this trace.
fn holds(spool: &std::path::Path, trace: &str) -> bool {
    let id = u128::from_str_radix(trace, 16).expect("32 hex digits").to_be_bytes();
    let files = std::fs::read_dir(spool).into_iter().flatten().flatten();
    let contents = files.filter_map(|file| std::fs::read(file.path()).ok());
    contents.into_iter().any(|content| content.windows(id.len()).any(|window| window == id))
}
