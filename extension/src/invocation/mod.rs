//! Facts about each invocation: evidence of its end, and its X-Ray header.

pub mod end;
pub mod xray_contexts;
