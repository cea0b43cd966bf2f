//! The connection loop of both receivers: OTLP from the function ([`crate::receiver::otlp`]) and platform
//! events from Lambda ([`crate::receiver::telemetry`]), over HTTP/1.1.
//!
//! A receiver never waits for a destination: it hands payloads to the pipeline and answers. After a stop
//! it accepts no request, since the ledger would not count it; requests in progress get a tenth of a
//! second. A panic is answered 500, which clients do not retry.
//!
//! A receiver has at most [`MAX_CONNECTIONS`]. When all slots are taken, the oldest idle connection is
//! closed, and each answer closes its own; if all are busy, new clients wait.

use std::{
    convert::Infallible,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::TokioIo,
    server::graceful::{GracefulShutdown, Watcher},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::AbortHandle,
    time::timeout,
};
use tracing::{debug, warn};

use crate::receiver::timer::AwakeTimer;

/// Most connections of one receiver. A function and its extensions share 1,024 descriptors.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub const MAX_CONNECTIONS: usize = 256;

/// The time limit for headers, from the connection or the last answer, without freezes. Clients are local.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause after a failed accept (no file descriptor left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The time for requests in progress at a stop, a part of the drain's budget.
const STOP_GRACE: Duration = Duration::from_millis(100);

/// Answers requests on every connection until `stop` turns true.
pub async fn serve<H, F>(listener: TcpListener, mut stop: watch::Receiver<bool>, handle: H)
where
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send,
{
    let handle = Arc::new(handle);
    let mut connections = Connections::new();
    let mut reported = false;
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stopped| *stopped) => break,
            accepted = connections.accept(&listener) => accepted,
        };
        match accepted {
            Ok((stream, slot)) => {
                reported = false;
                connections.start(stream, slot, Arc::clone(&handle));
            }
            Err(error) => {
                if !std::mem::replace(&mut reported, true) {
                    warn!("Connections cannot be accepted: {error}");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    let Connections { all, open, .. } = connections;
    if timeout(STOP_GRACE, all.shutdown()).await.is_err() {
        warn!("Requests were still under way when the receiver had to stop");
        open.iter().for_each(|connection| connection.task.abort());
    }
}

/// The connections of a receiver.
struct Connections {
    all: GracefulShutdown,
    /// Oldest first; those that have ended are removed at the next one.
    open: Vec<ServedConnection>,
    slots: Arc<Semaphore>,
    reported: bool,
}

struct ServedConnection {
    task: AbortHandle,
    is_busy: Arc<AtomicBool>,
}

impl Connections {
    fn new() -> Self {
        Self {
            all: GracefulShutdown::new(),
            open: Vec::new(),
            slots: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            reported: false,
        }
    }

    /// Accepts the next connection with its slot. Without a free slot clients wait in the backlog.
    async fn accept(
        &mut self,
        listener: &TcpListener,
    ) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        let slot = slot.map_err(std::io::Error::other)?; // the semaphore is never closed
        Ok((listener.accept().await?.0, slot))
    }

    fn start<H, F>(&mut self, stream: TcpStream, slot: OwnedSemaphorePermit, handle: Arc<H>)
    where
        H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
        F: Future<Output = Response<Full<Bytes>>> + Send,
    {
        let is_busy = Arc::new(AtomicBool::new(false));
        let (busy, slots) = (Arc::clone(&is_busy), Arc::clone(&self.slots));
        let answer = move |request| {
            let (handle, busy, slots) =
                (Arc::clone(&handle), Arc::clone(&busy), Arc::clone(&slots));
            async move {
                busy.store(true, Ordering::Relaxed);
                let handled = AssertUnwindSafe(handle(request)).catch_unwind().await;
                let mut response = handled.unwrap_or_else(|_| failed());
                busy.store(false, Ordering::Relaxed);
                if slots.available_permits() == 0 {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(header::CONNECTION, close);
                }
                response
            }
        };
        let task = tokio::spawn(serve_connection(stream, self.all.watcher(), answer, slot));
        self.open.push(ServedConnection { task: task.abort_handle(), is_busy });
        self.make_room();
    }

    /// Closes an idle connection if no slot is free.
    fn make_room(&mut self) {
        self.open.retain(|connection| !connection.task.is_finished());
        if self.slots.available_permits() > 0 {
            return;
        }
        if !std::mem::replace(&mut self.reported, true) {
            warn!("{MAX_CONNECTIONS} connections are open: the oldest idle ones are closed");
        }
        let is_idle = |connection: &ServedConnection| !connection.is_busy.load(Ordering::Relaxed);
        if let Some(index) = self.open.iter().position(is_idle) {
            self.open.remove(index).task.abort();
        }
    }
}

fn failed() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

/// Serves one connection, and returns its slot at the end.
async fn serve_connection<A, F>(
    stream: TcpStream,
    watcher: Watcher,
    answer: A,
    _slot: OwnedSemaphorePermit,
) where
    A: Fn(Request<Incoming>) -> F + Send + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send,
{
    let service = service_fn(|request| {
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new()
        .timer(AwakeTimer)
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        debug!("A connection ended early: {error}");
    }
}

#[cfg(test)]
mod tests;
