//! One connection: HTTP/1.1, or HTTP/2 with several requests at once.
//!
//! A freeze advances none of the time limits.

mod preface;

use std::{
    convert::Infallible,
    io::Cursor,
    net::IpAddr,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, join},
    net::TcpStream,
    sync::{Notify, OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};
use tracing::info;

use crate::client::freeze::sleep_awake;
use crate::receiver::answer::AnswerBody;
use crate::receiver::timer::AwakeTimer;

/// The time limit for headers of HTTP/1.1, from the connection or the last answer. Clients are local.
pub(super) const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// The time without requests after which a connection of HTTP/2 is closed, at most twice that. It is longer
/// than the interval at which clients send metrics, 60 s by default.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// The time for requests in progress when a connection is closed, a part of the drain's budget.
const CLOSE_GRACE: Duration = Duration::from_millis(100);

/// Most requests at once on a connection of HTTP/2. An SDK sends one of each signal.
const MAX_STREAMS: u32 = 32;

/// Most unread bytes of a connection of HTTP/2, and of each of its requests. Requests are read at once.
const WINDOW_BYTES: u32 = 256 << 10;

/// What a connection carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    /// HTTP/2, where HTTP/1.1 reaches the handler as well: its client gets an answer that it can read.
    Http2,
}

/// One type for all receivers, so that the program has one copy of hyper's connection.
pub(super) type Handler =
    dyn Fn(Request<Incoming>) -> BoxFuture<'static, Response<AnswerBody>> + Send + Sync;

/// Shared by all connections of a receiver.
pub(super) struct ReceiverState {
    pub(super) protocol: Protocol,
    pub(super) handler: Box<Handler>,
    pub(super) slots: Arc<Semaphore>,
    /// A connection of HTTP/2 may have become idle while no slot was free.
    pub(super) freed: Notify,
    pub(super) stop: watch::Receiver<bool>,
}

pub(super) struct ConnectionState {
    peer: IpAddr,
    begun: AtomicUsize,
    running: AtomicUsize,
    close: Notify,
    /// `None` if the connection does not count, so that its end makes no room.
    slot: Mutex<Option<OwnedSemaphorePermit>>,
}

/// The connection of a request, among the request's extensions.
#[derive(Clone)]
pub struct ClientConnection(Arc<ConnectionState>);

impl ClientConnection {
    /// Whether the client runs on this machine.
    pub fn is_local(&self) -> bool {
        self.0.peer.is_loopback()
    }

    /// Lets another client have the connection's slot. The answer must close the connection, since it
    /// would carry further requests without one.
    pub fn release_slot(&self) {
        self.0.release_slot();
    }

    /// Ends the connection, at the latest after a tenth of a second, even if the client reads nothing.
    pub fn close(&self) {
        self.0.close();
    }
}

#[cfg(test)]
impl ClientConnection {
    /// A connection without a socket.
    pub fn without_socket(slot: OwnedSemaphorePermit) -> Self {
        Self(Arc::new(ConnectionState::new(IpAddr::from([127, 0, 0, 1]), slot)))
    }

    /// Returns after [`close`](Self::close).
    pub async fn closed(&self) {
        self.0.close.notified().await;
    }
}

/// A request in progress. A client may reset it, which drops the handler's future.
struct RunningRequest(Arc<ConnectionState>);

impl ConnectionState {
    pub(super) fn new(peer: IpAddr, slot: OwnedSemaphorePermit) -> Self {
        let slot = Mutex::new(Some(slot));
        let (begun, running) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { peer, begun, running, close: Notify::new(), slot }
    }

