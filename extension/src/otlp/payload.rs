//! The unit that travels through the pipeline: the bytes of one accepted OTLP request or of a part of
//! it, of some [log lines](crate::otlp::line_codec), or of an [item](crate::otlp::failure_codec).

use std::{collections::HashSet, time::SystemTime};

use bytes::Bytes;
use memchr::memmem;
use serde::Serialize;
use trace_context::{SpanId, TraceId};

use crate::otlp::{
    edit,
    log_level::LogLevel,
    schema::{LOGS_REQUEST, METRICS_REQUEST, Schema, TRACES_REQUEST},
    wire::{self, Malformed, Value, nested},
};
use crate::time::time_at;

/// Most uncompressed bytes in one batch, unless a single payload is larger. [`Payload::fit`] bounds those
/// of OTLP.
/// The limit of Honeycomb's own client library:
/// <https://github.com/honeycombio/libhoney-go/blob/main/transmission/transmission.go>
pub const MAX_BATCH_BYTES: usize = 5_000_000;

/// OTLP's three signals, log lines from the Telemetry API, failures, and raw POSTs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SignalKind {
    Traces,
    Logs,
    /// Counted in metrics, not in their data points.
    Metrics,
    /// Lines of the function and records of the platform, counted in lines.
    Lines,
    /// Counted in failed invocations and messages: an item may stand for several.
    Failures,
    /// POSTs of the Telemetry API that are not read yet, counted in events that will become lines.
    Posts,
}

impl SignalKind {
    /// In the order of their numbers (`as usize`).
    pub const ALL: [Self; 6] =
        [Self::Traces, Self::Logs, Self::Metrics, Self::Lines, Self::Failures, Self::Posts];
    pub const OTLP: [Self; 3] = [Self::Traces, Self::Logs, Self::Metrics];

    /// Stands in file names. After `/v1/` it is the path of an OTLP signal.
    pub fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Logs => "logs",
            Self::Metrics => "metrics",
            Self::Lines => "lines",
            Self::Failures => "failures",
            Self::Posts => "posts",
        }
    }

    /// The plural of one item, for messages.
    pub fn items(self) -> &'static str {
        match self {
            Self::Traces => "spans",
            Self::Logs => "log records",
            Self::Metrics => "metrics",
            Self::Lines | Self::Posts => "lines",
            Self::Failures => "failures",
        }
    }

    pub fn schema(self) -> Result<&'static Schema, Malformed> {
        match self {
            Self::Traces => Ok(&TRACES_REQUEST),
            Self::Logs => Ok(&LOGS_REQUEST),
            Self::Metrics => Ok(&METRICS_REQUEST),
            Self::Lines | Self::Failures | Self::Posts => Err(Malformed("no protobuf")),
        }
    }
}

/// A checked protobuf export request, or encoded lines or items.
///
/// Protobuf messages of one type concatenate into one message, so a batch is the payloads' bytes in
/// sequence, and nothing is encoded twice.
#[derive(Clone, Debug)]
pub struct Payload {
    pub kind: SignalKind,
    pub bytes: Bytes,
    /// Number of items, the unit of all accounting.
    pub items: u64,
    /// Whether it holds a failed span or an error record. Such payloads are dropped last.
    pub has_error: bool,
    /// Whether a span is unsampled; see [`SAMPLING_PRIORITY`].
    pub has_unsampled: bool,
}

/// An ended SERVER span that names its invocation, as evidence that the invocation is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSpan {
    /// One of [`REQUEST_ID_KEYS`].
    pub request_id: String,
    /// `None` if the id is invalid.
    pub trace_id: Option<TraceId>,
    /// `None` if the id is invalid.
    pub span_id: Option<SpanId>,
    pub is_sampled: bool,
    pub failed: bool,
    /// `None` without an end time.
    pub ended: Option<SystemTime>,
    /// Whether the invocation sends nothing after this span. Our SDK sends its spans after the reply
    /// and marks them with [`XRAY_HEADER_KEY`]; other SDKs may send a server span earlier.
    pub is_last_word: bool,
}

/// The attribute of a server span that names its invocation, and its name in older conventions.
pub const REQUEST_ID_KEYS: [&str; 2] = ["faas.invocation_id", "faas.execution"];

/// The attribute of a span, or of a resource, that holds the value of `X-Amzn-Trace-Id`.
pub const XRAY_HEADER_KEY: &str = "cruddur.xray_header";

