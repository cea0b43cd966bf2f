//! The stream of new traces.

use cruddur_tests::otlp;
use http::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::{Instant, timeout},
};

use super::{LocalExtension, SOON, hex, request};

/// A reader of the stream, as a browser opens it.
struct EventSource(BufReader<TcpStream>);

impl EventSource {
    /// The status, and the reader.
    async fn open(extension: &LocalExtension) -> (u16, Self) {
        let mut stream = TcpStream::connect(extension.listen).await.expect("a connection");
        let head = format!("GET /api/stream HTTP/1.1\r\nhost: {}\r\n\r\n", extension.listen);
        stream.write_all(head.as_bytes()).await.expect("it reads");
        let mut source = Self(BufReader::new(stream));
        let status = source.line().await.expect("a status line");
        while source.line().await.is_some_and(|line| !line.is_empty()) {}
        (status.split(' ').nth(1).and_then(|it| it.parse().ok()).expect("a status"), source)
    }

    /// `None` at the end of the stream.
    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = timeout(20 * SOON, self.0.read_line(&mut line)).await.expect("a line in time");
        (read.unwrap_or(0) > 0).then(|| line.trim_end().to_owned())
    }

    /// The data of the next event of this name; `None` at the end of the stream.
    async fn next(&mut self, name: &str) -> Option<Value> {
        while self.line().await? != format!("event: {name}") {}
        let data = self.line().await?;
        Some(serde_json::from_str(data.strip_prefix("data: ")?).expect("JSON"))
    }
}

#[tokio::test]
async fn a_new_trace_is_sent_to_each_reader_within_a_second_and_a_clearance_too() {
    let extension = LocalExtension::start("127.78.3.1:4318").await;
    let (_, mut first) = EventSource::open(&extension).await;
    let (_, mut second) = EventSource::open(&extension).await;
    for source in [&mut first, &mut second] {
        source.next("hello").await.expect("an event");
    }
    let sent = request("/api/home", 200, 1);

    let began = Instant::now();
    extension.send(vec![sent.clone()]).await;
    for source in [&mut first, &mut second] {
        let traces = source.next("trace").await.expect("an event");
        assert_eq!(
            (&traces[0]["id"], &traces[0]["status"]),
            (&json!(hex(&sent.trace_id)), &json!(200))
        );
    }
    let took = began.elapsed();
    assert!(took < SOON, "{took:?}");

    extension.send_with(Method::POST, "/api/clear", &[]).await;
    assert!(first.next("clear").await.is_some());
}

#[tokio::test]
async fn a_restart_ends_the_stream_and_greets_with_another_number() {
    let extension = LocalExtension::start("127.78.3.2:4318").await;
    let (_, mut source) = EventSource::open(&extension).await;
    let before = source.next("hello").await.expect("an event");
    drop(extension);
    assert_eq!(source.next("trace").await, None);

    let extension = LocalExtension::start("127.78.3.2:4318").await;
    let (_, mut source) = EventSource::open(&extension).await;

    assert_ne!(source.next("hello").await.expect("an event"), before);
    assert_eq!(extension.json("/api/traces").await["traces"], json!([]));
}

#[tokio::test]
async fn readers_are_bounded_and_take_no_place_of_clients_that_send_spans() {
    let extension = LocalExtension::start("127.78.3.3:4318").await;
    let mut readers = Vec::new();
    for _ in 0..16 {
        let (status, mut source) = EventSource::open(&extension).await;
        assert_eq!(status, 200);
        source.next("hello").await.expect("an event");
        readers.push(source);
    }

    let (refused, _) = EventSource::open(&extension).await;
    assert_eq!(refused, 503);
    // As many clients as the receiver has places, beside the readers; then one more.
    let mut clients = Vec::new();
    for _ in 0..256 {
        clients.push(TcpStream::connect(extension.listen).await.expect("a connection"));
    }
    extension
        .send(vec![otlp::root_span("sent beside readers", std::time::SystemTime::now())])
        .await;
    for source in &mut readers {
        assert!(source.next("trace").await.is_some(), "a reader was disconnected");
    }
    drop(readers);
    let again = async {
        while EventSource::open(&extension).await.0 != 200 {
            tokio::task::yield_now().await;
        }
    };
    timeout(20 * SOON, again).await.expect("readers that are gone make room");
}
