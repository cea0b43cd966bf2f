//! What the pipeline and the exporters share.

pub mod batch;
pub mod healthcheck;