/// The resource attribute of spans that the function forwards for another program, such as a page. They are
/// no evidence of an invocation.
pub const FORWARDED_KEY: &[u8] = b"cruddur.source";

pub(super) const SERVER: u64 = 2; // SpanKind::Server
const STATUS_ERROR: u64 = 2; // StatusCode::Error

impl Payload {
    /// Checks a message and finds its server spans, errors and sampling flags.
    pub fn read(kind: SignalKind, bytes: Bytes) -> Result<(Self, Vec<ServerSpan>), Malformed> {
        wire::check(kind.schema()?, &bytes)?;
        Ok(Self::of_checked(kind, bytes))
    }

    pub(super) fn of_checked(kind: SignalKind, bytes: Bytes) -> (Self, Vec<ServerSpan>) {
        let mut signal =
            Self { kind, bytes: bytes.clone(), items: 0, has_error: false, has_unsampled: false };
        let mut servers = Vec::new();
        // Few payloads hold this key: one search over the bytes avoids looking into each span.
        let has_priority = memmem::find(&bytes, SAMPLING_PRIORITY.as_bytes()).is_some();
        let has_forwarded = memmem::find(&bytes, FORWARDED_KEY).is_some();
        for resource in nested(&bytes, 1) {
            let is_forwarded = has_forwarded && is_forwarded(resource);
            for item in nested(resource, 2).flat_map(|scope| nested(scope, 2)) {
                signal.items += 1;
                match kind {
                    SignalKind::Traces => {
                        let span = SpanView::of(item);
                        signal.has_error |= span.failed;
                        signal.has_unsampled |= has_priority && !span.is_sampled();
                        servers.extend(span.server_span().filter(|_| !is_forwarded));
                    }
                    SignalKind::Logs => signal.has_error |= is_error(kind, item),
                    _ => {}
                }
            }
        }
        (signal, servers)
    }

    /// Adds the attributes that a resource lacks, and splits payloads that are larger than a batch;
    /// a single item may still be larger. A request without items is left out.
    pub fn fit(self, attributes: &[(&str, String)]) -> Vec<Self> {
        if self.items == 0 {
            return Vec::new();
        }
        let bytes = attributes.iter().fold(self.bytes, |bytes, (key, text)| {
            edit::with_resource_attribute(&bytes, key, text).map_or(bytes, Bytes::from)
        });
        let signal = Self { bytes, ..self };
        if signal.bytes.len() <= MAX_BATCH_BYTES {
            return vec![signal];
        }
        let parts = edit::regroup(&signal.bytes, MAX_BATCH_BYTES, |_| true).into_iter();
        let part = |bytes: Vec<u8>| {
            let items = items(&bytes).count() as u64;
            Self { items, bytes: bytes.into(), ..signal.clone() }
        };
        parts.map(part).collect()
    }
}

/// Whether the spans of an encoded `ResourceSpans` are forwarded.
pub fn is_forwarded(resource_spans: &[u8]) -> bool {
    let resource = nested(resource_spans, 1).flat_map(|resource| nested(resource, 1));
    resource.into_iter().any(|pair| nested(pair, 1).last() == Some(FORWARDED_KEY))
}

/// When an encoded span ended.
pub fn ended(span: &[u8]) -> Option<SystemTime> {
    let nanos = wire::fields(span).flatten().filter_map(|field| match field {
        (8, Value::Fixed64(nanos)) => Some(nanos),
        _ => None,
    });
    time_at(nanos.last()?)
}

/// The items of a request. All OTLP signals nest alike: resource (1) → scope (2) → item (2).
pub fn items(request: &[u8]) -> impl Iterator<Item = &[u8]> {
    let scopes = nested(request, 1).flat_map(|resource| nested(resource, 2));
    scopes.flat_map(|scope| nested(scope, 2))
}

/// The request without the spans of unsampled traces, and the number of spans left out. A trace with
/// an error is kept whole. `None` if no span is left out.
pub fn only_sampled(request: &[u8]) -> Option<(Vec<u8>, u64)> {
    let failed = items(request).map(SpanView::of).filter(|span| span.failed);
    let failed: HashSet<&[u8]> = failed.filter_map(|span| span.trace_id()).collect();
    let mut left_out = 0;
    let parts = edit::regroup(request, usize::MAX, |span| {
        let span = SpanView::of(span);
        let keep = span.is_sampled() || span.trace_id().is_some_and(|id| failed.contains(id));
        left_out += u64::from(!keep);
        keep
    });
    (left_out > 0).then(|| (parts.concat(), left_out))
}

