//! Connections of HTTP/2: their end by a panic, a stop, a lack of slots or a time without requests.

use std::time::Duration;

use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::time::Instant;

use super::*;

/// The receiver of [`super::start`] over HTTP/2. The path `/stall` is never answered.
async fn start() -> (SocketAddr, watch::Sender<bool>, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), watch::Sender::new(false));
    let handle = |request: Request<Incoming>| async {
        assert_ne!(request.uri().path(), "/panic", "a bug");
        if request.uri().path() == "/stall" {
            std::future::pending::<()>().await;
        }
        Response::new(Full::new(request.into_body().collect().await.unwrap().to_bytes()))
    };
    let serve = tokio::spawn(serve_http2(listener, stop.subscribe(), handle));
    (address, stop, serve)
}

type Client = SendRequest<Full<bytes::Bytes>>;

/// A client, and the task that ends with its connection.
async fn connect(address: SocketAddr) -> (Client, JoinHandle<hyper::Result<()>>) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (client, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    (client, tokio::spawn(connection))
}

/// The status of the answer; `None` without an answer.
async fn get(client: &mut Client, path: &str) -> Option<u16> {
    let request = Request::get(format!("http://x{path}")).body(Full::default()).unwrap();
    let reply = client.send_request(request).await.ok()?;
    Some(reply.status().as_u16())
}

#[tokio::test]
async fn a_panic_is_answered_500_and_the_next_request_of_the_connection_is_served() {
    let (address, _stop, _serve) = start().await;
    let (mut client, _connection) = connect(address).await;

    assert_eq!(get(&mut client, "/panic").await, Some(500));
    assert_eq!(get(&mut client, "/").await, Some(200));
}

#[tokio::test]
async fn a_stop_ends_idle_and_busy_connections() {
    let (address, stop, serve) = start().await;
    let (mut idle, idle_connection) = connect(address).await;
    let (mut busy, busy_connection) = connect(address).await;
    assert_eq!(get(&mut idle, "/").await, Some(200));
    let stalled = tokio::spawn({
        let mut busy = busy.clone();
        async move { get(&mut busy, "/stall").await }
    });
    // Served behind the stalled request of the same connection.
    assert_eq!(get(&mut busy, "/").await, Some(200));

    stop.send_replace(true);
    serve.await.unwrap();

    assert_eq!(stalled.await.unwrap(), None);
    assert_eq!((get(&mut idle, "/").await, get(&mut busy, "/").await), (None, None));
    let _ = (idle_connection.await.unwrap(), busy_connection.await.unwrap());
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_connection_without_a_free_slot_replaces_an_idle_one() {
    let (address, _stop, _serve) = start().await;
    let mut idle = Vec::new();
    for _ in 0..MAX_HTTP2_CONNECTIONS - 1 {
        let (mut client, connection) = connect(address).await;
        assert_eq!(get(&mut client, "/").await, Some(200));
        idle.push((client, connection));
    }

    for _ in 0..MAX_HTTP2_CONNECTIONS {
        let (mut client, _connection) = connect(address).await;
        assert_eq!(get(&mut client, "/").await, Some(200));
    }
}

#[tokio::test]
async fn a_connection_that_becomes_idle_makes_room_for_one_that_waits() {
    let (address, _stop, _serve) = start().await;
    let mut busy = Vec::new();
    for _ in 0..MAX_HTTP2_CONNECTIONS {
        let (mut client, connection) = connect(address).await;
        let mut stalling = client.clone();
        let stalled = tokio::spawn(async move { get(&mut stalling, "/stall").await });
        // Served behind the stalled request.
        assert_eq!(get(&mut client, "/").await, Some(200));
        busy.push((client, connection, stalled));
    }
    let (mut waiting, _connection) = connect(address).await;
    let waiting = tokio::spawn(async move { get(&mut waiting, "/").await });

    for (mut client, _connection, stalled) in busy.drain(..1) {
        stalled.abort(); // resets the request
        let _ = stalled.await;
        assert_eq!(get(&mut client, "/").await, Some(200), "its last answer is not lost");
    }

    assert_eq!(waiting.await.unwrap(), Some(200));
}

#[tokio::test]
async fn a_connection_is_closed_after_a_time_without_requests() {
    let (address, _stop, _serve) = start().await;
    let (mut client, connection) = connect(address).await;
    assert_eq!(get(&mut client, "/").await, Some(200));
    let mut silent = TcpStream::connect(address).await.unwrap();
    silent.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
    assert_eq!(get(&mut client, "/").await, Some(200)); // the server has read both

    tokio::time::pause();
    let began = Instant::now();
    assert_eq!(silent.read(&mut [0]).await.unwrap(), 0, "half a preface");
    let _ = connection.await.unwrap();

    let waited = began.elapsed();
    assert!(waited >= IDLE_TIMEOUT && waited < 3 * IDLE_TIMEOUT, "{waited:?}");
    assert_eq!(get(&mut client, "/").await, None);
    assert!(waited > Duration::from_secs(60), "shorter than the interval of metrics");
}
