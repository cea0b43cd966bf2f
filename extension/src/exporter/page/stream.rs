//! Server-sent events of new and changed traces.
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html>
//!
//! Each reader has a task, which makes the next event after the reader took the last one: nothing queues up
//! for a slow reader, and one that takes nothing for [`SLOW`] is disconnected.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde_json::json;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, watch},
    task::spawn_blocking,
    time::sleep,
};

use crate::exporter::page::store::PageStore;
use crate::exporter::page::views::summary::TraceSummary;
use crate::receiver::server::ClientConnection;

/// Most readers at once: a person's tabs.
pub(super) const MAX_READERS: usize = 16;

/// Shortest time between two events.
const PAUSE: Duration = Duration::from_millis(250);

/// Time without an event after which a comment shows that the connection lives.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The time after which a reader that takes nothing is disconnected.
const SLOW: Duration = Duration::from_secs(10);

/// Most traces of an event, the latest.
const MAX_TRACES: usize = 200;

/// One reader of the stream.
pub(super) struct StreamReader {
    pub(super) events: mpsc::Sender<Bytes>,
    pub(super) connection: ClientConnection,
    /// Held while the reader is served.
    pub(super) permit: OwnedSemaphorePermit,
    /// Turns true when the extension stops.
    pub(super) stop: watch::Receiver<bool>,
}

/// Another number after each start of the extension.
pub(super) fn instance() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or_default()
}

/// Sends events until the reader is gone or slow, or the extension stops.
pub(super) async fn feed(store: PageStore, instance: u64, reader: StreamReader) {
    let StreamReader { events, connection, permit: _permit, mut stop } = reader;
    let mut changes = store.changes();
    let mut seen = *changes.borrow_and_update();
    let mut event = event("hello", &instance.to_string());
    loop {
        if let Err(error) = events.send_timeout(event, SLOW).await {
            if matches!(error, mpsc::error::SendTimeoutError::Timeout(_)) {
                connection.close();
            }
            return;
        }
        sleep(PAUSE).await;
        let is_changed = tokio::select! {
            changed = changes.changed() => changed.is_ok(),
            () = sleep(HEARTBEAT) => false,
            () = events.closed() => return,
            _ = stop.wait_for(|stopped| *stopped) => return,
        };
        event = Bytes::from_static(b":\n\n");
        if is_changed {
            // On a blocking thread: a trace may have thousands of spans.
            let store = store.clone();
            let Ok(made) = spawn_blocking(move || news(&store, seen)).await else { return };
            (event, seen) = made;
        }
    }
}

/// The event of the changes since then, and the number of the last one.
fn news(store: &PageStore, seen: u64) -> (Bytes, u64) {
    let news = store.news_since(seen);
    let summaries: Vec<_> =
        news.traces.iter().take(MAX_TRACES).map(|trace| TraceSummary::of(trace)).collect();
    let traces = event("trace", &json!(summaries).to_string());
    match news.is_cleared {
        true => ([event("clear", "{}"), traces].concat().into(), news.until),
        false => (traces, news.until),
    }
}

/// `data` is one line.
fn event(name: &str, data: &str) -> Bytes {
    format!("event: {name}\ndata: {data}\n\n").into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::{
        sync::Semaphore,
        time::{Instant, timeout},
    };

    use super::*;
    use crate::exporter::page::split::split;
    use crate::otlp::payload::SignalKind;

    /// A reader in progress.
    struct Reading {
        received: mpsc::Receiver<Bytes>,
        connection: ClientConnection,
        /// Of all readers.
        permits: Arc<Semaphore>,
        _stop: watch::Sender<bool>,
    }

    impl Reading {
        async fn start(store: &PageStore) -> Self {
            let permits = Arc::new(Semaphore::new(2));
            let permit = || Arc::clone(&permits).acquire_owned();
            let connection = ClientConnection::without_socket(permit().await.unwrap());
            connection.release_slot();
            let (events, received) = mpsc::channel(1);
            let (_stop, stop) = watch::channel(false);
            let permit = permit().await.unwrap();
            let reader = StreamReader { events, connection: connection.clone(), permit, stop };
            tokio::spawn(feed(store.clone(), 7, reader));
            Self { received, connection, permits, _stop }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_stream_has_a_comment_each_15_seconds() {
        let mut reading = Reading::start(&PageStore::default()).await;
        assert_eq!(reading.received.recv().await.unwrap(), "event: hello\ndata: 7\n\n");

        for _ in 0..3 {
            let began = Instant::now();
            assert_eq!(reading.received.recv().await.unwrap(), ":\n\n");
            assert!(began.elapsed() <= HEARTBEAT + PAUSE, "{:?}", began.elapsed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn traces_of_a_busy_second_are_few_events() {
        let store = PageStore::default();
        let mut reading = Reading::start(&store).await;
        reading.received.recv().await.unwrap();
        let (began, mut events) = (Instant::now(), 0);
        while began.elapsed() < Duration::from_secs(1) {
            store.append(split(SignalKind::Traces, &[]));
            let event = timeout(Duration::from_millis(5), reading.received.recv()).await;
            events += usize::from(event.is_ok());
        }

        assert!((1..=4).contains(&events), "{events}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_takes_nothing_is_disconnected_and_makes_room() {
        let reading = Reading::start(&PageStore::default()).await;

        let closed = timeout(HEARTBEAT + PAUSE + 2 * SLOW, reading.connection.closed()).await;

        assert!(closed.is_ok());
        let _both = reading.permits.acquire_many(2).await.unwrap();
    }
}
