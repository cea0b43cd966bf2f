//! Raw replies of servers that differ from Honeycomb.

use std::{
    io::{BufRead, BufReader, Read, Write},
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
    for (reply, rejected) in [
        ("HTTP/1.0 200 OK\r\n\r\n".to_owned(), 0),
        (format!("HTTP/1.0 200 OK\r\n\r\n{partly}"), 1),
        (format!("HTTP/1.1 200 OK\r\n\r\n{partly}"), 1),
        (format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n{partly}"), 1),
        ("HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_owned(), 0),
        ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), 0),
        (chunked, 1),
        ("HTTP/1.1 200 OK\r\ncontent-length: 44\r\n\r\n{\"partialSuccess\":{\"rejectedSpans\":\"1\"}}    ".to_owned(), 1),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".to_owned(), 0),
    ] {
        let head = reply[..reply.len().min(120)].to_owned();
        let result = answered(reply.into_bytes()).await;

        assert_eq!(result.unwrap(), ExportOutcome { rejected, unsampled: 0 }, "{head}");
    }
    let below_zero = [&b"HTTP/1.0 200 OK\r\n\r\n\x0a\x0b\x08"[..], &[0xff; 9], &[1]].concat();
    assert_eq!(answered(below_zero).await.unwrap(), ExportOutcome::default());
}

#[tokio::test]
async fn a_partial_success_with_a_long_reason_counts() {
    let reason = vec![b'x'; 20_000];
    let partial = [&b"\x08\x02\x12\xa0\x9c\x01"[..], &reason].concat();
    let body = [&b"\x0a\xa6\x9c\x01"[..], &partial].concat();
    let reply = [b"HTTP/1.0 200 OK\r\n\r\n", &body[..]].concat();

    let result = answered(reply).await;

    assert_eq!(result.unwrap(), ExportOutcome { rejected: 2, unsampled: 0 });
}

#[tokio::test]
async fn a_success_whose_body_is_too_long_is_not_retried_and_no_delivery() {
    let reply = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(10_000_000));

    let error = answered(reply.into_bytes()).await.unwrap_err();

    assert!(error.is_final() && !error.is_about_content(), "{error}");
    assert!(!error.is_definitive(), "the destination may have the batch: {error}");
}

#[tokio::test]
async fn a_reply_that_does_not_answer_the_batch_keeps_it() {
    for reply in [
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n\x0a\x02",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\n\x0a\x02\x08\x01\r\n",
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n\r\n<html>Sign in</html>",
        "HTTP/1.1 200 OK\r\ncontent-type: Text/HTML; charset=utf-8\r\ncontent-length: 10\r\n\r\n \n<html/>  ",
        "HTTP/1.1 200 OK\r\n\r\n<!DOCTYPE html><html>Sign in</html>",
        "HTTP/1.1 200 OK\r\n\r\n\x0a\x64\x08\x01",
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

/// A request as it was on the wire: the encoding and the body, decompressed.
type SentRequest = (String, Vec<u8>);

/// Answers each request of a new connection with the next reply.
fn backend(replies: Vec<&'static str>) -> (String, std::thread::JoinHandle<Vec<SentRequest>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = move |reply: &str| {
        let (connection, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(connection);
        let (mut length, mut encoding) = (0, "none".to_owned());
        let mut line = String::new();
        while reader.read_line(&mut line).unwrap() > 2 {
            let (name, value) = line.trim().split_once(": ").unwrap_or_default();
            match name {
                "content-length" => length = value.parse().unwrap(),
                "content-encoding" => encoding = value.to_owned(),
                _ => {}
            }
            line.clear();
        }
        let (mut body, mut plain) = (vec![0; length], Vec::new());
        reader.read_exact(&mut body).unwrap();
        reader.get_mut().write_all(reply.as_bytes()).unwrap();
        match encoding.as_str() {
            "zstd" => plain = zstd::decode_all(&body[..]).unwrap(),
            "gzip" => drop(flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut plain)),
            _ => plain = body,
        }
        (encoding, plain)
    };
    (url, std::thread::spawn(move || replies.into_iter().map(answer).collect()))
}

const OK: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Exports `batches` equal batches, and returns the encodings of the requests and the results.
async fn encodings(
    compression: &str,
    batches: usize,
    replies: Vec<&'static str>,
) -> (Vec<String>, Vec<Result<ExportOutcome, ExportError>>) {
    let (url, requests) = backend(replies);
    let (config, errors) = Config::from_vars(|name| match name {
        "CRUDDUR_OTLP_HEADERS" => Some("authorization=x".into()),
        "HONEYCOMB_API_ENDPOINT" => Some(url.clone()),
        "OTEL_EXPORTER_OTLP_COMPRESSION" => Some(compression.to_owned()),
        _ => None,
    });
    assert_eq!(errors, []);
    let plain = [0x0a, 4, 0x12, 2, 0x12, 0];
    let (payload, _) = Payload::read(SignalKind::Traces, plain.to_vec().into()).unwrap();
    let batch = Batch::of(SignalKind::Traces, [&payload].into_iter()).unwrap();
    let mut honeycomb = Honeycomb::new(config.exporters.get::<HoneycombConfig>().unwrap().clone());
    let mut results = Vec::new();
    for _ in 0..batches {
        results.push(honeycomb.export(&batch).await);
    }
    let requests = requests.join().unwrap();
    assert!(requests.iter().all(|(_, body)| body == &plain), "{requests:?}");
    (requests.into_iter().map(|(encoding, _)| encoding).collect(), results)
}

#[tokio::test]
async fn a_destination_that_refuses_zstd_gets_gzip_from_then_on() {
    for refusal in [
        "HTTP/1.1 415 No\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 400 No\r\nconnection: close\r\ncontent-length: 33\r\n\r\nunsupported Content-Encoding: zstd",
    ] {
        let (encodings, results) = encodings("", 2, vec![refusal, OK, OK]).await;

        assert_eq!(encodings, ["zstd", "gzip", "gzip"], "{refusal}");
        assert!(results.iter().all(Result::is_ok), "{results:?}");
    }
}

#[tokio::test]
async fn a_refusal_for_another_reason_does_not_change_the_compression() {
    let bad_type = "HTTP/1.1 415 No\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let bad_span = "HTTP/1.1 400 No\r\nconnection: close\r\ncontent-length: 8\r\n\r\nbad span";

    let (encodings_of_type, refused) = encodings("", 2, vec![bad_type, bad_type, OK]).await;
    let (encodings_of_span, _) = encodings("", 2, vec![bad_span, OK]).await;

    assert_eq!(encodings_of_type, ["zstd", "gzip", "zstd"]);
    assert!(refused[0].as_ref().is_err_and(ExportError::is_final), "{refused:?}");
    assert_eq!(encodings_of_span, ["zstd", "zstd"]);
}

#[tokio::test]
async fn a_configured_compression_is_used_and_never_changed() {
    let refusal = "HTTP/1.1 415 No\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    for (configured, encoding) in [("gzip", "gzip"), ("ZSTD", "zstd"), ("none", "none")] {
        let (encodings, results) = encodings(configured, 2, vec![refusal, OK]).await;

        assert_eq!(encodings, [encoding, encoding], "{configured}");
        assert!(results[0].is_err() && results[1].is_ok(), "{results:?}");
    }
}
