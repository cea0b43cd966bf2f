//! Bytes that are not a unary gRPC request.

use std::time::Duration;

use cruddur_tests::grpc_client::{GrpcClient, TRACES, frame};
use cruddur_tests::http_client::post;
use cruddur_tests::{Honeycomb, PATIENCE, otlp};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{GZIP, MAX_BODY_BYTES, assert_still_delivers, builder, connect, gzip, refused};

#[tokio::test]
async fn bad_frames_are_refused_and_the_connection_goes_on() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = builder(&honeycomb).start().await;
    let client = connect(&sandbox).await;
    let good = frame(false, &otlp::request(&["bad"]));
    let zipped = gzip(&otlp::request(&["bad"]));
    let bomb = gzip(&vec![0; MAX_BODY_BYTES + 1]);
    let over_the_limit = u32::try_from(MAX_BODY_BYTES + 1).expect("a length").to_be_bytes();
    let with_flag_2 = [&[2], &good[1..]].concat();
    let cases: [(&str, u16, Vec<u8>); 13] = [
        ("no message", 3, Vec::new()),
        ("a length cut off", 3, good[..4].to_vec()),
        ("a message cut off", 3, good[..good.len() - 1].to_vec()),
        ("two messages", 3, good.repeat(2)),
        ("a byte behind the message", 3, [&good[..], b"x"].concat()),
        ("an unknown flag", 3, with_flag_2),
        ("a message that is not gzip", 3, frame(true, &otlp::request(&["bad"]))),
        ("gzip cut off", 3, frame(true, &zipped[..zipped.len() - 1])),
        ("a message that is not protobuf", 3, frame(false, b"\xff\xff garbage")),
        ("a length over the limit", 8, [&[0], &over_the_limit[..]].concat()),
        ("the largest length", 8, b"\0\xff\xff\xff\xff".to_vec()),
        ("a message over the limit", 8, frame(false, &vec![0; MAX_BODY_BYTES + 1])),
        ("a gzip bomb", 8, frame(true, &bomb)),
    ];

    for (what, code, body) in cases {
        let reply = client.call(TRACES, &[GZIP], body).await.expect(what);

        assert_eq!((reply.http_status.as_u16(), reply.code()), (200, Some(code)), "{what}");
        assert!(reply.header("grpc-message").is_some_and(|it| !it.is_empty()), "{reply:?}");
        assert_eq!(reply.header("grpc-status-details-bin"), None, "{what} is sent again");
    }
    let without_encoding = client.call(TRACES, &[], frame(true, &zipped)).await.expect("an answer");
    assert_eq!(without_encoding.code(), Some(3), "compressed, but no encoding is named");

    assert_still_delivers(&sandbox, &client, &honeycomb, "afterwards").await;
    assert!(honeycomb.spans().iter().all(|span| span.name != "bad"));
    assert_eq!(refused(&sandbox).await, json!({"otlp": {"invalid": 10, "too_large": 4}}));
}

#[tokio::test]
async fn a_reset_in_a_body_ends_only_its_request() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = builder(&honeycomb).start().await;
    let client = connect(&sandbox).await;
    let body = frame(false, &otlp::request(&["reset"]));

    for _ in 0..100 {
        let unfinished = client.call_unfinished(TRACES, body[..body.len() / 2].to_vec());
        // Dropped, and so reset, once the other call is answered.
        let other = client.call(TRACES, &[], frame(false, b""));
        let answered = tokio::select! {
            reply = unfinished => panic!("an answer to half a request: {reply:?}"),
            reply = other => reply,
        };
        assert_eq!(answered.expect("an answer").code(), Some(0));
    }

    assert_still_delivers(&sandbox, &client, &honeycomb, "afterwards").await;
    assert!(honeycomb.spans().iter().all(|span| span.name != "reset"));
}

#[tokio::test]
async fn a_body_that_stalls_is_answered_and_the_connection_goes_on() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = builder(&honeycomb).start().await;
    let client = connect(&sandbox).await;

    let unfinished = client.call_unfinished(TRACES, b"\0\0".to_vec());
    let reply = timeout(Duration::from_secs(30), unfinished).await.expect("a time limit");

    assert_eq!(reply.expect("an answer").code(), Some(4));
    assert_still_delivers(&sandbox, &client, &honeycomb, "afterwards").await;
    assert_eq!(refused(&sandbox).await, json!({"otlp": {"late": 1}}));
}

#[tokio::test]
async fn http_1_1_gets_an_answer_that_names_the_other_port_and_is_counted() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = builder(&honeycomb).start().await;
    let url = format!("http://{}/v1/traces", sandbox.otlp_grpc_address());

    let json = post(&url, &[("content-type", "application/json")], "{}").await.expect("an answer");
    let grpc = post(&url, &[("content-type", "application/grpc")], frame(false, b"")).await;

    assert_eq!(json.status, 415);
    let message = json.json()["message"].clone();
    assert!(message.as_str().is_some_and(|it| it.contains("CRUDDUR_OTLP_LISTEN")), "{message}");
    assert_eq!(grpc.expect("an answer").status, 505);
    assert_eq!(refused(&sandbox).await, json!({"otlp": {"media_type": 1, "failed": 1}}));
}

#[tokio::test]
async fn connections_that_are_not_http_2_harm_no_other() {
    let honeycomb = Honeycomb::start().await;
    let sandbox = builder(&honeycomb).start().await;
    let address = sandbox.otlp_grpc_address();
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let beginnings: [(&str, Vec<u8>); 7] = [
        ("nothing", Vec::new()),
        ("half a preface", PREFACE[..10].to_vec()),
        ("the preface alone", PREFACE.to_vec()),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 no HTTP at all".to_vec()),
        ("a preface and garbage", [PREFACE, &[0xff; 64]].concat()),
        ("a frame of 16 MB", [PREFACE, b"\xff\xff\xff\x00\x00\x00\x00\x00\x01"].concat()),
        ("half a frame", [PREFACE, b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00"].concat()),
    ];

    let mut silent = Vec::new();
    for (what, beginning) in &beginnings {
        for stays_open in [false, true] {
            let mut broken = TcpStream::connect(address).await.expect("a connection");
            broken.write_all(beginning).await.expect("a write");
            if stays_open {
                silent.push((*what, broken));
            }
        }
    }
    for (what, connection) in &mut silent {
        if ["TLS", "a preface and garbage", "a frame of 16 MB"].contains(what) {
            let mut answer = Vec::new();
            // A reset is an end as well.
            let ended = timeout(PATIENCE, connection.read_to_end(&mut answer)).await;
            assert!(ended.is_ok(), "{what} is read on");
        }
    }

    let client = GrpcClient::connect(address).await.expect("a connection");
    assert_still_delivers(&sandbox, &client, &honeycomb, "afterwards").await;
}
