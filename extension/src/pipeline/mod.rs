//! The one owner of the buffer, between the receivers and the exporters.
//!
//! ```text
//! receivers ──Receive──▶ ┌──────────┐ ──batch──▶ worker ─▶ honeycomb
//! lifecycle ───Flush───▶ │ pipeline │ ──batch──▶ worker ─▶ console
//!                        └──────────┘ ◀─result── (each)
//! ```
//! It never waits for anything but its inputs, so receiving never waits for a destination, and a
//! destination never for another: each has a worker task with one batch under way at most. What it
//! decides is [`core`]'s; this is the part with tasks, channels, the clock and the disk.

pub mod settings;
pub mod ledger;
pub mod circuit_breaker;
pub mod stats;
pub mod refusals;
pub mod buffer;
pub mod spool;
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
