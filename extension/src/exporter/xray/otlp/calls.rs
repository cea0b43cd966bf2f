//! Cuts a batch into calls that X-Ray accepts.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch-OTLPEndpoint.html>
//!
//! X-Ray refuses a whole call for its size, its resources or its range of times, and single spans for
//! their size and age. The limits are counted in the smaller of both readings: kB are 1,000 bytes.
//!
//! Calls are not compressed: gzip's fastest level takes 5 µs for a span of 557 bytes and leaves 226 of them, and
//! all other steps of this way take 3 µs together (`measure_calls`, release build).

use std::{borrow::Cow, collections::HashSet, time::Duration};

use crate::exporter::xray::acknowledged::AcknowledgedSpans;
use crate::exporter::xray::index::{Indexed, nanos_of};
use crate::exporter::xray::otlp::rewrite::push_span;
use crate::exporter::xray::placement::{PlacedBatch, Placement};
use crate::exporter::xray::segment::SegmentId;
use crate::exporter::xray::translate::SegmentPlace;
use crate::otlp::cut::cut_to;
use crate::otlp::edit::{RESOURCES, head, push_item, push_message};
use crate::otlp::schema::{RESOURCE_SPANS, SCOPE_SPANS, SPAN};
use crate::otlp::wire::nested;

/// Most spans of a call.
const MAX_SPANS: usize = 10_000;

/// Most bytes of a call without compression.
const MAX_CALL_BYTES: usize = 5_000_000;

/// Keys and lengths around a scope and a span.
const FRAME_BYTES: usize = 32;

/// Most bytes of a span.
const MAX_SPAN_BYTES: usize = 200_000;

/// Most bytes of a resource and of a scope: X-Ray's limit of 16 kB holds for both together.
const MAX_RESOURCE_BYTES: usize = 12_000;
const MAX_SCOPE_BYTES: usize = 4_000;

/// X-Ray's limit is 14 days. The minute is for the way.
const MAX_AGE: Duration = Duration::from_secs(14 * 24 * 3_600 - 60);
const MAX_AHEAD: Duration = Duration::from_secs(2 * 3_600);

/// The spans of a call ended in the same half of a day. X-Ray's limit is 24 hours from the first to the
/// last span, so spans of up to 12 hours may also begin in this range. A longer one is sent in a separate call.
const HALF_DAY: Duration = Duration::from_secs(12 * 3_600);

#[derive(Debug)]
pub(super) struct CutBatch {
    pub(super) calls: Vec<OtlpCall>,
    /// Spans that X-Ray has already, from an attempt that failed later.
    pub(super) acknowledged: Vec<SegmentId>,
    /// Refused and dropped spans.
    pub(super) rejected: u64,
    pub(super) dropped: DroppedSpans,
    /// Spans whose values were cut.
    pub(super) cut_spans: u64,
}

#[derive(Debug, Default)]
pub(super) struct OtlpCall {
    /// An encoded export request.
    pub(super) body: Vec<u8>,
    pub(super) ids: Vec<SegmentId>,
    /// `None` for a long span, which is alone.
    half_day: Option<u64>,
    /// Encoded scopes of the present resource.
    scopes: Vec<u8>,
    /// Encoded spans of the present scope.
    items: Vec<u8>,
}

/// Numbers of spans that X-Ray would refuse.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct DroppedSpans {
    pub(super) out_of_time: u64,
    pub(super) too_large: u64,
    pub(super) of_large_resource: u64,
}

impl DroppedSpans {
    fn count(&self) -> u64 {
        self.out_of_time + self.too_large + self.of_large_resource
    }

    /// The reasons that occurred, with the number of spans.
    pub(super) fn reasons(&self) -> impl Iterator<Item = (u64, &'static str)> {
        let reasons = [
            (self.out_of_time, "X-Ray takes spans of the last 14 days and the next 2 hours"),
            (self.too_large, "they have more than 200 kB with their values cut"),
            (self.of_large_resource, "resource and scope have more than 16 kB"),
        ];
        reasons.into_iter().filter(|(count, _)| *count > 0)
    }
}

