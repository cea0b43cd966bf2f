//! Decides for each span its X-Ray trace and parent, or that it is not sent.
//!
//! The invocation decides, whatever the span's own trace id is. The first rule that finds an X-Ray
//! header applies:
//!
//! 1. a server span with `faas.invocation_id`: the header of INVOKE for that id;
//! 2. ancestors in the same batch: the nearest one with a header;
//! 3. a parent that is an entry span of an earlier batch: its policy;
//! 4. the span's `cruddur.xray_header`, which Cruddur's server spans and platform spans carry;
//! 5. a trace id that is the root of an invocation, the usual case without a caller's `traceparent`;
//! 6. the last invocation that began before the span ended, except for forwarded spans;
//! 7. none: the sampling decision is missing, and the span keeps its own trace id.
//!
//! So no span waits for a server span of a later batch: rules 5 and 6 find the same invocation. One
//! case is wrong: a span under a caller's trace id, in another batch than its server span, that ended
//! before its INVOKE was received. It goes into the trace of the previous invocation.
//!
//! | header | the entry span | its descendants |
//! |---|---|---|
//! | `Sampled=1`, `Parent` | subsegment under it | subsegments |
//! | `Sampled=1` alone | root segment | subsegments |
//! | `Sampled=0` | not sent | not sent |
//! | undecided, or no header | root segment at a fixed rate, else not sent | alike |
//!
//! Spans that are read from a log belong to ended invocations, so only rules 1 to 4 can find Lambda's
//! decision. Without it they are [`Placement::Unknown`].

use std::{
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sha2::{Digest, Sha256};
use trace_context::{SpanId, TraceId, XrayHeader};

use crate::bounded_map::BoundedMap;
use crate::exporter::xray::index::{Indexed, index};
use crate::exporter::xray::translate::SegmentPlace;
use crate::invocation::registry::Registry;
use crate::processor::platform_spans::{new_span_id, new_trace_id};

/// Most entry spans whose policy is kept for descendants in later batches.
const MAX_ENTRIES: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placement {
    Sent(SegmentPlace),
    /// The sampling decision is not to send the trace.
    Unsampled,
    /// The sampling decision is lost.
    Unknown,
}

/// The spans of a request whose encoding was checked, in their order there, with their places.
#[derive(Debug)]
pub(super) struct PlacedBatch<'a> {
    pub(super) request: &'a [u8],
    pub(super) spans: Vec<Indexed<'a>>,
    pub(super) placements: Vec<Placement>,
    pub(super) resources: Vec<&'a [u8]>,
    /// Whether two spans have the same ids, as copies have.
    pub(super) may_have_copies: bool,
    pub(super) now: SystemTime,
}

impl PlacedBatch<'_> {
    /// The number of spans that have this placement.
    pub(super) fn count(&self, placement: Placement) -> u64 {
        self.placements.iter().filter(|it| **it == placement).count() as u64
    }
}

/// Trace and sampling decision of an invocation's spans.
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

/// A span's policy, and whether the span is an entry span.
type ResolvedSpan = (TracePolicy, bool);

#[derive(Clone, Debug)]
pub(super) struct Placer {
    /// `None` for spans from a log.
    registry: Option<Registry>,
    /// Share of undecided traces that is sent, 0 to 1.
    undecided: f64,
    entries: BoundedMap<(TraceId, SpanId), TracePolicy>,
}

impl Placer {
    pub(super) fn new(registry: Option<Registry>, undecided: f64) -> Self {
        Self { registry, undecided, entries: BoundedMap::new(MAX_ENTRIES) }
    }

