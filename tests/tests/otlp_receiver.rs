//! Whatever is sent to the extension's OTLP port, it stays up and takes the next good request.

use std::io::Write;

use cruddur_tests::http_client::{HttpReply, get, post};
use cruddur_tests::{Honeycomb, Sandbox, otlp, raw_event};
use flate2::{Compression, write::GzEncoder};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::puppet::echo;

/// The extension's limit for one request in these tests.
const MAX_BODY_BYTES: usize = 1 << 20;

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json");
const GZIP: (&str, &str) = ("content-encoding", "gzip");

/// The real extension beside a function that does nothing, awake all the time.
async fn start(honeycomb: &Honeycomb) -> Sandbox {
    Sandbox::builder("echo")
        .function(echo())
        .honeycomb(honeycomb)
        .env("CRUDDUR_BUFFER_BYTES", &MAX_BODY_BYTES.to_string())
        .freezing(false)
        .start()
        .await
}

fn traces_url(sandbox: &Sandbox) -> String {
    format!("{}/v1/traces", sandbox.otlp_url())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

/// Sends a good request and waits until its span is at Honeycomb.
async fn assert_still_delivers(sandbox: &Sandbox, honeycomb: &Honeycomb, name: &str) {
    let good = post(&traces_url(sandbox), &[PROTOBUF], otlp::request(&[name])).await;
    assert_eq!(good.expect("an answer").status, 200);
    // The end of an invocation is what makes the extension flush.
    sandbox.invoke(raw_event(json!({}))).await;
    honeycomb.span(name).await;
    assert!(sandbox.extension_is_alive().await);
}

fn assert_refused(reply: &HttpReply, status: u16, what: &str) {
    assert_eq!(reply.status.as_u16(), status, "{what}: {:?}", reply.body);
}

#[tokio::test]
async fn protobuf_and_json_plain_and_gzip_are_taken_and_delivered() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = start(&honeycomb).await;
    let url = traces_url(&sandbox);

    let replies = [
        post(&url, &[PROTOBUF], otlp::request(&["protobuf"])).await,
        post(&url, &[JSON], otlp::json_request(&["json"])).await,
        post(&url, &[PROTOBUF, GZIP], gzip(&otlp::request(&["protobuf, gzip"]))).await,
        post(&url, &[JSON, GZIP], gzip(&otlp::json_request(&["json, gzip"]))).await,
    ];
    sandbox.invoke(raw_event(json!({}))).await;

    for reply in replies {
        let reply = reply.expect("an answer");
        assert_eq!(reply.status, 200, "{:?}", reply.body);
    }
    for name in ["protobuf", "json", "protobuf, gzip", "json, gzip"] {
        let span = honeycomb.span(name).await;
        assert_eq!(span.resource("service.name"), "a-test");
        assert_eq!(span.times, (1_767_225_600_000_000_000, 1_767_225_600_001_000_000));
    }
}

#[tokio::test]
async fn an_answer_is_in_the_requests_own_format() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = start(&honeycomb).await;
    let url = traces_url(&sandbox);

    let protobuf = post(&url, &[PROTOBUF], otlp::request(&["a"])).await.expect("an answer");
    let json = post(&url, &[JSON], otlp::json_request(&["b"])).await.expect("an answer");

    assert_eq!(protobuf.header("content-type"), Some("application/x-protobuf"));
    assert!(protobuf.body.is_empty(), "full success leaves partial_success unset");
    assert_eq!(json.header("content-type"), Some("application/json"));
    assert_eq!(json.json(), json!({}));
}

#[tokio::test]
async fn garbage_is_refused() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = start(&honeycomb).await;
    let url = traces_url(&sandbox);
    let cut = otlp::request(&["cut"]);
    let not_hex = |body: Vec<u8>| {
        let text = String::from_utf8(body).expect("JSON");
        text.replace("\"traceId\":\"", "\"traceId\":\"zz").into_bytes()
    };
    let bodies = [
        ("no protobuf", vec![PROTOBUF], b"\xff\xff\xff\xff garbage".to_vec()),
        ("a protobuf cut off", vec![PROTOBUF], cut[..cut.len() - 3].to_vec()),
        ("no JSON", vec![JSON], b"{ \"resourceSpans\": [".to_vec()),
        ("JSON of another shape", vec![JSON], b"{ \"resourceSpans\": 7 }".to_vec()),
        ("a JSON id that is no hex", vec![JSON], not_hex(otlp::json_request(&["x"]))),
        ("no gzip", vec![PROTOBUF, GZIP], otlp::request(&["not compressed"])),
    ];

    for (what, headers, body) in bodies {
        let refused = post(&url, &headers, body).await.expect("an answer");

        assert_refused(&refused, 400, what);
        assert_still_delivers(&sandbox, &honeycomb, what).await;
    }
    assert!(honeycomb.spans().iter().all(|span| span.name != "cut" && span.name != "x"));
}

