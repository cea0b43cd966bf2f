//! The pipeline's decisions, without tasks, channels or a clock: which batch goes where and when. Time
//! is an argument, so that a simulation drives the same code.
//!
//! The life of an item: received → in the buffer, and in the spool for durable destinations → taken in a
//! batch → delivered. A batch that fails returns to the buffer, unless its error is final.
//! [`Ledger`](crate::pipeline::ledger::Ledger) counts every step.

mod destination;
mod sampler;
pub mod state;
mod dead_letters;
mod pending_failures;
pub mod outlook;
mod spooling;
mod batches;
mod compaction;
mod recovery;
mod isolation;
mod samples;
pub mod posts;

pub use crate::pipeline::core::state::{Core, Trigger};

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
