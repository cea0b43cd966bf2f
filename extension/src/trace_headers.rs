//! X-Ray's context of the invocations: what INVOKE says about each one's trace.
//!
//! Kept while their spans may still be on the way to X-Ray, which needs it. Where nobody registers
//! for INVOKE it stays empty.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use trace_context::{TraceId, XrayHeader};

use crate::extensions_api::Invoke;

/// Our choice: more invocations than spans of which may wait for an outage to end, at about 100
/// bytes each.
const REMEMBERED: usize = 1024;

/// Shared by the lifecycle, which fills it, and the X-Ray exporter.
#[derive(Clone, Debug, Default)]
pub struct TraceHeaders(Arc<Mutex<VecDeque<Traced>>>);

#[derive(Debug)]
struct Traced {
    request_id: String,
    began: SystemTime,
    header: Option<XrayHeader>,
}

impl TraceHeaders {
    /// An invocation has begun.
    pub fn begun(&self, invoke: &Invoke, now: SystemTime) {
        let header = invoke.xray_header().as_deref().and_then(XrayHeader::parse);
        let mut invocations = self.lock();
        if invocations.len() == REMEMBERED {
            invocations.pop_front();
        }
        let request_id = invoke.request_id.clone();
        invocations.push_back(Traced { request_id, began: now, header });
    }

    /// The header of an invocation.
    pub fn of_request(&self, request_id: &str) -> Option<XrayHeader> {
        self.last(|traced| traced.request_id == request_id)
    }

    /// The header of the last invocation in this X-Ray trace.
    pub fn of_root(&self, root: TraceId) -> Option<XrayHeader> {
        self.last(|traced| traced.header.is_some_and(|header| header.root == root))
    }

    /// The header of the last invocation that had begun at a time: Lambda runs one after the other.
    pub fn at(&self, time: SystemTime) -> Option<XrayHeader> {
        self.last(|traced| traced.began <= time)
    }

    fn last(&self, is_it: impl Fn(&Traced) -> bool) -> Option<XrayHeader> {
        self.lock().iter().rev().find(|traced| is_it(traced))?.header
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Traced>> {
        // Held for a few lines and never across an await; a panic in them leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
