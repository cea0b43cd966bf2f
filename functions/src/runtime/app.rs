//! The resources of a handler.

use std::{sync::OnceLock, time::Duration};

use futures_util::future::join_all;
use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use tokio::{sync::OnceCell, time::timeout};
use tracing::{instrument::WithSubscriber, subscriber::NoSubscriber};

use crate::{
    config::Config,
    domain::UserKey,
    store::{self, Consistency, StoreError, Table, keys},
    telemetry::OtlpClient,
};

/// The longest time that making connections adds to init, which has 10 s. A handshake within a region
/// takes milliseconds.
const CONNECT_LIMIT: Duration = Duration::from_millis(500);

/// One per sandbox; a resource that is made on first use stays for later invocations.
pub struct App {
    config: Config,
    table: OnceCell<Box<dyn Table>>,
    extension: OnceLock<OtlpClient>,
}

impl App {
    /// Opens nothing yet.
    pub fn new(config: Config) -> Self {
        Self { config, table: OnceCell::new(), extension: OnceLock::new() }
    }

    /// Opens the store and makes so many connections by reads of an item that does not exist.
    ///
    /// Init has a whole core, and the first request may have a seventh of one for handshakes and for
    /// code that runs for the first time. Problems are left to the first request, which reports them.
    pub(super) async fn connect(&self, connections: u8) {
        if connections == 0 {
            return;
        }
        let Ok(table) = self.table().await else { return };
        let (nothing, now) = ([keys::user(UserKey::gone())], self.now());
        let read = || table.get(&nothing, Consistency::Eventual, now);
        let reads = join_all((0..connections).map(|_| read()));
        // Spans belong to invocations, and none has begun.
        let _ = timeout(CONNECT_LIMIT, reads.with_subscriber(NoSubscriber::new())).await;
    }

    /// The variables.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The time, to the microsecond, which is what the store keeps and replies show.
    pub fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        let cut = TimestampRound::new().smallest(Unit::Microsecond).mode(RoundMode::Trunc);
        now.round(cut).unwrap_or(now)
    }

    /// The client for spans that are not the invocation's, such as those of the page.
    pub fn extension(&self) -> &OtlpClient {
        self.extension.get_or_init(|| OtlpClient::new(self.config.traces_url.clone()))
    }

    /// The store. If it cannot be opened, the next call tries again.
    pub async fn table(&self) -> Result<&dyn Table, StoreError> {
        self.table.get_or_try_init(|| async { store::open(&self.config) }).await.map(Box::as_ref)
    }
}
