//! OTLP in.

mod encoding;
mod refusal;
mod reply;
mod dropped;
pub mod http;
