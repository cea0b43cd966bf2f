//! The limits of the pipeline.

use std::{path::PathBuf, time::Duration};

#[derive(Clone, Debug)]
pub struct PipelineSettings {
    /// Names the function in the lines of stats.
    pub function_name: String,
    /// The longest wait for a flush between the end of an invocation and Next.
    pub max_hold: Duration,
    /// The most bytes of payloads held for all destinations together.
    pub buffer_bytes: usize,
    /// Where undelivered batches are kept on disk.
    pub spool_directory: PathBuf,
    /// The most bytes kept there; 0 keeps none.
    pub spool_bytes: u64,
    /// Whether the function has a whole core, so that requests may begin while an invocation runs.
    pub has_core: bool,
    /// Whether the process may be copied until the first [`begin`](crate::pipeline::PipelineHandle::begin):
    /// the spool is opened and the jitter is drawn after it.
    pub is_snapshot: bool,
}
