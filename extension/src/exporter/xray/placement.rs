//! Where spans belong in X-Ray: in which trace, under what, or nowhere.
//!
//! That is a matter of the invocation, whatever the spans' own trace id is. It is found, for each
//! span, by the first of these that tells:
//!
//! 1. it is a server span with `faas.invocation_id`: INVOKE's header for that id;
//! 2. the spans above it in its batch, up to one that tells;
//! 3. its parent is an entry span of an earlier batch;
//! 4. the header that it carries itself (`cruddur.xray_header`), as our own server spans do and
//!    those of the platform;
//! 5. its trace id is the root of an invocation, as it is unless a caller sent a `traceparent`;
//! 6. the last invocation that had begun when it ended, unless it comes from elsewhere, as the
//!    page's spans do: what an invocation passes on is no part of it;
//! 7. nothing: then nobody has decided, and its own trace id serves in X-Ray as well.
//!
//! So nothing has to wait for a server span that comes in a later batch: 5 and 6 find the same
//! invocation before. Only a span that ended before its INVOKE was told, came in another batch than
//! its server span, and has a caller's trace id, is put into the trace of the invocation before.
//!
//! | header | the entry span | its descendants |
//! |---|---|---|
//! | `Sampled=1`, `Parent` | subsegment under it | subsegments |
//! | `Sampled=1` alone | root segment | subsegments |
//! | `Sampled=0` | not sent | not sent |
//! | undecided, or no header | root segment at a fixed rate, else not sent | alike |
//!
//! Where spans are taken from a log, invocations are long over, and what Lambda had decided is known
//! by 1 to 4 alone: of the others nobody can say that X-Ray did not want them.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sha2::{Digest, Sha256};
use trace_context::{SpanId, TraceId, XrayHeader};

use crate::{
    bounded_map::BoundedMap,
    exporter::xray::{index::Indexed, translate::SegmentPlace},
    invocation::xray_contexts::XrayContexts,
    processor::platform_spans::{new_span_id, new_trace_id},
};

/// Entry spans that are remembered, for what comes later under them. Our choice.
const REMEMBERED: usize = 1024;

/// What becomes of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placement {
    /// It goes there.
    Sent(SegmentPlace),
    /// X-Ray does not want its trace.
    Unsampled,
    /// Whether X-Ray wants its trace is known no longer.
    Unknown,
}

/// What an invocation means to its spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TracePolicy {
    trace_id: TraceId,
    entries: EntryPolicy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EntryPolicy {
    Under(SpanId),
    Segments,
    NotSent,
    Unknown,
}

/// A span's context, and whether it is an entry span.
type FoundParent = (TracePolicy, bool);

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Placer {
    /// `None` for spans from a log.
    headers: Option<XrayContexts>,
    /// How much of what nobody has decided is sent: 0 to 1.
    undecided: f64,
    entries: BoundedMap<(TraceId, SpanId), TracePolicy>,
}

impl Placer {
    pub(super) fn new(headers: Option<XrayContexts>, undecided: f64) -> Self {
        Self { headers, undecided, entries: BoundedMap::new(REMEMBERED) }
    }

