//! Counts failures that are not in payloads yet.

use crate::otlp::payload::SignalKind;
use crate::pipeline::core::state::Core;
use crate::pipeline::ledger::{Reason, State};

impl Core {
    /// Sets the number of gathered failures; see [`Ledger::expect`](crate::pipeline::ledger::Ledger::expect).
    pub fn expect_failures(&mut self, items: u64) {
        for destination in &self.destinations {
            if let Some(route) = destination.route_of(SignalKind::Failures) {
                self.ledger.expect(route, items);
            }
        }
    }

    /// Counts failures that were dropped before they became payloads.
    pub fn lose_failures(&mut self, items: u64) {
        for destination in &self.destinations {
            if let Some(route) = destination.route_of(SignalKind::Failures) {
                self.ledger.received(route, items);
                self.ledger.transfer(route, State::Held, State::Dropped(Reason::Killed), items);
            }
        }
    }
}
