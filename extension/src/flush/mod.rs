//! Decides when received telemetry is sent, and how long Next waits for it.

pub mod policy;
pub mod state;
