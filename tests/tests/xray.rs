//! What X-Ray is told of a request, beside what Honeycomb is.

use std::collections::{BTreeMap, BTreeSet};

use cruddur_tests::event::new_trace_header;
use cruddur_tests::http_client;
use cruddur_tests::otlp::{self, Span};
use cruddur_tests::xray::{POISON, UNPROCESSED};
use cruddur_tests::{Answer, Builder, Honeycomb, Sandbox, Xray, XrayDaemon, event, moto};
use serde_json::Value;

pub(crate) const CALLER_TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
pub(crate) const CALLER_SPAN: &str = "b7ad6b7169203331";

pub(crate) fn sandbox(honeycomb: &Honeycomb, endpoint: &str) -> Builder {
    Sandbox::builder("home-activities")
        .honeycomb(honeycomb)
        .env("CRUDDUR_EXPORTERS", "honeycomb,xray")
        .env("AWS_ENDPOINT_URL_XRAY", endpoint)
        .env("OTEL_SERVICE_NAME", "cruddur")
        .demo_store()
}

/// A part of an X-Ray header.
pub(crate) fn part(header: &str, key: &str) -> Option<String> {
    let parts = header.split(';').filter_map(|part| part.split_once('='));
    parts.filter(|(name, _)| *name == key).map(|(_, value)| value.to_owned()).next()
}

/// Parents by id.
fn tree_of_documents(documents: &[Value]) -> BTreeMap<String, Option<String>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    documents.iter().map(|it| (text(&it["id"]).expect("an id"), text(&it["parent_id"]))).collect()
}

fn tree_of_spans(spans: &[Span]) -> BTreeMap<String, Option<String>> {
    spans.iter().map(|span| (span.span_id.clone(), span.parent_id.clone())).collect()
}

/// Invokes once with these headers and ends the sandbox: the request's documents and spans.
async fn told(
    header: &str,
    traceparent: Option<&str>,
    undecided: &str,
) -> (Vec<Value>, Vec<Span>, Option<Span>) {
    told_by("parentbased_always_on", header, traceparent, undecided).await
}

/// The same with a sampler of the function.
async fn told_by(
    sampler: &str,
    header: &str,
    traceparent: Option<&str>,
    undecided: &str,
) -> (Vec<Value>, Vec<Span>, Option<Span>) {
    let (honeycomb, xray) = (Honeycomb::start().await, Xray::start().await);
    let sandbox = sandbox(&honeycomb, &xray.url()).env("CRUDDUR_XRAY_UNDECIDED", undecided);
    let sandbox = sandbox.env("OTEL_TRACES_SAMPLER", sampler).start().await;
    let mut event = event("home-activities").trace_header(header);
    if let Some(traceparent) = traceparent {
        event = event.header("traceparent", traceparent);
    }

    let reply = sandbox.invoke(event).await;
    sandbox.ended(&reply.request_id).await;
    let ended = sandbox.shutdown().await;

    assert_eq!(reply.status, 200);
    assert!(ended.extension.is_some());
    let spans = honeycomb.spans();
    let server = spans.iter().find(|span| span.attribute("faas.invocation_id") == reply.request_id);
    (xray.documents(), spans.clone(), server.cloned())
}

#[tokio::test]
async fn the_trace_of_a_sampled_request_is_the_same_tree_as_honeycombs() {
    let sampled = format!("00-{CALLER_TRACE}-{CALLER_SPAN}-01");
    for traceparent in [None, Some(sampled.as_str())] {
        let header = new_trace_header();

        let (documents, spans, server) = told(&header, traceparent, "0").await;

        let server = server.expect("the server span");
        let (mut at_x_ray, mut at_honeycomb) =
            (tree_of_documents(&documents), tree_of_spans(&spans));
        assert!(spans.len() > 3, "{spans:#?}");
        let above = |tree: &mut BTreeMap<_, _>| tree.remove(&server.span_id).expect("S");
        assert_eq!(above(&mut at_x_ray), part(&header, "Parent"));
        assert_eq!(above(&mut at_honeycomb), traceparent.map(|_| CALLER_SPAN.to_owned()));
        assert_eq!(at_x_ray, at_honeycomb);
        let traces: BTreeSet<_> = documents.iter().map(|it| it["trace_id"].as_str()).collect();
        assert_eq!(traces, BTreeSet::from([part(&header, "Root").as_deref()]));
        assert!(documents.iter().all(|document| document["type"] == "subsegment"));
        let entry = documents.iter().find(|it| it["id"] == server.span_id.as_str()).expect("S");
        assert_eq!(entry["annotations"]["w3c_trace_id"], server.trace_id);
        assert_eq!(entry["annotations"]["app"], "cruddur");
        assert_eq!(entry["annotations"]["http_route"], "/api/activities/home");
        assert_eq!(entry["http"]["response"]["status"], 200);
        assert_eq!(entry["name"], "GET /api/activities/home");
    }
}

