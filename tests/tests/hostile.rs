//! Whatever is sent to either receiver, the extension stays alive and small, and good requests go on.

mod grpc;
pub(crate) mod target;

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use cruddur_tests::http_client::post;
use cruddur_tests::otlp;
use flate2::{Compression, write::GzEncoder};
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, any_value};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use self::target::{BUFFER_BYTES, Target};

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json");
const GZIP: (&str, &str) = ("content-encoding", "gzip");

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

/// Reproducible noise.
fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

#[tokio::test]
async fn random_bytes_as_bodies_and_as_whole_connections() {
    let target = Target::start().await;

    for seed in 0..100 {
        let body = noise(1 + (seed as usize * 37) % 5_000, seed);
        for headers in [vec![PROTOBUF], vec![JSON], vec![PROTOBUF, GZIP]] {
            let refused = post(&target.traces(), &headers, body.clone()).await.expect("an answer");
            assert_eq!(refused.status, 400, "seed {seed}");
        }
        let events = format!("http://{}/", target.telemetry);
        post(&events, &[JSON], body.clone()).await.expect("an answer");
        for address in target.both() {
            let mut connection = TcpStream::connect(address).await.expect("a connection");
            // It may be closed on the way.
            let _ = connection.write_all(&body).await;
        }
    }

    target.assert_goes_on("noise").await;
    target.end().await;
}

#[tokio::test]
async fn a_gzip_bomb() {
    let target = Target::start().await;
    // 1 GiB in members of 1 MiB, which in a row are one stream.
    let bomb = gzip(&vec![0; 1 << 20]).repeat(1 << 10);
    assert!(bomb.len() < 2 << 20, "{} bytes", bomb.len());

    for headers in [[PROTOBUF, GZIP], [JSON, GZIP]] {
        let refused = post(&target.traces(), &headers, bomb.clone()).await.expect("an answer");
        assert_eq!(refused.status, 413);
    }

    target.assert_goes_on("a bomb").await;
    target.end().await;
}

#[tokio::test]
async fn a_body_of_100_megabytes_announced_or_in_chunks() {
    let target = Target::start().await;
    let chunk = vec![b'a'; 1 << 20];
    let heads = [
        "content-length: 104857600\r\n\r\n".to_owned(),
        "transfer-encoding: chunked\r\n\r\n6400000\r\n".to_owned(),
    ];

    for address in target.both() {
        for head in &heads {
            let mut connection = TcpStream::connect(address).await.expect("a connection");
            let start =
                "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n";
            connection.write_all(format!("{start}{head}").as_bytes()).await.expect("a write");
            let mut written = 0;
            while written < 100 && connection.write_all(&chunk).await.is_ok() {
                written += 1;
            }
            assert!(written < 100, "all of it was read");
        }
    }

    target.assert_goes_on("a large body").await;
    target.end().await;
}

#[tokio::test]
async fn lengths_that_are_not_those_of_the_body() {
    let target = Target::start().await;
    let good = otlp::request(&["cut"]);
    let mut open = Vec::new();

    for address in target.both() {
        for length in
            ["0", "5", "18446744073709551615", "18446744073709551616", "-1", "abc", "9999"]
        {
            let mut connection = TcpStream::connect(address).await.expect("a connection");
            let head = format!(
                "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n\
                 content-length: {length}\r\n\r\n"
            );
            connection.write_all(head.as_bytes()).await.expect("a write");
            let _ = connection.write_all(&good).await;
            open.push(connection);
        }
    }

    target.assert_goes_on("lengths").await;
    drop(open);
    target.end().await;
}

#[tokio::test]
async fn who_sends_a_byte_a_second_is_cut_off() {
    let target = Target::start().await;
    let heads = [
        "POST /v1/traces HTTP/1.1\r\nhost: x\r\nx-slow: ",
        "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n\
         content-length: 1000\r\n\r\n",
    ];

    let mut slow = tokio::task::JoinSet::new();
    for address in target.both() {
        for head in heads {
            slow.spawn(async move {
                let mut connection = TcpStream::connect(address).await.expect("a connection");
                connection.write_all(head.as_bytes()).await.expect("a write");
                // Longer than both limits together.
                for _ in 0..20 {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    if connection.write_all(b"a").await.is_err() {
                        return true;
                    }
                    let mut answer = [0];
                    let answered = connection.try_read(&mut answer);
                    if answered.is_ok() {
                        return true;
                    }
                }
                false
            });
        }
    }
    target.assert_goes_on("slow clients at work").await;

    assert!(slow.join_all().await.into_iter().all(|cut_off| cut_off));
    target.end().await;
}

