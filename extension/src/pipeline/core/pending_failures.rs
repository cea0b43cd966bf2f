//! Failures that only the reporter knows, in the sums.

use crate::{
    otlp::payload::SignalKind,
    pipeline::{
        core::state::Core,
        ledger::{Reason, State},
    },
};

impl Core {
    /// So many failures are gathered and will be received; see [`Ledger::expect`].
    pub fn expect_failures(&mut self, items: u64) {
        for destination in &self.destinations {
            if let Some(route) = destination.route_of(SignalKind::Failures) {
                self.ledger.expect(route, items);
            }
        }
    }

    /// So many failures were dropped before they became signals.
    pub fn lose_failures(&mut self, items: u64) {
        for destination in &self.destinations {
            if let Some(route) = destination.route_of(SignalKind::Failures) {
                self.ledger.received(route, items);
                self.ledger.transfer(route, State::Held, State::Dropped(Reason::Killed), items);
            }
        }
    }
}
