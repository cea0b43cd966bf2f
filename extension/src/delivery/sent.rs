//! Requests, events and bytes that each destination was sent, for the spans about invocations.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SentCounts {
    /// Exports, failed ones included.
    pub requests: u64,
    /// Delivered items.
    pub events: u64,
    /// Bytes of request bodies, failed ones included.
    pub bytes: u64,
}

/// The counts by destination since the last report. The pipeline adds, and a report takes.
#[derive(Debug, Default)]
pub struct SentTotals(Mutex<BTreeMap<&'static str, SentCounts>>);

impl SentTotals {
    pub fn add(&self, destination: &'static str, counts: SentCounts) {
        let mut totals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let total = totals.entry(destination).or_default();
        total.requests += counts.requests;
        total.events += counts.events;
        total.bytes += counts.bytes;
    }

    /// The counts since the last call.
    pub fn take(&self) -> BTreeMap<&'static str, SentCounts> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
