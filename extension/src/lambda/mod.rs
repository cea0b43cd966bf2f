//! Lambda's Extensions API, and the events of its Telemetry API.

pub mod extensions_api;
pub mod telemetry_event;
