//! The same for OTLP/gRPC.

use cruddur_tests::grpc_client::{GrpcClient, TRACES, frame};
use cruddur_tests::{PATIENCE, otlp};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::noise;
use super::target::{BUFFER_BYTES, Target};

/// A good request over a new connection is taken. Its client tries again as SDKs do, since the receiver
/// may close an idle connection in favour of a newer one.
async fn assert_takes(target: &Target, what: &str) {
    let body = frame(false, &otlp::request(&[what]));
    let tried = async || {
        let client = GrpcClient::connect(target.otlp_grpc).await.ok()?;
        client.call(TRACES, &[], body.clone()).await.ok()?.code()
    };
    let taken = async { while tried().await != Some(0) {} };
    assert!(timeout(PATIENCE, taken).await.is_ok(), "{what}: not taken");
    target.assert_goes_on(what).await;
}

#[tokio::test]
async fn random_bytes_as_grpc_bodies_and_behind_the_preface() {
    let target = Target::start().await;
    let client = GrpcClient::connect(target.otlp_grpc).await.expect("a connection");

    for seed in 0..100 {
        let body = noise(1 + (seed as usize * 37) % 5_000, seed);
        let refused = client.call(TRACES, &[], body.clone()).await.expect("an answer");
        assert_ne!(refused.code(), Some(0), "seed {seed}");
        let refused = client.call(TRACES, &[], frame(false, &body)).await.expect("an answer");
        assert_eq!(refused.code(), Some(3), "seed {seed}");
        let mut connection = TcpStream::connect(target.otlp_grpc).await.expect("a connection");
        // It may be closed on the way.
        let _ = connection.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        let _ = connection.write_all(&body).await;
    }

    assert_takes(&target, "noise").await;
    target.end().await;
}

#[tokio::test]
async fn a_thousand_grpc_connections_that_say_nothing_or_stall() {
    let target = Target::start().await;
    let mut silent = Vec::new();
    for _ in 0..1_000 {
        let connection = TcpStream::connect(target.otlp_grpc).await.expect("a connection");
        silent.push(connection);
    }
    assert_takes(&target, "silence").await;

    // Some wait for a slot, which is free ten seconds later.
    let mut stalled = Vec::new();
    for _ in 0..100 {
        let address = target.otlp_grpc;
        stalled.push(tokio::spawn(async move {
            let client = GrpcClient::connect(address).await?;
            client.call_unfinished(TRACES, vec![0; 100]).await
        }));
    }
    assert_takes(&target, "stalled bodies").await;
    stalled.iter().for_each(|call| call.abort());
    target.end().await;
}

#[tokio::test]
async fn more_bytes_in_grpc_streams_than_there_is_room_for() {
    let target = Target::start().await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let client = GrpcClient::connect(target.otlp_grpc).await.expect("a connection");
        for _ in 0..8 {
            let client = client.clone();
            let body = vec![0; BUFFER_BYTES / 2];
            calls.spawn(async move { client.call_unfinished(TRACES, body).await });
        }
    }
    let codes: Vec<_> = calls.join_all().await.into_iter().map(|it| it.ok()?.code()).collect();

    // Those with room stall, and are cut after ten seconds.
    let busy = codes.iter().filter(|code| **code == Some(14)).count();
    let late = codes.iter().filter(|code| **code == Some(4)).count();
    assert!(busy >= 32 && busy + late == codes.len(), "{codes:?}");
    assert_takes(&target, "streams").await;
    target.end().await;
}
