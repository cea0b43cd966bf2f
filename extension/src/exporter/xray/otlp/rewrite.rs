//! Rewrites an encoded span for X-Ray.
//!
//! Links stay as they came: the trace that X-Ray has of another invocation is unknown here.

use std::time::SystemTime;

use crate::exporter::xray::index::Indexed;
use crate::exporter::xray::translate::SegmentPlace;
use crate::otlp::edit::{
    push_fields_except, push_fixed32, push_fixed64, push_message, push_text_attribute,
};

const TRACE_ID: u32 = 1;
const SPAN_ID: u32 = 2;
const PARENT_SPAN_ID: u32 = 4;
const START_TIME: u32 = 7;
const END_TIME: u32 = 8;
const ATTRIBUTES: u32 = 9;
const FLAGS: u32 = 16;

const IDS: [u32; 3] = [TRACE_ID, SPAN_ID, PARENT_SPAN_ID];
const IDS_TIMES_FLAGS: [u32; 6] = [TRACE_ID, SPAN_ID, PARENT_SPAN_ID, START_TIME, END_TIME, FLAGS];

/// `SpanFlags`: W3C's sampled flag.
const SAMPLED: u32 = 1;

/// Writes the span with the ids, parent and flag that it has at X-Ray, and with valid times. An entry
/// span gets the attribute `w3c_trace_id`, like its document.
pub(super) fn push_span(
    out: &mut Vec<u8>,
    span: &Indexed<'_>,
    place: &SegmentPlace,
    now: SystemTime,
) {
    push_message(out, TRACE_ID, &place.trace_id.to_bytes());
    push_message(out, SPAN_ID, &place.id.to_bytes());
    if let Some(parent) = place.parent {
        push_message(out, PARENT_SPAN_ID, &parent.to_bytes());
    }
    let (start, end) = span.times(now);
    // A sender that knows no flags leaves all of them unset.
    let has_flags = span.flags == 0 || span.flags & SAMPLED != 0;
    if has_flags && (start, end) == (span.start, span.end) {
        push_fields_except(out, span.bytes, &IDS);
    } else {
        push_fields_except(out, span.bytes, &IDS_TIMES_FLAGS);
        push_fixed64(out, START_TIME, start);
        push_fixed64(out, END_TIME, end);
        if span.flags != 0 {
            push_fixed32(out, FLAGS, span.flags | SAMPLED);
        }
    }
    if let Some(w3c_trace_id) = place.entry {
        push_text_attribute(out, ATTRIBUTES, "w3c_trace_id", &w3c_trace_id.to_string());
    }
}

#[cfg(test)]
mod tests;