#[tokio::test]
async fn a_sampler_that_leaves_a_trace_out_keeps_it_from_honeycomb_alone() {
    let sampled = format!("00-{CALLER_TRACE}-{CALLER_SPAN}-01");
    let header = new_trace_header();

    let (documents, spans, _) =
        told_by("parentbased_always_off", &header, Some(&sampled), "0").await;

    assert!(spans.is_empty(), "{spans:#?}");
    let tree = tree_of_documents(&documents);
    let entries = tree.values().filter(|parent| **parent == part(&header, "Parent"));
    assert_eq!(entries.count(), 1, "{documents:#?}");
    assert!(documents.len() > 3);
}

#[tokio::test]
async fn a_trace_that_lambda_has_not_chosen_is_at_honeycomb_alone() {
    let sampled = format!("00-{CALLER_TRACE}-{CALLER_SPAN}-01");
    let unsampled = new_trace_header().replace("Sampled=1", "Sampled=0");
    let undecided = format!("Root={}", part(&new_trace_header(), "Root").expect("a root"));
    for (header, rate) in [(&unsampled, "1"), (&undecided, "0")] {
        for traceparent in [None, Some(sampled.as_str())] {
            let (documents, _, server) = told(header, traceparent, rate).await;

            assert!(server.is_some());
            assert_eq!(documents, Vec::<Value>::new(), "{header} {traceparent:?}");
        }
    }
}

#[tokio::test]
async fn what_nobody_has_decided_is_a_root_segment_at_the_rate_that_is_asked_for() {
    let root = part(&new_trace_header(), "Root").expect("a root");

    let (documents, spans, server) = told(&format!("Root={root}"), None, "1").await;

    let server = server.expect("the server span");
    assert_eq!(tree_of_documents(&documents), tree_of_spans(&spans));
    let (segments, rest): (Vec<_>, Vec<_>) =
        documents.iter().partition(|document| document["type"].is_null());
    assert_eq!(segments.len(), 1);
    assert_eq!(segments[0]["id"], server.span_id.as_str());
    assert_eq!(segments[0]["trace_id"], root.as_str());
    assert!(rest.iter().all(|document| document["type"] == "subsegment"));
    // The node of the service map is the function; its dataset at Honeycomb is the service.
    assert_eq!(segments[0]["name"], server.resource("faas.name"));
    assert_eq!(server.resource("service.name"), "cruddur");
}

#[tokio::test]
async fn moto_gives_back_what_it_was_sent() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = sandbox(&honeycomb, moto::url()).start().await;
    let header = new_trace_header();

    let reply = sandbox.invoke(event("home-activities").trace_header(&header)).await;
    sandbox.ended(&reply.request_id).await;
    sandbox.shutdown().await;

    let root = part(&header, "Root").expect("a root");
    let documents = moto::trace(&root).await;
    let ids: BTreeSet<_> = tree_of_documents(&documents).into_keys().collect();
    assert_eq!(ids, tree_of_spans(&honeycomb.spans()).into_keys().collect());
}