#[tokio::test]
async fn texts_that_are_no_utf8_nesting_without_end_and_fields_from_the_future() {
    let target = Target::start().await;
    let url = target.traces();
    let mut no_utf8 = otlp::request(&["name"]);
    let at =
        no_utf8.windows(6).position(|bytes| bytes == b"\x2a\x04name").expect("the span's name");
    no_utf8[at + 2] = 0xff;
    let mut from_the_future = otlp::request(&["future"]);
    // Field 1000, a varint; field 1001, four bytes; field 1002, a message.
    from_the_future.extend([0xc0, 0x3e, 0x07, 0xcd, 0x3e, 1, 2, 3, 4, 0xd2, 0x3e, 0x01, 0x00]);
    let deep_json = format!("{}{}", "[".repeat(1 << 20), "]".repeat(1 << 20));

    let bad = post(&url, &[PROTOBUF], no_utf8).await.expect("an answer");
    let deep = post(&url, &[PROTOBUF], deep_attribute(10_000)).await.expect("an answer");
    let json = post(&url, &[JSON], deep_json.clone()).await.expect("an answer");
    let future = post(&url, &[PROTOBUF], from_the_future).await.expect("an answer");
    let events = format!("http://{}/", target.telemetry);
    post(&events, &[JSON], deep_json).await.expect("an answer");

    // Each invalid byte is one replacement character.
    assert_eq!((bad.status.as_u16(), json.status.as_u16()), (200, 400));
    assert!(deep.status == 400 || deep.status == 200, "{}", deep.status);
    assert_eq!(future.status, 200);
    target.assert_goes_on("contents").await;
    target.honeycomb.span("future").await;
    target.honeycomb.span("\u{fffd}ame").await;
    target.end().await;
}

/// A span whose only attribute is an array in an array in an array.
fn deep_attribute(depth: usize) -> Vec<u8> {
    // By hand from the inside: a deep value could not even be dropped.
    let mut value = Vec::new();
    for _ in 0..depth {
        // ArrayValue.values (1), then AnyValue.array_value (5).
        for field in [1, 5] {
            let mut outer = Vec::with_capacity(value.len() + 8);
            prost::encoding::encode_key(
                field,
                prost::encoding::WireType::LengthDelimited,
                &mut outer,
            );
            prost::encoding::encode_varint(value.len() as u64, &mut outer);
            outer.append(&mut value);
            value = outer;
        }
    }
    // ResourceSpans (1), ScopeSpans (2), Span (2), attributes (9), value (2).
    for field in [2, 9, 2, 2, 1] {
        let mut outer = Vec::with_capacity(value.len() + 8);
        prost::encoding::encode_key(field, prost::encoding::WireType::LengthDelimited, &mut outer);
        prost::encoding::encode_varint(value.len() as u64, &mut outer);
        outer.append(&mut value);
        value = outer;
    }
    value
}

#[test]
fn a_deep_attribute_is_what_it_says() {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;

    let request = ExportTraceServiceRequest::decode(&deep_attribute(2)[..]).expect("OTLP");

    let span = &request.resource_spans[0].scope_spans[0].spans[0];
    let array = |values| any_value::Value::ArrayValue(ArrayValue { values });
    let inner = array(vec![AnyValue::default()]);
    let value = array(vec![AnyValue { value: Some(inner) }]);
    assert_eq!(span.attributes[0].value, Some(AnyValue { value: Some(value) }));
}

/// A client in the middle of its body.
async fn unfinished_request(address: SocketAddr, bytes: usize) -> TcpStream {
    let mut connection = TcpStream::connect(address).await.expect("a connection");
    let head = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n\
                content-length: 4194304\r\n\r\n";
    connection.write_all(head.as_bytes()).await.expect("a write");
    // It may be refused on the way.
    let _ = connection.write_all(&vec![0; bytes]).await;
    connection
}

#[tokio::test]
async fn a_thousand_connections_that_say_nothing() {
    let target = Target::start().await;
    let mut idle = Vec::new();
    for address in target.both() {
        for _ in 0..500 {
            idle.push(TcpStream::connect(address).await.expect("a connection"));
        }
    }

    target.assert_goes_on("idle connections").await;
    target.assert_descriptors_are_bounded().await;

    // They are closed in the end, so that a descriptor is nobody's for ever.
    for mut connection in idle {
        let closed = tokio::time::timeout(Duration::from_secs(20), connection.read(&mut [0])).await;
        assert!(closed.is_ok(), "a silent connection stays open");
    }
    target.end().await;
}

