//! Raw replies of servers that differ from Honeycomb.

use std::{
    io::{Read, Write},
    net::TcpListener,
};

use super::*;
use crate::config::Config;
use crate::otlp::payload::Payload;

/// Sends three spans to a server that writes `reply` and closes the connection.
async fn answered(reply: Vec<u8>) -> Result<ExportOutcome, ExportError> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::task::spawn_blocking(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let mut request = vec![0; 64 << 10];
        let bytes = connection.read(&mut request).unwrap();
        assert!(request[..bytes].starts_with(b"POST /v1/traces HTTP/1.1\r\n"));
        let _ = connection.write_all(&reply); // it need not be read to its end
    });
    let (config, _) = Config::from_vars(|name| match name {
        "HONEYCOMB_API_KEY" => Some("key".into()),
        "HONEYCOMB_API_ENDPOINT" => Some(url.clone()),
        _ => None,
    });
    let request = [0x0a, 8, 0x12, 6, 0x12, 0, 0x12, 0, 0x12, 0];
    let (signal, _) = Payload::read(SignalKind::Traces, request.to_vec().into()).unwrap();
    let batch = Batch::of(SignalKind::Traces, [&signal].into_iter()).unwrap();
    let result = Honeycomb::new(config.exporters.get::<HoneycombConfig>().unwrap().clone())
        .export(&batch)
        .await;
    server.await.unwrap();
    result
}

#[tokio::test]
async fn a_success_is_delivered_in_every_framing() {
    let partly = "\x0a\x02\x08\x01"; // one of them rejected
    let chunked =
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\n{partly}\r\n0\r\n\r\n");
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(100_000_000));
    for (reply, rejected) in [
        ("HTTP/1.0 200 OK\r\n\r\n".to_owned(), 0),
        (format!("HTTP/1.0 200 OK\r\n\r\n{partly}"), 1),
        (format!("HTTP/1.1 200 OK\r\n\r\n{partly}"), 1),
        (format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n{partly}"), 1),
        ("HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_owned(), 0),
        ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), 0),
        (chunked, 1),
        // The body is incomplete, but the status proves the delivery.
        ("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n\x0a\x02".to_owned(), 0),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".to_owned(), 0),
        (endless, 0),
    ] {
        let head = reply[..reply.len().min(120)].to_owned();
        let result = answered(reply.into_bytes()).await;

        assert_eq!(result.unwrap(), ExportOutcome { rejected, unsampled: 0 }, "{head}");
    }
    let below_zero = [&b"HTTP/1.0 200 OK\r\n\r\n\x0a\x0b\x08"[..], &[0xff; 9], &[1]].concat();
    assert_eq!(answered(below_zero).await.unwrap(), ExportOutcome::default());
}

#[tokio::test]
async fn a_reply_that_does_not_answer_the_batch_keeps_it() {
    for reply in [
        "",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 ",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 308 Permanent Redirect\r\nlocation: /elsewhere\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\n\r\n",
        "HTTP/1.1 999 Whatever\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
    ] {
        let result = answered(reply.into()).await;

        assert!(result.as_ref().is_err_and(|error| !error.is_final()), "{reply}: {result:?}");
    }
}
