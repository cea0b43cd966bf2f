//! Spans that reach X-Ray by OTLP, and when they go as segments instead.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use cruddur_tests::event::new_trace_header;
use cruddur_tests::http_client;
use cruddur_tests::otlp::{Span, request_of, root_span};
use cruddur_tests::{Answer, Burst, Honeycomb, Load, Sandbox, Xray, event};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span as ProtoSpan;
use serde_json::{Value, json};

use crate::xray::{CALLER_SPAN, CALLER_TRACE, account, part, sandbox};

const OTLP: &str = "/v1/traces";
const SEGMENTS: &str = "/TraceSegments";

/// One request of a cold sandbox, at all destinations.
struct Trace {
    honeycomb: Vec<Span>,
    server: Span,
    xray: Xray,
}

async fn trace_by(transport: &str, header: &str, traceparent: Option<&str>) -> Trace {
    let (honeycomb, xray) = (Honeycomb::start().await, Xray::start().await);
    xray.transaction_search(true);
    let sandbox = sandbox(&honeycomb, &xray.url()).env("CRUDDUR_XRAY_TRANSPORT", transport);
    let sandbox = sandbox.start().await;
    let mut event = event("home-activities").trace_header(header);
    if let Some(traceparent) = traceparent {
        event = event.header("traceparent", traceparent);
    }
    let reply = sandbox.invoke(event).await;
    sandbox.ended(&reply.request_id).await;
    sandbox.shutdown().await;
    let server = honeycomb.server_span(&reply.request_id).await;
    Trace { honeycomb: honeycomb.spans(), server, xray }
}

/// Spans and their parents by name, without those of the platform.
fn tree_of_names(spans: impl Iterator<Item = (String, String, Option<String>)>) -> Vec<String> {
    const PLATFORM: [&str; 4] = ["init", "restore", "runtimeOverhead", "platform.report"];
    let spans: Vec<_> = spans.filter(|(name, ..)| !PLATFORM.contains(&name.as_str())).collect();
    let names: BTreeMap<_, _> = spans.iter().map(|(name, id, _)| (id.clone(), name)).collect();
    let edge = |(name, _, parent): &(String, String, Option<String>)| {
        let parent = parent.as_ref().and_then(|parent| names.get(parent));
        format!("{} > {name}", parent.map_or("", |parent| parent))
    };
    let mut edges: Vec<_> = spans.iter().map(edge).collect();
    edges.sort();
    edges
}

fn names_of_spans(spans: &[Span]) -> Vec<String> {
    let part = |span: &Span| (span.name.clone(), span.span_id.clone(), span.parent_id.clone());
    tree_of_names(spans.iter().map(part))
}

