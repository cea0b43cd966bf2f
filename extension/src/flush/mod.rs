//! When what was received leaves.

pub mod policy;
pub mod state;
