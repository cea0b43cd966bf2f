//! Decides when received telemetry is sent, and how long Next waits for it.

pub mod credit;
pub mod policy;
pub mod state;

#[cfg(test)]
mod simulation;