/// The bytes of a request with a span of each name, and a number in place of the name `bad`.
pub(crate) fn with_a_bad_span(names: &[&str]) -> Vec<u8> {
    let mut request = otlp::request(names);
    let at = request.windows(5).position(|bytes| bytes == b"\x2a\x03bad").expect("the name");
    request[at..at + 5].copy_from_slice(&[0x28, 0x01, 0x28, 0x81, 0x00]);
    request
}

#[tokio::test]
async fn a_bad_span_is_left_out_and_counted_and_a_bad_text_gets_replacement_characters() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = start(&honeycomb).await;
    let url = traces_url(&sandbox);
    let mut bad_text = otlp::request(&["good text", "cut emoji"]);
    let at = bad_text.windows(9).position(|bytes| bytes == b"cut emoji").expect("the name");
    bad_text[at..at + 3].copy_from_slice(b"\xf0\x9f\x98");

    let partly = post(&url, &[PROTOBUF], with_a_bad_span(&["one", "bad", "two"])).await;
    let none = post(&url, &[PROTOBUF], with_a_bad_span(&["bad"])).await.expect("an answer");
    let text = post(&url, &[PROTOBUF], bad_text).await.expect("an answer");
    sandbox.invoke(raw_event(json!({}))).await;

    let partly = partly.expect("an answer");
    assert_eq!((partly.status.as_u16(), text.status.as_u16()), (200, 200));
    let response = ExportTraceServiceResponse::decode(&partly.body[..]).expect("a response");
    let partial = response.partial_success.expect("a partial success");
    assert_eq!(partial.rejected_spans, 1, "{partial:?}");
    assert!(text.body.is_empty(), "no item is lost");
    assert_refused(&none, 400, "no good span");
    for name in ["one", "two", "good text", "\u{fffd} emoji"] {
        honeycomb.span(name).await;
    }
    sandbox.shutdown().await;
    let log = sandbox.extension_log_lines();
    let summary = log.iter().filter_map(|line| line.split_once("Summary: ")).next_back();
    let summary: serde_json::Value =
        serde_json::from_str(summary.expect("a summary").1).expect("JSON");
    assert_eq!(summary["refused"], json!({"otlp": {"invalid": 2}}));
}

#[tokio::test]
async fn a_bad_span_in_json_is_left_out_and_answered_as_a_partial_success_in_json() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = start(&honeycomb).await;
    let bad_id = String::from_utf8(otlp::json_request(&["bad"])).expect("JSON");
    let bad_id = bad_id.replace("\"traceId\":\"", "\"traceId\":\"zz");
    let request = otlp::json_request(&["half \u{1f600} emoji", "good", "bad", "other"]);
    let request = String::from_utf8(request).expect("JSON");
    let request = request.replace('\u{1f600}', r"\ud83d").replace("\"name\":\"bad\"", "\"name\":7");

    let partly = post(&traces_url(&sandbox), &[JSON], request).await.expect("an answer");
    let none = post(&traces_url(&sandbox), &[JSON], bad_id).await.expect("an answer");
    sandbox.invoke(raw_event(json!({}))).await;

    assert_eq!(partly.status.as_u16(), 200);
    let partial = partly.json()["partialSuccess"].clone();
    assert_eq!(partial["rejectedSpans"], "1", "{partial}");
    let path = "resourceSpans[0].scopeSpans[0].spans[2].name";
    assert!(partial["errorMessage"].as_str().is_some_and(|it| it.contains(path)), "{partial}");
    assert_refused(&none, 400, "no good span");
    for name in ["half \u{fffd} emoji", "good", "other"] {
        honeycomb.span(name).await;
    }
}

#[tokio::test]
async fn secrets_in_spans_are_masked_unless_masking_is_off() {
    for (scrub, expected) in
        [("", "https://u:***@h/?token=***"), ("off", "https://u:s3cret@h/?token=s3cret")]
    {
        let honeycomb = Honeycomb::start().await;
        let builder = Sandbox::builder("echo").function(echo()).honeycomb(&honeycomb);
        let sandbox = builder.env("CRUDDUR_SCRUB", scrub).freezing(false).start().await;
        let name = "https://u:s3cret@h/?token=s3cret";

        let reply = post(&traces_url(&sandbox), &[PROTOBUF], otlp::request(&[name])).await;
        sandbox.invoke(raw_event(json!({}))).await;

        assert_eq!(reply.expect("an answer").status.as_u16(), 200);
        honeycomb.span(expected).await;
    }
}

