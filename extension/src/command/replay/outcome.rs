//! The counts of a replay: dead letters in the log, and the result for each destination.

use std::collections::BTreeMap;

use crate::otlp::payload::SignalKind;
use crate::pipeline::dead_letter::DeadLetter;
use crate::pipeline::ledger::{Account, Reason, State};

/// The dead letters that the log holds.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) found: BTreeMap<(String, SignalKind), Count>,
}

#[derive(Debug, Default)]
pub(super) struct Count {
    pub(super) lines: u64,
    pub(super) items: u64,
}

impl Totals {
    pub(super) fn count(&mut self, letter: &DeadLetter) {
        let key = (letter.destination.clone(), letter.signal.kind);
        let count = self.found.entry(key).or_default();
        count.lines += 1;
        count.items += letter.signal.items;
    }

    pub(super) fn lines(&self) -> u64 {
        self.found.values().map(|count| count.lines).sum()
    }
}

/// The result for one destination and kind of signal.
#[derive(Debug)]
pub(super) struct ReplayOutcome {
    pub(super) destination: String,
    pub(super) kind: SignalKind,
    pub(super) lines: u64,
    pub(super) items: u64,
    pub(super) end: ReplayEnd,
}

#[derive(Debug)]
pub(super) enum ReplayEnd {
    NotConfigured,
    DryRun,
    Sent(Account),
}

impl ReplayOutcome {
    /// Whether every item was delivered, left out as not sampled, or only counted.
    pub(super) fn is_complete(&self) -> bool {
        match &self.end {
            ReplayEnd::NotConfigured => false,
            ReplayEnd::DryRun => true,
            ReplayEnd::Sent(account) => {
                let unsampled = account.at(State::Dropped(Reason::Unsampled));
                account.at(State::Delivered) + unsampled == self.items
            }
        }
    }
}
