//! The two APIs of Lambda that an extension talks to.

pub mod extensions_api;
pub mod telemetry_event;
