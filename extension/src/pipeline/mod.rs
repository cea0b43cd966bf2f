//! The pipeline owns all waiting telemetry, between the receivers and the exporters.
//!
//! ```text
//! receivers ──Receive──▶ ┌──────────┐ ──batch──▶ worker ─▶ honeycomb
//! lifecycle ───Flush───▶ │ pipeline │ ──batch──▶ worker ─▶ console
//!                        └──────────┘ ◀─result── (each)
//! ```
//! Its task waits for commands, results and timers only, so receiving never waits for a destination, and
//! no destination waits for another: each has a worker task with at most one batch in flight. [`core`]
//! decides; the task adds channels, the clock and the disk.

pub mod settings;
pub mod ledger;
pub mod circuit_breaker;
pub mod stats;
pub mod refusals;
pub mod spool;
pub mod buffer;
pub mod sums;
pub mod dead_letter;
pub mod core;
mod stats_lines;
mod disk;
mod handle;
mod worker;
mod task;

pub use crate::pipeline::{
    core::{Core, Trigger},
    handle::{PipelineHandle, Stopped},
    settings::PipelineSettings,
    task::Pipeline,
};
