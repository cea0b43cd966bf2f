//! The resources of a handler.

use std::sync::OnceLock;

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use tokio::sync::OnceCell;

use crate::{
    config::Config,
    store::{self, StoreError, Table},
    telemetry::OtlpClient,
};

/// One per sandbox; what is made on first use stays for the invocations that follow.
pub struct App {
    config: Config,
    table: OnceCell<Box<dyn Table>>,
    extension: OnceLock<OtlpClient>,
}

impl App {
    /// Opens nothing yet: a function that never asks for the store never pays for it.
    pub fn new(config: Config) -> Self {
        Self { config, table: OnceCell::new(), extension: OnceLock::new() }
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
