//! What is known of each invocation, the evidence of its end, and the sampling of its spans.

pub mod end;
pub mod usage;
pub mod attempt;
mod attempts;
pub mod choice;
pub mod parts;
pub mod registry;
mod sampling;
