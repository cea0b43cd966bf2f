//! Bytes in.

pub mod body;
pub mod server;
pub mod otlp;
pub mod telemetry_split;
pub mod telemetry;
