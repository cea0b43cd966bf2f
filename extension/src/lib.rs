//! cruddur-telemetry
