//! OTLP as bytes: what a request holds, and how it is kept.

pub mod any_value;
pub mod log_level;
pub mod schema;
pub mod wire;
pub mod edit;
pub mod repair;
pub mod cut;
pub mod partial_success;
pub mod json;
pub mod filter;
pub mod payload;
pub mod item_facts;
pub mod sample_rate;
pub mod mask;
pub mod line_codec;
pub mod post_codec;
pub mod failure_codec;
