//! What is known of each invocation, and the evidence of its end.

pub mod end;
pub mod attempt;
mod attempts;
pub mod registry;