    /// Finds the fate of each span of a batch. Those that are one and the same get one place.
    pub(super) fn of(&mut self, spans: &[Indexed<'_>], now: SystemTime) -> Vec<Placement> {
        // Spans without a valid trace id that no invocation has are a trace together.
        let nameless = spans.iter().find(|span| span.trace_id.is_none());
        let nameless =
            nameless.map_or_else(|| new_trace_id(now), |first| derived_trace_id(first, now));
        let trace_id = |span: &Indexed<'_>| span.trace_id.unwrap_or(nameless);
        let mut by_id = HashMap::new();
        let ids: Vec<SpanId> = spans
            .iter()
            .enumerate()
            .map(|(index, span)| {
                let id = span.span_id.unwrap_or_else(|| derived_span_id(span));
                let first = *by_id.entry((trace_id(span), id)).or_insert(index);
                // Two spans of one id would overwrite each other.
                match spans[first].bytes == span.bytes {
                    true => id,
                    false => derived_span_id(span),
                }
            })
            .collect();
        let parents: Vec<Option<usize>> = spans
            .iter()
            .map(|span| match span.invocation {
                Some(_) => None,
                None => by_id.get(&(trace_id(span), span.parent?)).copied(),
            })
            .collect();
        let found = climb(&parents, |index| self.top(&spans[index], trace_id(&spans[index])));
        let fates = spans.iter().zip(ids).zip(found);
        fates
            .map(|((span, id), (context, is_entry))| {
                fate(context, is_entry, id, span.parent, trace_id(span))
            })
            .collect()
    }

    /// The context of a span that has no other above it in the batch.
    fn top(&mut self, span: &Indexed<'_>, trace_id: TraceId) -> FoundParent {
        if let Some(parent) = span.parent.filter(|_| span.invocation.is_none())
            && let Some(context) = self.entries.get(&(trace_id, parent))
        {
            return (*context, false);
        }
        let headers = self.headers.as_ref();
        let told = || headers?.of_request(span.invocation?);
        let own = || XrayHeader::parse(span.header?);
        let of_its_time = || {
            let headers = headers.filter(|_| span.invocation.is_none())?;
            let at_its_end = || headers.at(span.ended()).filter(|_| !span.is_passed_on);
            headers.of_root(trace_id).or_else(at_its_end)
        };
        let header = told().or_else(own).or_else(of_its_time);
        let context = self.context(header, trace_id);
        let is_entry = span.enters || span.parent.is_none();
        if let Some(id) = span.span_id.filter(|_| is_entry) {
            self.entries.insert((trace_id, id), context);
        }
        (context, is_entry)
    }

    fn context(&self, header: Option<XrayHeader>, own: TraceId) -> TracePolicy {
        let trace_id = header.map_or(own, |header| header.root);
        let parent = header.and_then(|header| header.parent);
        let entries = match header.and_then(|header| header.sampled) {
            Some(true) => parent.map_or(EntryPolicy::Segments, EntryPolicy::Under),
            Some(false) => EntryPolicy::NotSent,
            None if is_chosen(trace_id, self.undecided) => EntryPolicy::Segments,
            None if header.is_none() && self.headers.is_none() => EntryPolicy::Unknown,
            None => EntryPolicy::NotSent,
        };
        TracePolicy { trace_id, entries }
    }
}

fn fate(
    context: TracePolicy,
    is_entry: bool,
    id: SpanId,
    parent: Option<SpanId>,
    w3c_trace_id: TraceId,
) -> Placement {
    let parent = match context.entries {
        EntryPolicy::NotSent => return Placement::Unsampled,
        EntryPolicy::Unknown => return Placement::Unknown,
        EntryPolicy::Under(above) if is_entry => Some(above),
        EntryPolicy::Segments if is_entry => None,
        EntryPolicy::Under(_) | EntryPolicy::Segments => parent,
    };
    let entry = is_entry.then_some(w3c_trace_id);
    Placement::Sent(SegmentPlace { trace_id: context.trace_id, id, parent, entry })
}

/// Follows parents upwards; `top` tells of spans without one. What is found there holds for all
/// below, as descendants. A cycle is cut open where it is noticed, and has its entry there.
fn climb(parents: &[Option<usize>], mut top: impl FnMut(usize) -> FoundParent) -> Vec<FoundParent> {
    let mut found: Vec<Option<FoundParent>> = vec![None; parents.len()];
    let mut seen_from = vec![usize::MAX; parents.len()];
    let mut path = Vec::new();
    for start in 0..parents.len() {
        let mut at = start;
        while found[at].is_none() {
            let is_cycle = seen_from[at] == start;
            match parents[at].filter(|_| !is_cycle) {
                Some(parent) => {
                    seen_from[at] = start;
                    path.push(at);
                    at = parent;
                }
                None => {
                    let (context, is_entry) = top(at);
                    found[at] = Some((context, is_entry || is_cycle));
                }
            }
        }
        let above = found[at].map(|(context, _)| (context, false));
        for below in path.drain(..) {
            found[below] = found[below].or(above);
        }
    }
    found.into_iter().flatten().collect()
}

/// An id for a span that has none of its own, the same however often it is sent.
fn derived_span_id(span: &Indexed<'_>) -> SpanId {
    let mut id = [0; 8];
    id.copy_from_slice(&Sha256::digest(span.bytes)[..8]);
    SpanId::from_bytes(id).unwrap_or_else(new_span_id)
}

/// Likewise for a trace. X-Ray wants the time in front.
fn derived_trace_id(span: &Indexed<'_>, now: SystemTime) -> TraceId {
    let time = if span.end == 0 { now } else { span.ended() };
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs() as u32;
    let mut id = [0; 16];
    id.copy_from_slice(&Sha256::digest(span.bytes)[..16]);
    id[..4].copy_from_slice(&seconds.to_be_bytes());
    TraceId::from_bytes(id).unwrap_or_else(|| new_trace_id(now))
}

/// Alike for all spans of a trace, whenever they come: the trace's random bits decide.
fn is_chosen(trace_id: TraceId, rate: f64) -> bool {
    let random = (u128::from_be_bytes(trace_id.to_bytes()) as u64) as f64 / 2_f64.powi(64);
    random < rate || rate >= 1.0
}

#[cfg(test)]
mod tests;
