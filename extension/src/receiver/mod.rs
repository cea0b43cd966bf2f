//! The HTTP servers that receive telemetry.

pub mod body;
pub mod answer;
mod timer;
pub mod server;
pub mod otlp;
pub mod telemetry_split;
pub mod posts;
pub mod telemetry;