    pub(super) fn has_slot(&self) -> bool {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub(super) fn release_slot(&self) {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    pub(super) fn is_busy(&self) -> bool {
        self.running.load(Ordering::Relaxed) > 0
    }

    /// Accepts no further request, and ends after the requests in progress or [`CLOSE_GRACE`].
    pub(super) fn close(&self) {
        self.close.notify_one();
    }

    fn begin(self: Arc<Self>) -> RunningRequest {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.running.fetch_add(1, Ordering::Relaxed);
        RunningRequest(self)
    }

    async fn idle(&self) {
        loop {
            let begun = self.begun.load(Ordering::Relaxed);
            sleep_awake(IDLE_TIMEOUT).await;
            if !self.is_busy() && self.begun.load(Ordering::Relaxed) == begun {
                return;
            }
        }
    }
}

impl Drop for RunningRequest {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves until the client or the receiver closes the connection. Returns whether a request was cut off.
pub(super) async fn serve(
    mut stream: TcpStream,
    receiver: Arc<ReceiverState>,
    state: Arc<ConnectionState>,
) -> bool {
    let mut start = Vec::new();
    let version = match receiver.protocol {
        Protocol::Http1 => Some(Version::HTTP_11),
        Protocol::Http2 => {
            // An answer is sent behind acknowledgements: Nagle's algorithm would delay it.
            let _ = stream.set_nodelay(true);
            tokio::select! {
                version = preface::read(&mut stream, &mut start) => version,
                () = state.close.notified() => None,
                () = state.idle() => None,
            }
        }
    };
    // One type for both versions, so that the program has one copy of hyper's HTTP/1.1.
    let (reader, writer) = stream.into_split();
    let stream = TokioIo::new(join(Cursor::new(start).chain(reader), writer));
    match version {
        Some(Version::HTTP_2) => serve_http2(stream, receiver, &state).await,
        Some(_) => serve_http1(stream, receiver, &state).await,
        None => {}
    }
    state.is_busy()
}

async fn serve_http1<I>(stream: I, receiver: Arc<ReceiverState>, state: &Arc<ConnectionState>)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
{
    let running = Arc::clone(state);
    let service =
        service_fn(move |request| answer(Arc::clone(&receiver), Arc::clone(&running), request));
    let mut connection = pin!(
        http1::Builder::new()
            .timer(AwakeTimer)
            .header_read_timeout(HEADER_TIMEOUT)
            .serve_connection(stream, service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = state.close.notified() => {
            connection.as_mut().graceful_shutdown();
            timeout(CLOSE_GRACE, connection).await.unwrap_or(Ok(()))
        }
    };
    log_end(ended);
}

async fn serve_http2<I>(stream: I, receiver: Arc<ReceiverState>, state: &Arc<ConnectionState>)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
{
    let running = Arc::clone(state);
    let service =
        service_fn(move |request| answer(Arc::clone(&receiver), Arc::clone(&running), request));
    let mut connection = pin!(
        http2::Builder::new(TokioExecutor::new())
            .max_concurrent_streams(MAX_STREAMS)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .serve_connection(stream, service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = state.close.notified() => None,
        () = state.idle() => None,
    };
    log_end(match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            timeout(CLOSE_GRACE, connection).await.unwrap_or(Ok(()))
        }
    });
}

fn log_end(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        info!("A connection ended early: {error}");
    }
}

async fn answer(
    receiver: Arc<ReceiverState>,
    connection: Arc<ConnectionState>,
    mut request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Infallible> {
    request.extensions_mut().insert(ClientConnection(Arc::clone(&connection)));
    let running = connection.begin();
    if *receiver.stop.borrow() {
        return Ok(without_body(StatusCode::SERVICE_UNAVAILABLE));
    }
    let is_http1 = request.version() < Version::HTTP_2;
    let handled = AssertUnwindSafe((receiver.handler)(request)).catch_unwind().await;
    let mut response = handled.unwrap_or_else(|_| without_body(StatusCode::INTERNAL_SERVER_ERROR));
    drop(running);
    if receiver.slots.available_permits() > 0 {
        return Ok(response);
    }
    if is_http1 {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    } else {
        receiver.freed.notify_one();
    }
    Ok(response)
}

fn without_body(status: StatusCode) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::default());
    *response.status_mut() = status;
    response
}
