//! The pipeline's decisions, without tasks, channels or a clock: which batch goes where and when. Time
//! is an argument, so that a simulation drives the same code.
//!
//! The life of an item: received → held in the buffer → taken in a batch → delivered. A batch that fails
//! returns to the buffer, unless its error is final. Undelivered payloads of durable destinations go to
//! the spool during a flush, at its end, or when the buffer is full. They are sent from there.
//! [`Ledger`](crate::pipeline::ledger::Ledger) counts every step.

mod destination;
pub mod state;
mod dead_letters;
mod pending_failures;
pub mod outlook;
mod spooling;

pub use crate::pipeline::core::state::{Core, Trigger};

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
