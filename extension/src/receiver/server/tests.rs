//! Requests during a panic of the handler, and after a stop.

use std::{convert::identity, net::SocketAddr};

use http_body_util::BodyExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinHandle,
};

use http_body_util::Full;

use super::connection::{HEADER_TIMEOUT, IDLE_TIMEOUT};
use super::*;

mod http2;

/// A receiver that answers with the body it was sent, or panics over the path `/panic`.
async fn start() -> (SocketAddr, watch::Sender<bool>, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), watch::Sender::new(false));
    let handle = |request: Request<Incoming>| async {
        assert_ne!(request.uri().path(), "/panic", "a bug");
        Response::new(Full::new(request.into_body().collect().await.unwrap().to_bytes()))
    };
    let serve = tokio::spawn(serve(listener, stop.subscribe(), handle));
    (address, stop, serve)
}

/// The first line of the answer; empty without an answer.
async fn status(connection: &mut TcpStream) -> String {
    let mut answer = vec![0; 4_096];
    let bytes = connection.read(&mut answer).await.map_or(0, identity);
    let answer = String::from_utf8_lossy(&answer[..bytes]).into_owned();
    answer.lines().next().unwrap_or_default().to_owned()
}

async fn get(connection: &mut TcpStream, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    status(connection).await
}

#[tokio::test]
async fn a_panic_over_one_request_is_answered_500_and_the_next_one_is_served() {
    let (address, _stop, _serve) = start().await;
    let mut connection = TcpStream::connect(address).await.unwrap();

    assert_eq!(get(&mut connection, "/panic").await, "HTTP/1.1 500 Internal Server Error");
    assert_eq!(get(&mut connection, "/").await, "HTTP/1.1 200 OK");
}

#[tokio::test]
async fn a_request_whose_headers_a_freeze_interrupts_is_answered_after_the_thaw() {
    let (address, _stop, _serve) = start().await;
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(b"GET / HTTP/1.1\r\nho").await.unwrap();
    tokio::task::yield_now().await;

    // The server shares this thread, so it is frozen, too. It reads nothing before the thaw.
    std::thread::sleep(HEADER_TIMEOUT + std::time::Duration::from_secs(2));
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    connection.write_all(b"st: x\r\n\r\n").await.unwrap();

    assert_eq!(status(&mut connection).await, "HTTP/1.1 200 OK");
}

#[tokio::test]
async fn what_comes_after_the_stop_is_not_taken() {
    let (address, stop, serve) = start().await;
    let mut idle = TcpStream::connect(address).await.unwrap();
    assert_eq!(get(&mut idle, "/").await, "HTTP/1.1 200 OK");
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\na").await.unwrap();
    // Served in the order of their coming, so the slow one is under way by then.
    assert_eq!(get(&mut TcpStream::connect(address).await.unwrap(), "/").await, "HTTP/1.1 200 OK");

    stop.send_replace(true);
    serve.await.unwrap();

    let _ = slow.write_all(b"b").await; // it may be closed
    let _ = idle.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!((status(&mut slow).await, status(&mut idle).await), (String::new(), String::new()));
    assert!(TcpStream::connect(address).await.is_err());
}