    pub(super) fn place<'a>(&mut self, request: &'a [u8], now: SystemTime) -> PlacedBatch<'a> {
        let (spans, resources) = index(request);
        let (placements, may_have_copies) = self.place_spans(&spans, now);
        PlacedBatch { request, spans, placements, resources, may_have_copies, now }
    }

    /// Identical copies of a span get one place. Also returns whether there may be any.
    pub(super) fn place_spans(
        &mut self,
        spans: &[Indexed<'_>],
        now: SystemTime,
    ) -> (Vec<Placement>, bool) {
        // Spans of a batch without a valid trace id and without an invocation share one trace.
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
                // Two different spans with one id would overwrite each other.
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
        let resolved = resolve_ancestors(&parents, |index| {
            self.resolve_root(&spans[index], trace_id(&spans[index]))
        });
        let may_have_copies = by_id.len() < spans.len();
        let spans = spans.iter().zip(ids).zip(resolved);
        let placements = spans.map(|((span, id), (policy, is_entry))| {
            placement(policy, is_entry, id, span.parent, trace_id(span))
        });
        (placements.collect(), may_have_copies)
    }

    /// Resolves a span whose parent is not in the batch.
    fn resolve_root(&mut self, span: &Indexed<'_>, trace_id: TraceId) -> ResolvedSpan {
        if let Some(parent) = span.parent.filter(|_| span.invocation.is_none())
            && let Some(policy) = self.entries.get(&(trace_id, parent))
        {
            return (*policy, false);
        }
        let registry = self.registry.as_ref();
        let by_request_id = || registry?.header_of_request(span.invocation?, Some(span.ended()));
        let carried = || XrayHeader::parse(span.header?);
        let by_trace_or_time = || {
            let registry = registry.filter(|_| span.invocation.is_none())?;
            let at_end = || registry.header_at(span.ended()).filter(|_| !span.is_forwarded);
            registry.header_of_root(trace_id).or_else(at_end)
        };
        let header = by_request_id().map(|header| header.parsed).or_else(carried);
        let header = header.or_else(|| by_trace_or_time().map(|header| header.parsed));
        let policy = self.policy(header, trace_id);
        let is_entry = span.is_entry || span.parent.is_none();
        if let Some(id) = span.span_id.filter(|_| is_entry) {
            self.entries.insert((trace_id, id), policy);
        }
        (policy, is_entry)
    }

    fn policy(&self, header: Option<XrayHeader>, own: TraceId) -> TracePolicy {
        let trace_id = header.map_or(own, |header| header.root);
        let parent = header.and_then(|header| header.parent);
        let entries = match header.and_then(|header| header.sampled) {
            Some(true) => parent.map_or(EntryPolicy::Segments, EntryPolicy::Under),
            Some(false) => EntryPolicy::NotSent,
            None if is_chosen(trace_id, self.undecided) => EntryPolicy::Segments,
            None if header.is_none() && self.registry.is_none() => EntryPolicy::Unknown,
            None => EntryPolicy::NotSent,
        };
        TracePolicy { trace_id, entries }
    }
}

fn placement(
    policy: TracePolicy,
    is_entry: bool,
    id: SpanId,
    parent: Option<SpanId>,
    w3c_trace_id: TraceId,
) -> Placement {
    let parent = match policy.entries {
        EntryPolicy::NotSent => return Placement::Unsampled,
        EntryPolicy::Unknown => return Placement::Unknown,
        EntryPolicy::Under(above) if is_entry => Some(above),
        EntryPolicy::Segments if is_entry => None,
        EntryPolicy::Under(_) | EntryPolicy::Segments => parent,
    };
    let entry = is_entry.then_some(w3c_trace_id);
    Placement::Sent(SegmentPlace { trace_id: policy.trace_id, id, parent, entry })
}

/// Follows parents upwards. `resolve_root` resolves a span without a parent, and its policy holds for
/// all descendants. A cycle is opened at the span that closes it, which becomes the entry span.
fn resolve_ancestors(
    parents: &[Option<usize>],
    mut resolve_root: impl FnMut(usize) -> ResolvedSpan,
) -> Vec<ResolvedSpan> {
    let mut resolved: Vec<Option<ResolvedSpan>> = vec![None; parents.len()];
    let mut seen_from = vec![usize::MAX; parents.len()];
    let mut path = Vec::new();
    for start in 0..parents.len() {
        let mut at = start;
        while resolved[at].is_none() {
            let is_cycle = seen_from[at] == start;
            match parents[at].filter(|_| !is_cycle) {
                Some(parent) => {
                    seen_from[at] = start;
                    path.push(at);
                    at = parent;
                }
                None => {
                    let (policy, is_entry) = resolve_root(at);
                    resolved[at] = Some((policy, is_entry || is_cycle));
                }
            }
        }
        let above = resolved[at].map(|(policy, _)| (policy, false));
        for below in path.drain(..) {
            resolved[below] = resolved[below].or(above);
        }
    }
    resolved.into_iter().flatten().collect()
}

/// An id for a span without a valid one, stable when the span is sent again.
fn derived_span_id(span: &Indexed<'_>) -> SpanId {
    let mut id = [0; 8];
    id.copy_from_slice(&Sha256::digest(span.bytes)[..8]);
    SpanId::from_bytes(id).unwrap_or_else(new_span_id)
}

/// Stable like [`derived_span_id`]; X-Ray requires the time in the first four bytes.
fn derived_trace_id(span: &Indexed<'_>, now: SystemTime) -> TraceId {
    let time = if span.end == 0 { now } else { span.ended() };
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs() as u32;
    let mut id = [0; 16];
    id.copy_from_slice(&Sha256::digest(span.bytes)[..16]);
    id[..4].copy_from_slice(&seconds.to_be_bytes());
    TraceId::from_bytes(id).unwrap_or_else(|| new_trace_id(now))
}

/// Equal for all spans of a trace, since the trace's random bits decide.
fn is_chosen(trace_id: TraceId, rate: f64) -> bool {
    let random = (u128::from_be_bytes(trace_id.to_bytes()) as u64) as f64 / 2_f64.powi(64);
    random < rate || rate >= 1.0
}

#[cfg(test)]
mod tests;
