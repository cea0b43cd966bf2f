//! The choice of one trace in N.

use std::time::Duration;

use sha2::{Digest, Sha256};
use trace_context::TraceId;

#[derive(Clone, Debug)]
pub struct SamplingSettings {
    /// N, above 1.
    pub rate: u64,
    /// A part that runs longer is kept.
    pub slow: Duration,
    /// Without it a caller could find ids that are always chosen.
    pub salt: String,
    /// Whether log records are sampled too.
    pub samples_logs: bool,
}

impl SamplingSettings {
    /// By a hash of the id's last 56 bits, since the first 32 are the time in ids of X-Ray. The traces that a
    /// rate chooses are among those of each smaller rate, so functions with different rates agree too.
    pub fn chooses(&self, trace_id: TraceId) -> bool {
        let random = &trace_id.to_bytes()[9..];
        let digest = Sha256::new().chain_update(&self.salt).chain_update(random).finalize();
        let number = digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        u128::from(number) * u128::from(self.rate) < 1 << u64::BITS
    }
}
