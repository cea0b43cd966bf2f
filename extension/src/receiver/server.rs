//! The connection loop of the receivers: OTLP from the function ([`crate::receiver::otlp`]) and platform
//! events from Lambda ([`crate::receiver::telemetry`]).
//!
//! A receiver never waits for a destination: it hands payloads to the pipeline and answers. After a stop
//! it accepts no request, since the ledger would not count it; requests in progress get a tenth of a
//! second. A panic is answered 500, which clients do not retry.
//!
//! The number of connections of a receiver is bounded. When all slots are taken, the oldest idle
//! connection is closed, and each answer over HTTP/1.1 closes its own; if all are busy, new clients wait.

mod connection;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures_util::FutureExt;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, OwnedSemaphorePermit, Semaphore, watch},
    task::JoinHandle,
};
use tracing::warn;

pub use self::connection::ClientConnection;
use self::connection::{ConnectionState, Handler, Protocol, ReceiverState};
use crate::receiver::answer::AnswerBody;

/// Most connections of a receiver over HTTP/1.1. A function and its extensions share 1,024 descriptors.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub const MAX_CONNECTIONS: usize = 256;

/// Most connections of a receiver over HTTP/2, each of which carries several requests at once.
pub const MAX_HTTP2_CONNECTIONS: usize = 64;

/// Pause after a failed accept (no file descriptor left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Answers requests over HTTP/1.1 until `stop` turns true.
pub async fn serve<H, F, B>(listener: TcpListener, stop: watch::Receiver<bool>, handle: H)
where
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Into<AnswerBody> + 'static,
{
    let slots = MAX_CONNECTIONS;
    Connections::new(Protocol::Http1, slots, stop, boxed(handle)).accept_all(listener).await;
}

/// Answers requests over HTTP/2 until `stop` turns true. Requests over HTTP/1.1 reach `handle` as well.
pub async fn serve_http2<H, F, B>(listener: TcpListener, stop: watch::Receiver<bool>, handle: H)
where
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Into<AnswerBody> + 'static,
{
    let slots = MAX_HTTP2_CONNECTIONS;
    Connections::new(Protocol::Http2, slots, stop, boxed(handle)).accept_all(listener).await;
}

fn boxed<H, F, B>(handle: H) -> Box<Handler>
where
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Into<AnswerBody> + 'static,
{
    Box::new(move |request| handle(request).map(|response| response.map(Into::into)).boxed())
}

/// The connections of a receiver.
struct Connections {
    receiver: Arc<ReceiverState>,
    max: usize,
    /// Oldest first; those that have ended are removed at the next one.
    open: Vec<ServedConnection>,
    reported: bool,
}

struct ServedConnection {
    task: JoinHandle<bool>,
    state: Arc<ConnectionState>,
}

/// Frees the slot when the connection's task ends or is aborted.
struct ServedSlot(Arc<ConnectionState>);

impl Drop for ServedSlot {
    fn drop(&mut self) {
        self.0.release_slot();
    }
}

impl Connections {
    fn new(
        protocol: Protocol,
        max: usize,
        stop: watch::Receiver<bool>,
        handler: Box<Handler>,
    ) -> Self {
        let (slots, freed) = (Arc::new(Semaphore::new(max)), Notify::new());
        let receiver = Arc::new(ReceiverState { protocol, handler, slots, freed, stop });
        Self { receiver, max, open: Vec::new(), reported: false }
    }

    async fn accept_all(mut self, listener: TcpListener) {
        let (receiver, mut reported) = (Arc::clone(&self.receiver), false);
        let mut stop = receiver.stop.clone();
        loop {
            let accepted = tokio::select! {
                _ = stop.wait_for(|stopped| *stopped) => break,
                () = receiver.freed.notified() => {
                    self.make_room();
                    continue;
                }
                accepted = accept(&listener, &receiver.slots) => accepted,
            };
            match accepted {
                Ok((stream, peer, slot)) => {
                    reported = false;
                    self.start(stream, peer.ip(), slot);
                }
                Err(error) => {
                    if !std::mem::replace(&mut reported, true) {
                        warn!("Connections cannot be accepted: {error}");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        self.close_all().await;
    }

    fn start(&mut self, stream: TcpStream, peer: IpAddr, slot: OwnedSemaphorePermit) {
        self.make_room(); // first, or it would close the new connection if all others are busy
        let state = Arc::new(ConnectionState::new(peer, slot));
        let served = ServedSlot(Arc::clone(&state));
        let serve = connection::serve(stream, Arc::clone(&self.receiver), Arc::clone(&state));
        let task = tokio::spawn(async move {
            let _served = served;
            serve.await
        });
        self.open.push(ServedConnection { task, state });
    }

    /// Closes an idle connection if no slot is free.
    fn make_room(&mut self) {
        self.open.retain(|connection| !connection.task.is_finished());
        if self.receiver.slots.available_permits() > 0 {
            return;
        }
        if !std::mem::replace(&mut self.reported, true) {
            warn!("{} connections are open: the oldest idle ones are closed", self.max);
        }
        let makes_room = |it: &ServedConnection| !it.state.is_busy() && it.state.has_slot();
        if let Some(index) = self.open.iter().position(makes_room) {
            let connection = self.open.remove(index);
            match self.receiver.protocol {
                Protocol::Http1 => connection.task.abort(),
                // Its answers may be unsent.
                Protocol::Http2 => connection.state.close(),
            }
        }
    }

    async fn close_all(self) {
        self.open.iter().for_each(|connection| connection.state.close());
        let mut is_cut = false;
        for connection in self.open {
            is_cut |= connection.task.await.unwrap_or(true);
        }
        if is_cut {
            warn!("Requests were still under way when the receiver had to stop");
        }
    }
}

/// Accepts the next connection with its client and its slot. Without a free slot clients wait in the
/// backlog.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await;
    let slot = slot.map_err(std::io::Error::other)?; // the semaphore is never closed
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, slot))
}

#[cfg(test)]
mod tests;
