//! Leaves out spans, attributes and records of low level. The variables are in `config/filters.rs`.

pub mod destinations;
pub mod pattern;
pub mod attributes;
pub mod levels;
pub mod spans;
pub mod request;
