//! Stores the POSTs of the Telemetry API as they came, and reads them later.
//!
//! Making a line takes some 5 µs of a whole core. Between INVOKE and the reply that would delay the reply,
//! so the lifecycle reads the posts after the end of an invocation. They are read at once where the
//! function has a whole core, or when more than `MAX_WAITING_BYTES` wait.

use std::{borrow::Cow, sync::Arc, time::SystemTime};

use tokio::sync::Mutex;
use tracing::error;

use crate::pipeline::PipelineHandle;
use crate::processor::Processor;

/// Most bytes of posts that wait: some 2,000 lines, which are read in 20 ms of a whole core.
const MAX_WAITING_BYTES: usize = 2 << 20;

/// Clones share the waiting posts.
#[derive(Clone, Debug)]
pub struct Posts {
    pipeline: PipelineHandle,
    invocations: Processor,
    has_core: bool,
    /// Bytes of the waiting posts. Locked while posts are stored or read, which keeps their order.
    waiting: Arc<Mutex<usize>>,
}

impl Posts {
    /// `has_core`: whether the function has a whole core, so that posts are read at once.
    pub fn new(pipeline: PipelineHandle, invocations: Processor, has_core: bool) -> Self {
        Self { pipeline, invocations, has_core, waiting: Arc::default() }
    }

    pub fn has_core(&self) -> bool {
        self.has_core
    }

    /// Handles the platform's events of one POST, and stores the post. The pipeline has both when this
    /// returns.
    pub async fn receive(&self, events: &[Cow<'_, str>], arrived: SystemTime) {
        let mut waiting = self.waiting.lock().await;
        let (mut derived, post) = self.invocations.receive_post(events, arrived);
        *waiting += post.as_ref().map_or(0, |post| post.bytes.len());
        for payload in post.into_iter().chain(derived.payloads.drain(..)) {
            // Fails only if the pipeline has stopped, which its owner reports.
            let _ = self.pipeline.receive(payload).await;
        }
        let is_due = *waiting > MAX_WAITING_BYTES || self.has_core && *waiting > 0;
        drop(waiting);
        if is_due {
            self.read().await;
        }
        // After the pipeline has everything: the end of the wait begins a flush.
        self.invocations.record(derived);
        if self.invocations.wants_failures() {
            self.pipeline.count().await;
        }
    }

    /// Reads all waiting posts, and hands their lines and failures to the pipeline.
    pub async fn read(&self) {
        let posts = self.clone();
        // In a task, since the caller may be a request that ends with its connection.
        if let Err(error) = tokio::spawn(async move { posts.read_waiting().await }).await {
            error!("Posts of the Telemetry API are read later: {error}");
        }
    }

    async fn read_waiting(&self) {
        let mut waiting = self.waiting.lock().await;
        *waiting = 0;
        while let Some(batch) = self.pipeline.take_posts().await {
            let read = batch.to_plain().map(|posts| self.invocations.read_posts(&posts));
            // Damaged bytes have no readable event.
            let read = read.unwrap_or_default();
            if self.pipeline.conclude_posts(read.payloads, read.events).await.is_err() {
                return; // the pipeline has stopped, which its owner reports
            }
        }
    }
}
