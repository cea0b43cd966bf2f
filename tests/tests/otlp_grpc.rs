//! OTLP/gRPC: every request gets the status that the specification asks for, and the next one is taken.

mod bad_frames;

use std::{io::Write, time::Duration};

use cruddur_tests::grpc_client::{GrpcClient, LOGS, METRICS, TRACES, frame};
use cruddur_tests::http_client::post;
use cruddur_tests::{Builder, Exit, Honeycomb, Recorded, Sandbox, event, otlp, raw_event};
use flate2::{Compression, write::GzEncoder};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::timeout};

use crate::otlp_receiver::with_a_bad_span;
use crate::puppet::echo;

/// The extension's limit for one request in these tests.
const MAX_BODY_BYTES: usize = 1 << 20;

const GZIP: (&str, &str) = ("grpc-encoding", "gzip");

fn builder(honeycomb: &Honeycomb) -> Builder {
    Sandbox::builder("echo")
        .function(echo())
        .honeycomb(honeycomb)
        .env("CRUDDUR_BUFFER_BYTES", &MAX_BODY_BYTES.to_string())
        .freezing(false)
}

async fn connect(sandbox: &Sandbox) -> GrpcClient {
    GrpcClient::connect(sandbox.otlp_grpc_address()).await.expect("a connection")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

/// Sends a span over this connection and waits until it is at Honeycomb.
async fn assert_still_delivers(
    sandbox: &Sandbox,
    client: &GrpcClient,
    honeycomb: &Honeycomb,
    name: &str,
) {
    let good = client.call(TRACES, &[], frame(false, &otlp::request(&[name]))).await;
    assert_eq!(good.expect("an answer").code(), Some(0), "{name}");
    sandbox.invoke(raw_event(json!({}))).await;
    honeycomb.span(name).await;
    assert!(sandbox.extension_is_alive().await);
}

/// The requests that the summary at the end of a sandbox counts as refused.
async fn refused(sandbox: &Sandbox) -> Value {
    sandbox.shutdown().await;
    let log = sandbox.extension_log_lines();
    let summary = log.iter().filter_map(|line| line.split_once("Summary: ")).next_back();
    let Some((_, summary)) = summary else { return Value::Null };
    serde_json::from_str::<Value>(summary).expect("JSON")["refused"].clone()
}

/// A request with one empty item: resource (1), scope (2), item (2).
const ONE_ITEM: &[u8] = b"\x0a\x04\x12\x02\x12\x00";

#[tokio::test]
async fn traces_logs_and_metrics_plain_and_gzip_are_taken_and_delivered() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = builder(&honeycomb).start().await;
    let client = connect(&sandbox).await;

    let (plain, zipped) = (otlp::request(&["plain"]), gzip(&otlp::request(&["gzip"])));
    let replies = [
        client.call(TRACES, &[], frame(false, &plain)).await,
        client.call(TRACES, &[GZIP], frame(true, &zipped)).await,
        client.call(LOGS, &[], frame(false, ONE_ITEM)).await,
        client.call(METRICS, &[], frame(false, ONE_ITEM)).await,
    ];
    sandbox.invoke(raw_event(json!({}))).await;

    for reply in replies {
        let reply = reply.expect("an answer");
        assert_eq!((reply.http_status.as_u16(), reply.code()), (200, Some(0)), "{reply:?}");
        assert!(reply.has_trailers, "{reply:?}");
        assert_eq!(reply.header("content-type"), Some("application/grpc"));
        assert_eq!(&reply.body[..], [0; 5], "full success leaves partial_success unset");
    }
    for name in ["plain", "gzip"] {
        assert_eq!(honeycomb.span(name).await.resource("service.name"), "a-test");
    }
    sandbox.shutdown().await;
    let is_taken = |request: &Recorded| request.status == Some(200);
    let paths = honeycomb.requests().into_iter().filter(is_taken).map(|request| request.path);
    let paths: Vec<_> = paths.collect();
    assert!(["/v1/logs", "/v1/metrics"].iter().all(|it| paths.iter().any(|path| path == it)));
}

#[tokio::test]
async fn a_bad_span_is_left_out_and_answered_as_a_partial_success() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = builder(&honeycomb).start().await;
    let client = connect(&sandbox).await;

    let some = frame(false, &with_a_bad_span(&["one", "bad", "two"]));
    let partly = client.call(TRACES, &[], some).await.expect("an answer");
    let none = client.call(TRACES, &[], frame(false, &with_a_bad_span(&["bad"]))).await;
    sandbox.invoke(raw_event(json!({}))).await;

    assert_eq!(partly.code(), Some(0));
    let response = ExportTraceServiceResponse::decode(partly.message()).expect("a response");
    let partial = response.partial_success.expect("a partial success");
    assert_eq!(partial.rejected_spans, 1, "{partial:?}");
    let none = none.expect("an answer");
    assert_eq!((none.code(), none.has_trailers), (Some(3), false), "{none:?}");
    for name in ["one", "two"] {
        honeycomb.span(name).await;
    }
    assert_eq!(refused(&sandbox).await, json!({"otlp": {"invalid": 2}}));
}