/// Posts spans of these names, each a trace of its own that nobody has decided on, and flushes.
async fn post(sandbox: &Sandbox, names: &[&str]) {
    let url = format!("{}/v1/traces", sandbox.otlp_url());
    let headers = [("content-type", "application/x-protobuf")];
    let reply = http_client::post(&url, &headers, otlp::request(names)).await.expect("an answer");
    assert_eq!(reply.status, 200);
    let event = event("home-activities")
        .trace_header(&new_trace_header().replace("Sampled=1", "Sampled=0"));
    let reply = sandbox.invoke(event).await;
    sandbox.ended(&reply.request_id).await;
}

async fn open_sandbox(xray: &Xray) -> Sandbox {
    let builder = sandbox(&Honeycomb::start().await, &xray.url()).freezing(false);
    let builder = builder.env("CRUDDUR_EXPORTERS", "xray").env("CRUDDUR_LOG", "info");
    builder.env("CRUDDUR_XRAY_UNDECIDED", "1").start().await
}

/// What became of the spans, by the extension's last words.
pub(crate) fn account(sandbox: &Sandbox) -> Value {
    let lines = sandbox.extension_log_lines();
    let line = lines.iter().rfind(|line| line.contains("Summary: ")).expect("a summary");
    let (_, json) = line.split_once("Summary: ").expect("a summary");
    serde_json::from_str::<Value>(json).expect("JSON")["destinations"]["xray"].clone()
}

#[tokio::test]
async fn a_bad_document_costs_its_batch_nothing_and_is_counted() {
    let xray = Xray::start().await;
    let sandbox = open_sandbox(&xray).await;
    let mut names = vec!["good"; 120];
    (names[3], names[77]) = (UNPROCESSED, POISON);

    post(&sandbox, &names).await;
    let documents = xray.documents_reach(119).await;
    sandbox.shutdown().await;

    let ids: BTreeSet<_> = documents.iter().map(|it| it["trace_id"].as_str()).collect();
    assert_eq!((documents.len(), ids.len()), (119, 119), "each once");
    let account = account(&sandbox);
    assert_eq!(account["traces"]["dropped"]["rejected"], 2, "{account}");
    let log = sandbox.extension_log_lines().join("\n");
    assert!(log.contains("InvalidSegment: a test"), "{log}");
}

#[tokio::test]
async fn the_calls_of_a_batch_do_not_wait_for_each_other() {
    let xray = Xray::start().await;
    let sandbox = open_sandbox(&xray).await;
    xray.next_answer(Answer::Hang);

    post(&sandbox, &["good"; 120]).await;

    assert!(xray.documents_reach(70).await.len() >= 70, "those of two calls out of three");
    sandbox.shutdown().await;
}

#[tokio::test]
async fn a_throttled_call_is_repeated_and_what_was_taken_before_it_is_not() {
    let xray = Xray::start().await;
    let sandbox = open_sandbox(&xray).await;
    xray.next_answer(Answer::Proper);
    let headers = vec![("x-amzn-errortype", "ThrottledException".to_owned())];
    xray.next_answer(Answer::Canned { status: 429, headers, body: "{}".into() });

    post(&sandbox, &["good"; 120]).await;
    sandbox.shutdown().await;

    let documents = xray.documents_reach(120).await;
    let ids: BTreeSet<_> = documents.iter().map(|it| it["trace_id"].as_str()).collect();
    assert_eq!((documents.len(), ids.len()), (120, 120), "each once");
    assert!(account(&sandbox)["failed_requests"].as_u64() >= Some(1));
}

#[tokio::test]
async fn a_daemon_gets_a_document_in_each_datagram() {
    let (honeycomb, daemon) = (Honeycomb::start().await, XrayDaemon::start().await);
    let sandbox = sandbox(&honeycomb, "http://127.0.0.1:9")
        .env("AWS_XRAY_DAEMON_ADDRESS", &daemon.address())
        .start()
        .await;

    let reply = sandbox.invoke(event("home-activities")).await;
    let server = honeycomb.server_span(&reply.request_id).await;

    let datagrams = daemon.datagrams_reach(3).await;
    assert!(datagrams.iter().all(|(header, _)| header == r#"{"format": "json", "version": 1}"#));
    let mut documents = datagrams.iter().map(|(_, document)| document);
    assert!(documents.any(|document| document["id"] == server.span_id.as_str()));
}
