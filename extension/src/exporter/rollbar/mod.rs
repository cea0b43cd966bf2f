//! Posts [failures](crate::processor::failures) to Rollbar, one item per request.
//! <https://docs.rollbar.com/reference/create-item>
//!
//! | reply | consequence for the item |
//! |---|---|
//! | 200 | delivered, unless its body has `"err": 1`: this item is dropped and counted |
//! | 200 with a body that is not JSON | retried: another service has answered |
//! | 413 | [reduced](truncate) and sent once more; refused again, it is dropped and counted |
//! | 429 | all items wait for the time in the headers |
//! | 401, 403 | logged once; items are kept and retried from time to time |
//! | 400, 422 and other 4xx | this item is dropped and counted |
//! | 5xx, no answer | retried |
//!
//! If a batch is retried, items that Rollbar accepted or refused are not sent again. Rollbar drops an
//! item whose `uuid` it already has.

pub mod config;
pub mod request;
mod healthcheck;

use std::future::ready;

use futures_util::future::BoxFuture;
use http::StatusCode;
use tracing::warn;

use crate::bounded_map::BoundedMap;
use crate::delivery::batch::{Batch, MAX_FAILURES};
use crate::delivery::error::{ExportError, ExportOutcome};
use crate::delivery::healthcheck::Finding;
use crate::delivery::{DestinationSpec, Exporter};
use crate::exporter::kind::{ExporterConfig, ExporterKind};
use crate::exporter::rollbar::config::{RollbarConfig, VARIABLES};
use crate::exporter::rollbar::request::{RollbarApi, confirmed, refusal};
use crate::invocation::registry::Registry;
use crate::otlp::failure_codec::{EncodedItem, read};
use crate::otlp::payload::{Payload, SignalKind};
use crate::processor::failures::truncate;

/// Most acknowledged items of unfinished batches: those of 16 batches.
const MAX_ACKNOWLEDGED: usize = 16 * MAX_FAILURES;

pub const KIND: ExporterKind = ExporterKind {
    name: "rollbar",
    variables: VARIABLES,
    read: |reader, selection| Some(Box::new(RollbarConfig::read(reader, selection.is_named)?)),
};

impl ExporterConfig for RollbarConfig {
    fn start(&self, _: Option<&Registry>) -> Box<dyn Exporter> {
        Box::new(Rollbar::new(self))
    }
}

#[derive(Debug)]
pub struct Rollbar {
    api: RollbarApi,
    /// Ids of items that Rollbar answered finally, and whether it refused them.
    acknowledged: BoundedMap<String, bool>,
    /// A refusal is logged again only after an item was accepted.
    has_logged_refusal: bool,
}

impl Rollbar {
    pub fn new(config: &RollbarConfig) -> Self {
        Self {
            api: RollbarApi::new(config),
            acknowledged: BoundedMap::new(MAX_ACKNOWLEDGED),
            has_logged_refusal: false,
        }
    }

    /// Sends the items one after the other, up to the first that needs a retry.
    async fn send_batch(&mut self, batch: &Batch) -> Result<ExportOutcome, ExportError> {
        let plain = batch.to_plain();
        let plain = plain.map_err(|error| ExportError::Unreadable(error.to_string()))?;
        let mut rejected = 0;
        for EncodedItem { id, items, json } in read(&plain) {
            let is_refused = match self.acknowledged.get(id) {
                Some(is_refused) => *is_refused,
                None => self.send_item(id, json).await?,
            };
            rejected += if is_refused { items } else { 0 };
        }
        Ok(ExportOutcome { rejected, unsampled: 0 })
    }

    /// Returns whether the item was finally refused.
    async fn send_item(&mut self, id: &str, json: &str) -> Result<bool, ExportError> {
        let is_refused = match self.post_or_reduce(json).await {
            Ok(()) => false,
            Err(error) if error.is_final() => {
                if !self.has_logged_refusal {
                    warn!("rollbar refused an item, which is dropped: {error}");
                }
                true
            }
            Err(error) => return Err(error),
        };
        self.has_logged_refusal = is_refused;
        self.acknowledged.insert(id.to_owned(), is_refused);
        Ok(is_refused)
    }

    /// An item that is too large is reduced and sent once more.
    async fn post_or_reduce(&mut self, json: &str) -> Result<(), ExportError> {
        let mut reply = self.api.post(json.to_owned().into()).await?;
        if reply.status == StatusCode::PAYLOAD_TOO_LARGE
            && let Some(reduced) = truncate::reduced(json)
        {
            reply = self.api.post(reduced.into()).await?;
        }
        if reply.status.is_success() {
            return confirmed(&reply);
        }
        Err(refusal(&reply))
    }
}

impl Exporter for Rollbar {
    fn spec(&self) -> DestinationSpec {
        DestinationSpec {
            name: "rollbar",
            kinds: vec![SignalKind::Failures],
            durable: true,
            max_items: u64::MAX,
            keeps_duplicates: false, // Rollbar drops the second item with one uuid
        }
    }

    fn export<'a>(
        &'a mut self,
        batch: &'a Batch,
    ) -> BoxFuture<'a, Result<ExportOutcome, ExportError>> {
        Box::pin(self.send_batch(batch))
    }

    fn preview(&self, payload: &Payload) -> Result<Vec<String>, ExportError> {
        Ok(read(&payload.bytes).map(|item| item.json.to_owned()).collect())
    }

    fn reset_connections(&mut self) {
        self.api.reset_connections();
    }

    fn endpoint(&mut self) -> BoxFuture<'_, Option<String>> {
        Box::pin(ready(Some(self.api.endpoint.clone())))
    }

    fn healthcheck(&mut self) -> BoxFuture<'_, Vec<Finding>> {
        Box::pin(healthcheck::check(&mut self.api))
    }
}