#[tokio::test]
async fn an_unknown_method_compression_or_media_type_is_refused_and_counted() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = builder(&honeycomb).start().await;
    let (client, good) = (connect(&sandbox).await, frame(false, &otlp::request(&["a"])));

    let profiles = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export";
    for path in [profiles, "/v1/traces", "/"] {
        let reply = client.call(path, &[], good.clone()).await.expect("an answer");
        assert_eq!((reply.http_status.as_u16(), reply.code()), (200, Some(12)), "{path}");
        assert!(reply.header("grpc-message").is_some_and(|it| it.contains("OTLP")), "{reply:?}");
    }
    let zstd = client.call(TRACES, &[("grpc-encoding", "zstd")], frame(true, b"x")).await;
    let json = client.call(TRACES, &[("content-type", "application/json")], "{}").await;

    let zstd = zstd.expect("an answer");
    assert_eq!(zstd.code(), Some(12));
    assert_eq!(zstd.header("grpc-accept-encoding"), Some("identity,gzip"));
    let json = json.expect("an answer");
    assert_eq!((json.http_status.as_u16(), json.code()), (415, None), "{json:?}");
    assert_still_delivers(&sandbox, &client, &honeycomb, "afterwards").await;
    assert_eq!(refused(&sandbox).await, json!({"otlp": {"path": 3, "media_type": 2}}));
}

#[tokio::test]
async fn a_request_without_room_is_answered_with_the_time_of_a_retry() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = builder(&honeycomb).start().await;

    // Two requests of the largest size have room.
    let mut unfinished = Vec::new();
    let beginning = vec![0; MAX_BODY_BYTES];
    for _ in 0..4 {
        let (client, beginning) = (connect(&sandbox).await, beginning.clone());
        let call = async move { client.call_unfinished(TRACES, beginning).await };
        unfinished.push(Box::pin(call));
    }
    let (reply, _, _) = futures_util::future::select_all(unfinished).await;

    let reply = reply.expect("an answer");
    assert_eq!(reply.code(), Some(14), "{reply:?}");
    let details = reply.header("grpc-status-details-bin").expect("details");
    let details = base64::Engine::decode(&base64::prelude::BASE64_STANDARD_NO_PAD, details);
    let details = details.expect("base64");
    let name = b"type.googleapis.com/google.rpc.RetryInfo";
    assert!(details.windows(name.len()).any(|bytes| bytes == name));
    assert!(details.ends_with(b"\x12\x04\x0a\x02\x08\x01"), "one second: {details:?}");
}

/// Invokes the function until the future is ready: between invocations the processes are frozen.
async fn during_invocations<T>(sandbox: &Sandbox, future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    loop {
        let ready = timeout(Duration::from_millis(200), &mut future);
        let (_, ready) = tokio::join!(sandbox.invoke(raw_event(json!({}))), ready);
        if let Ok(ready) = ready {
            return ready;
        }
    }
}

#[tokio::test]
async fn a_connection_works_after_the_freezes_between_invocations() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = Sandbox::builder("echo").function(echo()).honeycomb(&honeycomb).start().await;
    sandbox.invoke(raw_event(json!({}))).await;
    let client = during_invocations(&sandbox, connect(&sandbox)).await;

    for name in ["first", "second"] {
        let body = frame(false, &otlp::request(&[name]));
        let reply = during_invocations(&sandbox, client.call(TRACES, &[], body)).await;
        assert_eq!(reply.expect("an answer").code(), Some(0), "{name}");
    }

    sandbox.shutdown().await;
    honeycomb.span("first").await;
    honeycomb.span("second").await;
}

#[tokio::test]
async fn a_taken_port_is_one_line_and_everything_else_works() {
    let honeycomb = Honeycomb::start().await;
    let builder = Sandbox::builder("home-activities").honeycomb(&honeycomb).demo_store();
    let _squatter = TcpListener::bind(builder.otlp_grpc_address()).await.expect("a free port");

    let sandbox = builder.start().await;
    let reply = sandbox.invoke(event("home-activities")).await;
    honeycomb.server_span(&reply.request_id).await;
    let ended = sandbox.shutdown().await;

    assert_eq!((reply.status, ended.extension), (200, Some(Exit::Code(0))));
    let lines = sandbox.extension_log_lines();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("4317") && lines[0].contains("CRUDDUR_OTLP_GRPC_LISTEN"));
}

#[tokio::test]
async fn off_opens_no_port() {
    let honeycomb = Honeycomb::start().await;
    for off in ["off", ""] {
        let sandbox = builder(&honeycomb).env("CRUDDUR_OTLP_GRPC_LISTEN", off).start().await;

        assert!(GrpcClient::connect(sandbox.otlp_grpc_address()).await.is_err(), "{off:?}");
        let url = format!("{}/v1/traces", sandbox.otlp_url());
        let http = post(&url, &[("content-type", "application/x-protobuf")], "").await;
        assert_eq!(http.expect("an answer").status, 200);
    }
}
