//! OTLP in.

mod encoding;
mod reply;
pub mod http;
