//! What the page shows, as JSON: made of a snapshot of the store, on a blocking thread.

pub mod lines;
pub mod failures;
pub mod summary;
pub mod trace;
pub mod latency;
pub mod destinations;
