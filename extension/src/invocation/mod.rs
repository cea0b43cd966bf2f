//! What is known of each invocation.

pub mod xray_contexts;
