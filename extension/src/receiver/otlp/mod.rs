//! OTLP in.

mod encoding;
mod reply;
mod dropped;
pub mod http;