#[tokio::test]
async fn refused_requests_are_logged_once_and_counted_in_the_last_summary() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = start(&honeycomb).await;
    let url = traces_url(&sandbox);

    for _ in 0..3 {
        let refused = post(&url, &[JSON], "{").await.expect("an answer");
        assert_refused(&refused, 400, "no JSON");
    }
    let refused = post(&url, &[("content-type", "text/plain")], "x").await.expect("an answer");
    assert_refused(&refused, 415, "another type");
    sandbox.shutdown().await;

    let log = sandbox.extension_log_lines();
    let about = |text: &str| log.iter().filter(|line| line.contains(text)).count();
    assert_eq!((about("refused as invalid"), about("refused as media_type")), (1, 1), "{log:#?}");
    let summary = log.iter().filter_map(|line| line.split_once("Summary: ")).next_back();
    let summary: serde_json::Value =
        serde_json::from_str(summary.expect("a summary").1).expect("JSON");
    assert_eq!(summary["refused"], json!({"otlp": {"invalid": 3, "media_type": 1}}));
}

#[tokio::test]
async fn truncated_gzip_is_refused() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = start(&honeycomb).await;
    let whole = gzip(&otlp::request(&["cut"]));

    for keep in [1, whole.len() / 2, whole.len() - 1] {
        let body = whole[..keep].to_vec();
        let refused = post(&traces_url(&sandbox), &[PROTOBUF, GZIP], body).await;

        assert_refused(&refused.expect("an answer"), 400, "truncated gzip");
        assert_still_delivers(&sandbox, &honeycomb, &format!("after {keep} bytes")).await;
    }
}

#[tokio::test]
async fn an_oversized_body_is_refused_before_and_after_decompression() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = start(&honeycomb).await;
    let long_name = "x".repeat(MAX_BODY_BYTES);
    let large = otlp::request(&[&long_name]);

    let plain = post(&traces_url(&sandbox), &[PROTOBUF], large.clone()).await;
    assert_still_delivers(&sandbox, &honeycomb, "after a large body").await;
    let bomb = post(&traces_url(&sandbox), &[PROTOBUF, GZIP], gzip(&large)).await;
    assert_still_delivers(&sandbox, &honeycomb, "after a bomb").await;

    // A client that still sends may find the connection closed instead of an answer.
    if let Ok(plain) = plain {
        assert_refused(&plain, 413, "a large body");
    }
    assert_refused(&bomb.expect("an answer"), 413, "a bomb");
    assert!(honeycomb.spans().iter().all(|span| span.name.len() < MAX_BODY_BYTES));
}

#[tokio::test]
async fn the_largest_limit_takes_a_compressed_request() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = Sandbox::builder("echo")
        .function(echo())
        .honeycomb(&honeycomb)
        .env("CRUDDUR_BUFFER_BYTES", &u64::MAX.to_string())
        .freezing(false)
        .start()
        .await;

    let body = gzip(&otlp::request(&["compressed"]));
    let taken = post(&traces_url(&sandbox), &[PROTOBUF, GZIP], body).await.expect("an answer");
    sandbox.invoke(raw_event(json!({}))).await;

    assert_eq!(taken.status, 200, "{:?}", taken.body);
    honeycomb.span("compressed").await;
}

#[tokio::test]
async fn another_path_method_or_type_is_refused() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = start(&honeycomb).await;
    let (url, body) = (traces_url(&sandbox), otlp::request(&["a"]));

    let path =
        post(&format!("{}/v1/nonsense", sandbox.otlp_url()), &[PROTOBUF], body.clone()).await;
    let method = get(&url, &[]).await;
    let wrong_type = post(&url, &[("content-type", "text/plain")], body.clone()).await;
    let no_type = post(&url, &[], body.clone()).await;
    let encoding = post(&url, &[PROTOBUF, ("content-encoding", "br")], body).await;

    assert_refused(&path.expect("an answer"), 404, "another path");
    let method = method.expect("an answer");
    assert_refused(&method, 405, "another method");
    assert_eq!(method.header("allow"), Some("POST"));
    assert_refused(&wrong_type.expect("an answer"), 415, "another type");
    assert_refused(&no_type.expect("an answer"), 415, "no type");
    assert_refused(&encoding.expect("an answer"), 415, "an unknown encoding");
    assert_still_delivers(&sandbox, &honeycomb, "afterwards").await;
}

#[tokio::test]
async fn connections_that_break_off_or_speak_no_http_harm_nobody() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = start(&honeycomb).await;
    let address = sandbox.otlp_url().replace("http://", "");
    let beginnings: [&[u8]; 4] = [
        b"",
        b"\x16\x03\x01 no HTTP at all\r\n\r\n",
        b"POST /v1/tra",
        b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n\
          content-length: 1000\r\n\r\nonly this",
    ];

    let mut silent = Vec::new();
    for beginning in beginnings {
        let mut broken = TcpStream::connect(&address).await.expect("a connection");
        broken.write_all(beginning).await.expect("a write");
        drop(broken);
        let mut open = TcpStream::connect(&address).await.expect("a connection");
        open.write_all(beginning).await.expect("a write");
        silent.push(open);
    }

    assert_still_delivers(&sandbox, &honeycomb, "afterwards").await;
}
