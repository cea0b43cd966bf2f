//! The pipeline's decisions, without tasks, channels or a clock: what is sent where and when, and
//! what becomes of it. Time comes in as an argument, so that a simulation can drive exactly this.
//!
//! The life of an item: received → held in the buffer → taken in a batch → delivered. A batch that
//! fails goes back to the buffer; what is left when a flush ends goes to the spool, and is sent
//! from there. [`Ledger`] counts every step.

mod destination;
pub mod state;
mod dead_letters;
mod pending_failures;
mod spooling;

pub use crate::pipeline::core::state::{Core, Trigger};

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