#[tokio::test]
async fn more_requests_under_way_than_there_are_places() {
    let target = Target::start().await;
    let mut open = Vec::new();
    for address in target.both() {
        for _ in 0..300 {
            open.push(unfinished_request(address, 1).await);
        }
    }
    target.assert_descriptors_are_bounded().await;

    drop(open);

    target.assert_goes_on("requests under way").await;
    target.end().await;
}

#[tokio::test]
async fn more_bytes_under_way_than_there_is_room_for() {
    let target = Target::start().await;
    let mut answers = tokio::task::JoinSet::new();
    for address in target.both() {
        for _ in 0..30 {
            answers.spawn(async move {
                let mut connection = unfinished_request(address, 1_000_000).await;
                let mut answer = vec![0; 12];
                let read = connection.read_exact(&mut answer);
                let read = tokio::time::timeout(Duration::from_secs(5), read).await;
                read.is_ok_and(|read| read.is_ok() && answer == b"HTTP/1.1 503")
            });
        }
    }
    let refused = answers.join_all().await.into_iter().filter(|refused| *refused).count();

    // Of 60 MB some 24 MiB fit, and as much as is sent before all clients have begun.
    assert!(refused >= 10, "{refused} were refused");
    target.assert_goes_on("bodies under way").await;
    target.end().await;
}

#[tokio::test]
async fn json_that_is_small_until_it_is_decoded() {
    let target = Target::start().await;
    let objects = "{},".repeat(1_300_000);
    let spans = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{objects}{{}}]}}]}}]}}"#);
    assert!(spans.len() < BUFFER_BYTES);

    let taken = post(&target.traces(), &[JSON], spans).await.expect("an answer");

    assert_eq!(taken.status, 200);
    target.assert_goes_on("JSON").await;
    target.end().await;
}

#[tokio::test]
async fn a_request_full_of_spans_that_failed() {
    let target = Target::start().await;
    // ResourceSpans (1), ScopeSpans (2): trace id (1), span id (2), kind SERVER or none (6), status
    // (15) error; each in a trace of its own.
    let span = |number: u32| {
        let id = number.to_be_bytes();
        let mut span = vec![1 << 3 | 2, 16, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1];
        span.extend(id);
        span.extend([2 << 3 | 2, 8, 2, 2, 2, 2]);
        span.extend(id);
        span.extend([15 << 3 | 2, 2, 3 << 3, 2]);
        [&[2 << 3 | 2, span.len() as u8], &span[..]].concat()
    };
    let mut request: Vec<u8> = (0..100_000).flat_map(span).collect();
    for field in [2, 1] {
        let mut outer = vec![field << 3 | 2];
        prost::encoding::encode_varint(request.len() as u64, &mut outer);
        outer.append(&mut request);
        request = outer;
    }
    assert!(request.len() < BUFFER_BYTES);

    let taken = post(&target.traces(), &[PROTOBUF], request).await.expect("an answer");

    assert_eq!(taken.status, 200);
    target.assert_goes_on("failing spans").await;
    assert!(target.rollbar.items().len() < 100, "{}", target.rollbar.items().len());
    target.end().await;
}

#[tokio::test]
async fn ten_thousand_tiny_requests_on_one_connection() {
    let target = Target::start().await;
    let request = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\
                   content-type: application/x-protobuf\r\n\r\n";
    let (mut reader, mut writer) =
        TcpStream::connect(target.otlp).await.expect("a connection").into_split();

    let writing = tokio::spawn(async move {
        for _ in 0..10_000 {
            writer.write_all(request.as_bytes()).await.expect("a write");
        }
        writer
    });
    let (mut answers, mut buffer) = (0, vec![0; 64 << 10]);
    let mut rest = String::new();
    while answers < 10_000 {
        let bytes = reader.read(&mut buffer).await.expect("answers");
        assert!(bytes > 0, "closed after {answers} answers");
        rest.push_str(std::str::from_utf8(&buffer[..bytes]).expect("text"));
        while let Some(end) = rest.find("\r\n\r\n") {
            assert!(rest.starts_with("HTTP/1.1 200"), "{rest}");
            rest.drain(..end + 4);
            answers += 1;
        }
    }

    target.assert_goes_on("tiny requests").await;
    drop(writing.await);
    target.end().await;
}
