//! What arrives: OTLP from the function ([`otlp`]), platform events from Lambda ([`telemetry`]).
//!
//! Both are HTTP/1.1 servers on one connection loop, [`serve`]. A receiver never waits for a
//! destination: it hands its signals to the pipeline and answers.

pub mod otlp;
pub mod telemetry;

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{net::TcpListener, sync::watch, time::timeout};
use tracing::{debug, warn};

/// A client that has not sent its headers by then is cut off. Our choice; clients are local.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// A client that has not sent its body by then is cut off. Our choice; clients are local.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause after a failed accept (no file descriptor left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Requests under way at a stop get this long to be finished; it is part of the drain's budget.
const STOP_GRACE: Duration = Duration::from_millis(100);

/// Answers requests on every connection until `stop` turns true.
pub async fn serve<H, F>(listener: TcpListener, mut stop: watch::Receiver<bool>, handle: H)
where
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send,
{
    let handle = Arc::new(handle);
    let connections = GracefulShutdown::new();
    let mut reported = false;
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stopped| *stopped) => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => {
                reported = false;
                stream
            }
            Err(error) => {
                if !std::mem::replace(&mut reported, true) {
                    warn!("Connections cannot be accepted: {error}");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let handle = Arc::clone(&handle);
        let service = service_fn(move |request| {
            let handle = Arc::clone(&handle);
            async move { Ok::<_, Infallible>(handle(request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!("A connection ended early: {error}");
            }
        });
    }
    if timeout(STOP_GRACE, connections.shutdown()).await.is_err() {
        warn!("Requests were still under way when the receiver had to stop");
    }
}