fn names_of_documents(documents: &[Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let part = |document: &Value| {
        let span_name = text(&document["metadata"]["default"]["otel.span.name"]);
        let name = span_name.or_else(|| text(&document["name"])).expect("a name");
        (name, text(&document["id"]).expect("an id"), text(&document["parent_id"]))
    };
    tree_of_names(documents.iter().map(part))
}

#[tokio::test]
async fn one_trace_is_the_same_tree_at_honeycomb_and_at_x_ray_by_otlp_and_by_segments() {
    let sampled = format!("00-{CALLER_TRACE}-{CALLER_SPAN}-01");
    for traceparent in [None, Some(sampled.as_str())] {
        let header = new_trace_header();
        let root = part(&header, "Root").expect("a root");

        let by_otlp = trace_by("otlp", &header, traceparent).await;
        let by_segments = trace_by("segments", &header, traceparent).await;

        let (spans, server) = (by_otlp.xray.spans(), &by_otlp.server);
        assert_eq!(by_otlp.xray.documents(), Vec::<Value>::new());
        assert_eq!(spans.len(), by_otlp.honeycomb.len());
        for theirs in &by_otlp.honeycomb {
            let ours = spans.iter().find(|span| span.span_id == theirs.span_id).expect("the span");
            assert_eq!(format!("1-{}-{}", &ours.trace_id[..8], &ours.trace_id[8..]), root);
            let mut names = theirs.attribute_names();
            if theirs.span_id == server.span_id {
                assert_eq!(ours.parent_id, part(&header, "Parent"));
                assert_eq!(theirs.parent_id, traceparent.map(|_| CALLER_SPAN.to_owned()));
                assert_eq!(ours.attribute("w3c_trace_id"), theirs.trace_id);
                names.push("w3c_trace_id");
            } else {
                assert_eq!(ours.parent_id, theirs.parent_id, "{}", ours.name);
            }
            assert_eq!(ours.attribute_names(), names, "{}", ours.name);
            let facts =
                |it: &Span| (it.name.clone(), it.kind, it.status, it.times, it.events.clone());
            assert_eq!(facts(ours), facts(theirs));
            assert_eq!(ours.resource("service.name"), "cruddur");
        }
        let expected_trace = traceparent.map_or(spans[0].trace_id.as_str(), |_| CALLER_TRACE);
        assert_eq!(server.trace_id, expected_trace);
        let names = names_of_spans(&by_otlp.honeycomb);
        assert!(names.len() > 3, "{names:#?}");
        assert_eq!(names_of_spans(&spans), names);
        assert_eq!(names_of_documents(&by_segments.xray.documents()), names);
        assert_eq!(by_segments.xray.spans().len(), 0);
    }
}

#[tokio::test]
async fn a_trace_that_lambda_has_not_chosen_is_not_sent_by_otlp() {
    let header = new_trace_header().replace("Sampled=1", "Sampled=0");

    let trace = trace_by("otlp", &header, None).await;

    assert!(trace.honeycomb.len() > 3);
    assert!(trace.xray.requests().is_empty(), "{:?}", trace.xray.requests());
}

/// A sandbox whose invocations are each flushed before the next, and what its function sent.
async fn load(xray: &Xray, transport: &str) -> (Load, Sandbox) {
    let load = Load::default();
    let sandbox = Sandbox::builder("load")
        .function(load.function())
        .env("CRUDDUR_EXPORTERS", "xray")
        .env("CRUDDUR_XRAY_TRANSPORT", transport)
        .env("AWS_ENDPOINT_URL_XRAY", &xray.url())
        .env("CRUDDUR_FLUSH", "end")
        .env("CRUDDUR_LOG", "info");
    (load, sandbox.start().await)
}

async fn invoke(sandbox: &Sandbox, count: usize) {
    for _ in 0..count {
        let reply = sandbox.invoke(Burst::SMALL.event()).await;
        sandbox.ended(&reply.request_id).await;
    }
}

/// Asserts that X-Ray has each span of the function once, on whatever way.
fn assert_delivered_once(load: &Load, xray: &Xray, sandbox: &Sandbox) {
    let spans = xray.spans().into_iter().map(|span| span.span_id);
    let documents = xray.documents();
    let ids = documents.iter().filter_map(|it| it["id"].as_str()).map(str::to_owned);
    let sent = load.sent();
    let arrived: Vec<_> = spans.chain(ids).filter(|id| sent.contains(id)).collect();
    let distinct: BTreeSet<_> = arrived.iter().collect();
    let counts = (arrived.len(), distinct.len());
    assert_eq!(counts, (sent.len(), sent.len()), "{:#?}", xray.requests());
    let account = account(sandbox);
    assert_eq!(account["traces"]["dropped"], Value::Null, "{account}");
}

#[tokio::test]
async fn auto_tries_otlp_once_and_sends_segments_for_the_life_of_the_sandbox_if_it_is_off() {
    let xray = Xray::start().await;
    let (load, sandbox) = load(&xray, "auto").await;

    invoke(&sandbox, 1).await;
    assert_eq!(xray.statuses(OTLP), Vec::<u16>::new(), "the first batch goes as segments");
    invoke(&sandbox, 1).await;
    xray.transaction_search(true);
    invoke(&sandbox, 1).await;
    xray.transaction_search(false);
    invoke(&sandbox, 1).await;
    sandbox.shutdown().await;

    assert_delivered_once(&load, &xray, &sandbox);
    assert_eq!(xray.statuses(OTLP), [400]);
    let log = sandbox.extension_log_lines().join("\n");
    assert!(log.contains("so this sandbox sends segments"), "{log}");
}

#[tokio::test]
async fn auto_sends_otlp_from_the_second_batch_on_until_it_is_switched_off() {
    let xray = Xray::start().await;
    xray.transaction_search(true);
    let (load, sandbox) = load(&xray, "auto").await;

    invoke(&sandbox, 1).await;
    let segments = xray.statuses(SEGMENTS).len();
    invoke(&sandbox, 2).await;
    assert_eq!(xray.statuses(SEGMENTS).len(), segments, "the rest goes as OTLP");
    assert!(xray.spans_reach(26).await.len() >= 26);
    xray.transaction_search(false);
    invoke(&sandbox, 2).await;
    sandbox.shutdown().await;

    assert_delivered_once(&load, &xray, &sandbox);
    let statuses = xray.statuses(OTLP);
    assert_eq!(statuses.iter().filter(|status| **status == 400).count(), 1, "{statuses:?}");
    assert_eq!(statuses.last(), Some(&400));
}

#[tokio::test]
async fn otlp_alone_keeps_what_x_ray_refuses_until_transaction_search_is_on() {
    let xray = Xray::start().await;
    let (load, sandbox) = load(&xray, "otlp").await;

    invoke(&sandbox, 2).await;
    xray.answers(OTLP, 400).await;
    xray.transaction_search(true);
    sandbox.shutdown().await;

    assert_delivered_once(&load, &xray, &sandbox);
    assert_eq!(xray.documents(), Vec::<Value>::new());
    let log = sandbox.extension_log_lines().join("\n");
    assert!(log.contains("aws xray update-trace-segment-destination"), "{log}");
}

#[tokio::test]
async fn otlp_alone_spools_what_comes_after_transaction_search_was_switched_off() {
    let xray = Xray::start().await;
    xray.transaction_search(true);
    let (load, sandbox) = load(&xray, "otlp").await;

    invoke(&sandbox, 1).await;
    xray.transaction_search(false);
    invoke(&sandbox, 1).await;
    sandbox.shutdown().await;

    let account = account(&sandbox);
    let [delivered, spooled] = ["delivered", "spooled"].map(|sum| account["traces"][sum].as_u64());
    assert!(delivered >= Some(13) && spooled >= Some(13), "{account}");
    assert_eq!(account["traces"]["dropped"], Value::Null, "{account}");
    assert_eq!(load.sent().len(), 26);
}

#[tokio::test]
async fn a_role_without_the_permission_for_spans_sends_segments() {
    let xray = Xray::start().await;
    xray.transaction_search(true);
    xray.deny_spans();
    let (load, sandbox) = load(&xray, "auto").await;

    invoke(&sandbox, 3).await;
    sandbox.shutdown().await;

    assert_delivered_once(&load, &xray, &sandbox);
    assert_eq!((xray.statuses(OTLP), xray.spans().len()), (vec![403], 0));
}

#[tokio::test]
async fn a_wrong_clock_delays_spans_and_changes_no_way() {
    let xray = Xray::start().await;
    xray.transaction_search(true);
    let (load, sandbox) = load(&xray, "auto").await;

    invoke(&sandbox, 2).await;
    let segments = xray.statuses(SEGMENTS).len();
    xray.clock_ahead(3_600);
    invoke(&sandbox, 1).await;
    xray.answers(OTLP, 403).await;
    xray.clock_ahead(0);
    sandbox.shutdown().await;

    assert_delivered_once(&load, &xray, &sandbox);
    assert_eq!(xray.statuses(SEGMENTS).len(), segments);
    let log = sandbox.extension_log_lines().join("\n");
    assert!(log.contains("Signature expired"), "{log}");
}

#[tokio::test]
async fn spans_that_a_rejected_part_of_a_call_leaves_out_are_counted() {
    let xray = Xray::start().await;
    xray.transaction_search(true);
    let (_, sandbox) = load(&xray, "otlp").await;
    let body = json!({ "partialSuccess": { "rejectedSpans": "5", "errorMessage": "a test" } });
    xray.next_answer(Answer::json(200, &body));

    invoke(&sandbox, 1).await;
    sandbox.shutdown().await;

    let account = account(&sandbox);
    assert_eq!(account["traces"]["dropped"]["rejected"], 5, "{account}");
}

/// Posts spans of no invocation. The invocation that flushes them is not sampled.
async fn post(sandbox: &Sandbox, spans: Vec<ProtoSpan>) {
    let url = format!("{}/v1/traces", sandbox.otlp_url());
    let headers = [("content-type", "application/x-protobuf")];
    let reply = http_client::post(&url, &headers, request_of(spans.into_iter())).await;
    assert_eq!(reply.expect("an answer").status, 200);
}

async fn flush(sandbox: &Sandbox) {
    let header = new_trace_header().replace("Sampled=1", "Sampled=0");
    let reply = sandbox.invoke(event("home-activities").trace_header(&header)).await;
    sandbox.ended(&reply.request_id).await;
}

async fn open_sandbox(xray: &Xray) -> Sandbox {
    let builder = sandbox(&Honeycomb::start().await, &xray.url()).freezing(false);
    let builder = builder.env("CRUDDUR_EXPORTERS", "xray").env("CRUDDUR_LOG", "info");
    let builder = builder.env("CRUDDUR_XRAY_TRANSPORT", "otlp").env("CRUDDUR_FLUSH", "end");
    builder.env("CRUDDUR_XRAY_UNDECIDED", "1").start().await
}

fn hours_ago(hours: u64) -> SystemTime {
    SystemTime::now() - Duration::from_secs(hours * 3_600)
}

fn with_texts(count: usize, bytes: usize, span: ProtoSpan) -> ProtoSpan {
    let text = |number| {
        let value = Some(any_value::Value::StringValue("x".repeat(bytes)));
        let (key, value) = (format!("text {number}"), Some(AnyValue { value }));
        KeyValue { key, value, ..KeyValue::default() }
    };
    ProtoSpan { attributes: (0..count).map(text).collect(), ..span }
}

#[tokio::test]
async fn a_span_over_x_rays_limit_is_cut_among_good_ones() {
    let xray = Xray::start().await;
    xray.transaction_search(true);
    let sandbox = open_sandbox(&xray).await;
    let mut spans: Vec<_> = (0..9).map(|_| root_span("good", hours_ago(1))).collect();
    spans.insert(3, with_texts(1, 250_000, root_span("one long text", hours_ago(1))));
    spans.insert(6, with_texts(9_000, 20, root_span("many short texts", hours_ago(1))));

    post(&sandbox, spans).await;
    flush(&sandbox).await;
    let stored = xray.spans_reach(11).await;
    sandbox.shutdown().await;

    let names: BTreeSet<_> = stored.iter().map(|span| span.name.as_str()).collect();
    let expected = BTreeSet::from(["good", "many short texts", "one long text"]);
    assert_eq!((stored.len(), names), (11, expected));
    let long = stored.iter().find(|span| span.name == "one long text").expect("the span");
    assert_eq!(long.attribute("text 0"), "x".repeat(4_096));
    assert!(xray.statuses(OTLP).iter().all(|status| *status == 200), "{:?}", xray.requests());
    let log = sandbox.extension_log_lines().join("\n");
    assert!(log.contains("2 spans are too large for X-Ray"), "{log}");
}

#[tokio::test]
async fn a_spool_of_three_days_is_sent_in_calls_of_a_day_and_older_spans_are_dropped() {
    let xray = Xray::start().await;
    xray.transaction_search(true);
    xray.always(Answer::status(503));
    let sandbox = open_sandbox(&xray).await;
    for hours in [1, 26, 51, 15 * 24] {
        let spans = (0..10).map(|_| root_span(&hours.to_string(), hours_ago(hours)));
        post(&sandbox, spans.collect()).await;
    }
    flush(&sandbox).await;
    xray.answers(OTLP, 503).await;

    xray.always(Answer::Proper);
    sandbox.shutdown().await;

    let mut counts = BTreeMap::new();
    for span in xray.spans().into_iter().filter(|span| span.name != "init") {
        *counts.entry(span.name).or_insert(0) += 1;
    }
    let expected = ["1", "26", "51"].map(|hours| (hours.to_owned(), 10));
    assert_eq!(counts, BTreeMap::from(expected), "{:#?}", xray.requests());
    let account = account(&sandbox);
    assert_eq!(account["traces"]["dropped"]["rejected"], 10, "{account}");
    let statuses = xray.statuses(OTLP);
    assert!(statuses.iter().filter(|status| **status == 200).count() >= 3, "{statuses:?}");
}
