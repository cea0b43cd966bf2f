//! What is known of each invocation.

pub mod end;
pub mod xray_contexts;
