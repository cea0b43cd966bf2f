//! The payloads of the sampled destination that wait for a decision.

use std::collections::BTreeMap;

use crate::delivery::DestinationId;
use crate::invocation::parts::PayloadParts;
use crate::invocation::registry::Registry;

#[derive(Debug)]
pub(super) struct Sampler {
    pub(super) id: DestinationId,
    pub(super) registry: Registry,
    pub(super) rate: u64,
    pub(super) samples_logs: bool,
    /// Payloads that the registry has not observed yet: undecided ones, and log records with errors.
    pub(super) unobserved: BTreeMap<u64, PayloadOrigin>,
    /// Undecided payloads by sequence number, with their parts.
    pub(super) waiting: BTreeMap<u64, PayloadParts>,
}

/// The process that received a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PayloadOrigin {
    ThisProcess,
    EarlierProcess,
}
