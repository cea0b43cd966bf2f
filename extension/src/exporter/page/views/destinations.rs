//! The destinations' accounts, as the pipeline keeps them.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::otlp::payload::SignalKind;
use crate::pipeline::circuit_breaker::BreakerState;
use crate::pipeline::ledger::{Account, State};
use crate::pipeline::refusals::RefusalCounts;
use crate::pipeline::stats::{DestinationStats, HoldStats, PipelineStats};

#[derive(Debug, Serialize)]
pub struct ShownDestinations {
    destinations: Vec<ShownDestination>,
    holds: HoldStats,
    refused: RefusalCounts,
    trace_url: Option<String>,
}

#[derive(Debug, Default, Serialize)]
struct ShownDestination {
    name: &'static str,
    enabled: bool,
    endpoint: Option<String>,
    breaker: Option<BreakerState>,
    received: u64,
    delivered: u64,
    held: u64,
    spooled: u64,
    dropped: BTreeMap<&'static str, u64>,
    requests: u64,
    failed_requests: u64,
    signals: BTreeMap<SignalKind, Account>,
}

/// `endpoints` names the known destinations in the order of the answer, with the addresses of those that
/// are configured.
pub fn destinations(
    mut stats: PipelineStats,
    endpoints: &[(&'static str, Option<String>)],
    trace_url: Option<String>,
) -> ShownDestinations {
    let mut shown = Vec::new();
    for (name, endpoint) in endpoints {
        let destination = stats.destinations.remove(name);
        let endpoint = endpoint.clone().filter(|_| destination.is_some());
        let base = ShownDestination { name, endpoint, ..ShownDestination::default() };
        shown.push(base.with(destination));
    }
    for (name, destination) in stats.destinations {
        let base = ShownDestination { name, ..ShownDestination::default() };
        shown.push(base.with(Some(destination)));
    }
    let PipelineStats { holds, refused, .. } = stats;
    ShownDestinations { destinations: shown, holds, refused, trace_url }
}

impl ShownDestination {
    fn with(mut self, stats: Option<DestinationStats>) -> Self {
        let Some(stats) = stats else { return self };
        self.enabled = true;
        self.breaker = Some(stats.breaker);
        self.requests = stats.requests.requests;
        self.failed_requests = stats.requests.failed_requests;
        for account in stats.accounts.values() {
            self.received += account.received();
            self.delivered += account.at(State::Delivered);
            self.held += account.at(State::Held);
            self.spooled += account.at(State::Spooled);
            for (reason, count) in account.dropped() {
                *self.dropped.entry(reason).or_default() += count;
            }
        }
        self.signals = stats.accounts;
        self
    }
}
