//! Reads the fields that decide a span's placement from the encoded bytes of a whole batch.
//!
//! Spans are decoded later, one at a time, so that a large batch does not need a multiple of its size
//! in memory.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use trace_context::{SpanId, TraceId};

use crate::otlp::payload;
use crate::otlp::payload::{XRAY_HEADER_KEY, is_forwarded};
use crate::otlp::wire::{self, Value, nested};

#[derive(Debug, Default)]
pub(super) struct Indexed<'a> {
    pub(super) bytes: &'a [u8],
    /// Index into the batch's resources.
    pub(super) resource: usize,
    /// `None` if the id is invalid.
    pub(super) trace_id: Option<TraceId>,
    /// `None` if the id is invalid.
    pub(super) span_id: Option<SpanId>,
    /// `None` for a root or an invalid id.
    pub(super) parent: Option<SpanId>,
    /// Nanoseconds since the epoch; 0 if it is unset.
    pub(super) start: u64,
    pub(super) end: u64,
    /// `SpanFlags`.
    pub(super) flags: u32,
    /// The function forwarded the span for another program, so it is not part of the invocation.
    pub(super) is_forwarded: bool,
    /// Whether the parent is in another process, as far as the span's fields show.
    pub(super) is_entry: bool,
    /// Request id of the invocation; only of server spans.
    pub(super) invocation: Option<&'a str>,
    /// X-Ray's header that the function received, in an attribute of the span or its resource.
    pub(super) header: Option<&'a str>,
}

const SERVER: u64 = 2; // SpanKind::Server
const HEADER: &[u8] = XRAY_HEADER_KEY.as_bytes();
/// `SpanFlags::ContextHasIsRemoteMask`: whether [`REMOTE`] is meaningful.
const KNOWS_REMOTE: u32 = 0x100;
const REMOTE: u32 = 0x200; // SpanFlags::ContextIsRemoteMask

impl Indexed<'_> {
    pub(super) fn ended(&self) -> SystemTime {
        UNIX_EPOCH.checked_add(Duration::from_nanos(self.end)).unwrap_or(UNIX_EPOCH)
    }

    pub(super) fn times(&self, now: SystemTime) -> (u64, u64) {
        valid_times(self.start, self.end, now)
    }
}

/// Start and end in nanoseconds. A span without times gets `now`; the end is never before the start.
pub(super) fn valid_times(start: u64, end: u64, now: SystemTime) -> (u64, u64) {
    let start = match (start, end) {
        (0, 0) => nanos_of(now),
        (0, end) => end,
        (start, _) => start,
    };
    (start, end.max(start))
}

/// Nanoseconds since the epoch.
pub(super) fn nanos_of(time: SystemTime) -> u64 {
    let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX)
}

/// The spans of an export request whose encoding was checked, and the bytes of their resources.
pub(super) fn index(request: &[u8]) -> (Vec<Indexed<'_>>, Vec<&[u8]>) {
    let (mut spans, mut resources) = (Vec::new(), Vec::new());
    for resource_spans in nested(request, 1) {
        let resource = nested(resource_spans, 1).last().unwrap_or_default();
        let is_forwarded = is_forwarded(resource_spans);
        let header = header(resource);
        for span in nested(resource_spans, 2).flat_map(|scope| nested(scope, 2)) {
            let span = read(span, resources.len());
            spans.push(Indexed {
                is_forwarded,
                header: span.header.or(header.filter(|_| !is_forwarded)),
                ..span
            });
        }
        resources.push(resource);
    }
    (spans, resources)
}

fn read(bytes: &[u8], resource: usize) -> Indexed<'_> {
    let mut span = Indexed { bytes, resource, ..Indexed::default() };
    let (mut is_server, mut is_local_root) = (false, false);
    for field in wire::fields(bytes).flatten() {
        match field {
            (1, Value::Bytes(id)) => {
                span.trace_id = id.try_into().ok().and_then(TraceId::from_bytes)
            }
            (2, Value::Bytes(id)) => span.span_id = id.try_into().ok().and_then(SpanId::from_bytes),
            (4, Value::Bytes(id)) => span.parent = id.try_into().ok().and_then(SpanId::from_bytes),
            (6, Value::Varint(kind)) => is_server = kind == SERVER,
            (7, Value::Fixed64(nanos)) => span.start = nanos,
            (8, Value::Fixed64(nanos)) => span.end = nanos,
            (9, Value::Bytes(pair)) => match nested(pair, 1).last() {
                Some(HEADER) => span.header = text(pair),
                Some(b"aws.span.kind") => is_local_root = text(pair) == Some("LOCAL_ROOT"),
                _ => {}
            },
            (16, Value::Fixed32(bits)) => span.flags = bits,
            _ => {}
        }
    }
    let invocation = is_server.then(|| payload::request_id(bytes, 9)).flatten();
    span.invocation = invocation.and_then(|id| std::str::from_utf8(id).ok());
    let is_parent_remote = match span.flags & KNOWS_REMOTE {
        0 => is_server,
        _ => span.flags & REMOTE != 0,
    };
    span.is_entry = is_parent_remote || is_local_root || span.invocation.is_some();
    span
}

/// The header that the extension has added to a resource.
fn header(resource: &[u8]) -> Option<&str> {
    nested(resource, 1).filter(|pair| nested(pair, 1).last() == Some(HEADER)).find_map(text)
}

fn text(pair: &[u8]) -> Option<&str> {
    let value = nested(pair, 2).last()?;
    std::str::from_utf8(nested(value, 1).last()?).ok()
}