/// The calls that send the batch, without spans that X-Ray has already. A copy of a span is left out.
pub(super) fn cut(batch: &PlacedBatch<'_>, acknowledged: &AcknowledgedSpans) -> CutBatch {
    let mut cutter = Cutter::new(batch, acknowledged);
    let mut pairs = batch.spans.iter().zip(&batch.placements);
    for resource in nested(batch.request, 1) {
        let resource_head = head(resource);
        let resource_head = cut_to(&RESOURCE_SPANS, &resource_head, MAX_RESOURCE_BYTES);
        for scope in nested(resource, 2) {
            let scope_head = head(scope);
            let scope_head = cut_to(&SCOPE_SPANS, &scope_head, MAX_SCOPE_BYTES);
            let heads = resource_head.as_deref().zip(scope_head.as_deref());
            for (span, placement) in pairs.by_ref().take(nested(scope, 2).count()) {
                if let Placement::Sent(place) = placement {
                    cutter.push(span, place, heads);
                }
            }
            cutter.end_scope(scope_head.as_deref());
        }
        cutter.end_resource(resource_head.as_deref());
    }
    let mut cut = cutter.cut;
    cut.rejected += cut.dropped.count();
    cut
}

/// The encoded heads of a resource and a scope. `None` if they are too large.
type Heads<'a> = Option<(&'a [u8], &'a [u8])>;

struct Cutter<'a> {
    batch: &'a PlacedBatch<'a>,
    known: &'a AcknowledgedSpans,
    /// Nanoseconds since the epoch of the first and last accepted time.
    times: (u64, u64),
    /// Spans of a batch that may have copies.
    seen: HashSet<SegmentId>,
    /// The present span.
    span: Vec<u8>,
    cut: CutBatch,
}

impl<'a> Cutter<'a> {
    fn new(batch: &'a PlacedBatch<'a>, known: &'a AcknowledgedSpans) -> Self {
        let cut = CutBatch {
            calls: Vec::new(),
            acknowledged: Vec::new(),
            rejected: 0,
            dropped: DroppedSpans::default(),
            cut_spans: 0,
        };
        let times = (nanos_of(batch.now - MAX_AGE), nanos_of(batch.now + MAX_AHEAD));
        Self { batch, known, times, seen: HashSet::new(), span: Vec::new(), cut }
    }

    fn push(&mut self, span: &Indexed<'_>, place: &SegmentPlace, heads: Heads<'_>) {
        let id = (place.trace_id, place.id);
        let is_copy = self.batch.may_have_copies && !self.seen.insert(id);
        if let Some(known) = self.known.get(id) {
            self.cut.rejected += u64::from(known.is_refused);
            return self.cut.acknowledged.push(id);
        }
        let Some((resource_head, scope_head)) = heads.filter(|_| !is_copy) else {
            self.cut.dropped.of_large_resource += u64::from(!is_copy);
            return;
        };
        let (start, end) = span.times(self.batch.now);
        if start < self.times.0 || end > self.times.1 {
            self.cut.dropped.out_of_time += 1;
            return;
        }
        self.span.clear();
        push_span(&mut self.span, span, place, self.batch.now);
        let Some(encoded) = cut_to(&SPAN, &self.span, MAX_SPAN_BYTES) else {
            self.cut.dropped.too_large += 1;
            return;
        };
        self.cut.cut_spans += u64::from(matches!(encoded, Cow::Owned(_)));
        let bytes = resource_head.len() + scope_head.len() + encoded.len() + FRAME_BYTES;
        let half_day = HALF_DAY.as_nanos() as u64;
        let is_long = end.saturating_sub(start) > half_day;
        let call = call_for(&mut self.cut.calls, (!is_long).then_some(end / half_day), bytes);
        push_item(&mut call.items, &encoded);
        call.ids.push(id);
    }

    fn end_scope(&mut self, head: Option<&[u8]>) {
        let Some(head) = head else { return };
        for call in self.cut.calls.iter_mut().filter(|call| !call.items.is_empty()) {
            push_item(&mut call.scopes, &[head, &call.items].concat());
            call.items.clear();
        }
    }

    fn end_resource(&mut self, head: Option<&[u8]>) {
        let Some(head) = head else { return };
        for call in self.cut.calls.iter_mut().filter(|call| !call.scopes.is_empty()) {
            push_message(&mut call.body, RESOURCES, &[head, &call.scopes].concat());
            call.scopes.clear();
        }
    }
}

/// The last call of this half of a day, or a new one if so many bytes do not fit.
fn call_for(calls: &mut Vec<OtlpCall>, half_day: Option<u64>, bytes: usize) -> &mut OtlpCall {
    let fits = |call: &OtlpCall| {
        let used = call.body.len() + call.scopes.len() + call.items.len();
        call.ids.len() < MAX_SPANS && used + bytes <= MAX_CALL_BYTES
    };
    let is_same = |call: &OtlpCall| half_day.is_some() && call.half_day == half_day;
    let last = calls.iter().rposition(is_same);
    let at = last.filter(|at| fits(&calls[*at])).unwrap_or_else(|| {
        calls.push(OtlpCall { half_day, ..OtlpCall::default() });
        calls.len() - 1
    });
    &mut calls[at]
}

#[cfg(test)]
mod tests;