/// Whether an item is a failed span, an error record or a failure.
pub fn is_error(kind: SignalKind, item: &[u8]) -> bool {
    match kind {
        SignalKind::Traces => SpanView::of(item).failed,
        SignalKind::Logs => level(item) >= LogLevel::Error,
        SignalKind::Failures => true,
        SignalKind::Metrics | SignalKind::Lines | SignalKind::Posts => false,
    }
}

/// Whether the encoded `Status` of a span is an error.
pub(super) fn is_failure(status: &[u8]) -> bool {
    let code = wire::fields(status).flatten().filter(|(number, _)| *number == 3);
    code.last() == Some((3, Value::Varint(STATUS_ERROR)))
}

fn level(record: &[u8]) -> LogLevel {
    let (mut number, mut text) = (0, &[][..]);
    for field in wire::fields(record).flatten() {
        match field {
            (2, Value::Varint(severity)) => number = severity as i32,
            (3, Value::Bytes(severity)) => text = severity,
            _ => {}
        }
    }
    LogLevel::of_record(number, std::str::from_utf8(text).unwrap_or_default())
}

/// The fields of a span that decide about sampling and errors.
struct SpanView<'a> {
    message: &'a [u8],
    kind: u64,
    failed: bool,
    flags: u32,
}

const SAMPLED: u32 = 1;

/// A span without the flag is left out only if this attribute is 0: some SDKs, Python's among them,
/// never set the flag and export sampled spans only.
/// <https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/processor/probabilisticsamplerprocessor>
pub const SAMPLING_PRIORITY: &str = "sampling.priority";

impl<'a> SpanView<'a> {
    fn of(message: &'a [u8]) -> Self {
        let mut view = Self { message, kind: 0, failed: false, flags: 0 };
        for field in wire::fields(message).flatten() {
            match field {
                (6, Value::Varint(kind)) => view.kind = kind,
                (15, Value::Bytes(status)) => view.failed = is_failure(status),
                (16, Value::Fixed32(flags)) => view.flags = flags,
                _ => {}
            }
        }
        view
    }

    fn trace_id(&self) -> Option<&'a [u8]> {
        nested(self.message, 1).last()
    }

    fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0 || !self.has_no_priority()
    }

    fn has_no_priority(&self) -> bool {
        let value = attribute_value(self.message, 9, SAMPLING_PRIORITY.as_bytes());
        let fields = value.into_iter().flat_map(wire::fields).flatten();
        fields.last().is_some_and(|field| matches!(field, (3, Value::Varint(0))))
    }

    fn server_span(&self) -> Option<ServerSpan> {
        if self.kind != SERVER {
            return None;
        }
        let id = request_id(self.message, 9)?;
        let trace_id = self.trace_id().and_then(|id| TraceId::from_bytes(id.try_into().ok()?));
        let span_id = nested(self.message, 2).last();
        Some(ServerSpan {
            request_id: String::from_utf8_lossy(id).into_owned(),
            trace_id,
            span_id: span_id.and_then(|id| SpanId::from_bytes(id.try_into().ok()?)),
            is_sampled: self.is_sampled(),
            failed: self.failed,
            ended: ended(self.message),
            is_last_word: attribute(self.message, 9, XRAY_HEADER_KEY.as_bytes()).is_some(),
        })
    }
}

/// The invocation that a message names in its repeated `KeyValue` field.
pub fn request_id(message: &[u8], field: u32) -> Option<&[u8]> {
    REQUEST_ID_KEYS.iter().find_map(|key| attribute(message, field, key.as_bytes()))
}

/// The text of an attribute in a message's repeated `KeyValue` field.
pub(crate) fn attribute<'a>(message: &'a [u8], field: u32, key: &[u8]) -> Option<&'a [u8]> {
    nested(attribute_value(message, field, key)?, 1).last()
}

/// The `AnyValue` of an attribute.
fn attribute_value<'a>(message: &'a [u8], field: u32, key: &[u8]) -> Option<&'a [u8]> {
    let pair = nested(message, field).find(|pair| nested(pair, 1).any(|found| found == key))?;
    nested(pair, 2).last()
}

#[cfg(test)]
mod tests;
