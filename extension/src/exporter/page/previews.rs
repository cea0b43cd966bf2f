//! The documents that each destination would get of a trace, by the exporters' own previews.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, PoisonError},
};

use crate::delivery::Exporter;
use crate::exporter::cloudwatch_logs::CloudWatchLogs;
use crate::exporter::honeycomb::Honeycomb;
use crate::exporter::page::config::PreviewSettings;
use crate::exporter::page::store::{StoredTrace, first_items};
use crate::exporter::rollbar::Rollbar;
use crate::exporter::xray::Xray;
use crate::invocation::registry::Registry;

/// Most items of each signal that are previewed, since an item is kilobytes of text.
const MAX_ITEMS: u64 = 1_000;

/// Exporters that send nothing.
pub struct Previews(Mutex<Vec<Box<dyn Exporter>>>);

impl fmt::Debug for Previews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Previews")
    }
}

impl Previews {
    /// Opens no connection.
    pub fn new(settings: &PreviewSettings, registry: &Registry) -> Self {
        let PreviewSettings { honeycomb, xray, cloudwatch, rollbar } = settings;
        let registry = || Some(registry.clone());
        let exporters: [Option<Box<dyn Exporter>>; 4] = [
            honeycomb.clone().map(|config| Box::new(Honeycomb::new(config)) as _),
            xray.clone().map(|config| Box::new(Xray::new(config, registry())) as _),
            cloudwatch.as_ref().map(|config| Box::new(CloudWatchLogs::new(config)) as _),
            rollbar.as_ref().map(|config| Box::new(Rollbar::new(config)) as _),
        ];
        Self(Mutex::new(exporters.into_iter().flatten().collect()))
    }

    /// By the destination's name. A document that cannot be made is the error's text.
    pub fn of(&self, trace: &StoredTrace) -> BTreeMap<&'static str, Vec<String>> {
        let exporters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let documents = |exporter: &dyn Exporter| {
            let spec = exporter.spec();
            let payloads = spec.kinds.iter().filter_map(|kind| trace.payload(*kind));
            let payloads = payloads.map(|payload| first_items(payload, MAX_ITEMS));
            let documents = payloads.flat_map(|payload| {
                exporter.preview(&payload).unwrap_or_else(|error| vec![error.to_string()])
            });
            (spec.name, documents.collect())
        };
        exporters.iter().map(|exporter| documents(&**exporter)).collect()
    }
}
