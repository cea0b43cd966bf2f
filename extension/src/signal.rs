//! What travels through the pipeline: one accepted OTLP request, kept as the bytes that came.

use bytes::Bytes;

use crate::wire::{
    self, LOGS_REQUEST, METRICS_REQUEST, Malformed, Schema, TRACES_REQUEST, Value, nested,
};

/// OTLP's three signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Counted in spans.
    Traces,
    /// Counted in log records.
    Logs,
    /// Counted in metrics, whatever number of points they have.
    Metrics,
}

impl Kind {
    /// All of them, in the order of their numbers (`as usize`).
    pub const ALL: [Self; 3] = [Self::Traces, Self::Logs, Self::Metrics];

    /// The path of the signal at any OTLP/HTTP endpoint.
    pub fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Logs => "/v1/logs",
            Self::Metrics => "/v1/metrics",
        }
    }

    /// What one item is called.
    pub fn items(self) -> &'static str {
        match self {
            Self::Traces => "spans",
            Self::Logs => "log records",
            Self::Metrics => "metrics",
        }
    }

    fn schema(self) -> &'static Schema {
        match self {
            Self::Traces => &TRACES_REQUEST,
            Self::Logs => &LOGS_REQUEST,
            Self::Metrics => &METRICS_REQUEST,
        }
    }
}

/// An export request in protobuf, checked by the receiver.
///
/// Protobuf messages of one type concatenate into one message, so a batch of signals is their
/// bytes in a row and nothing is encoded twice.
#[derive(Clone, Debug)]
pub struct Signal {
    /// Which request it is.
    pub kind: Kind,
    /// The encoded message.
    pub bytes: Bytes,
    /// Number of items inside, the unit of all accounting.
    pub items: u64,
    /// Whether a span in it has failed, or a log record is an error: the last to be dropped.
    pub has_error: bool,
}

/// An ended SERVER span that names its invocation: that invocation is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedInvocation {
    /// `faas.invocation_id`.
    pub request_id: String,
}

/// `SpanKind::Server`
const SERVER: u64 = 2;
/// `StatusCode::Error`
const STATUS_ERROR: u64 = 2;
/// `SeverityNumber::Error`, the lowest number of that class.
const SEVERITY_ERROR: u64 = 17;

impl Signal {
    /// Checks a message, and looks into it for what matters on the way.
    pub fn read(kind: Kind, bytes: Bytes) -> Result<(Self, Vec<EndedInvocation>), Malformed> {
        wire::check(kind.schema(), &bytes)?;
        let (mut items, mut has_error, mut ended) = (0, false, Vec::new());
        // Request → resource (1) → scope (2) → item (2), alike for all three.
        for item in nested(&bytes, 1)
            .flat_map(|resource| nested(resource, 2))
            .flat_map(|scope| nested(scope, 2))
        {
            items += 1;
            match kind {
                Kind::Traces => {
                    let span = SpanView::of(item);
                    has_error |= span.failed;
                    ended.extend(span.ended_invocation());
                }
                Kind::Logs => has_error |= severity(item) >= SEVERITY_ERROR,
                Kind::Metrics => {}
            }
        }
        Ok((Self { kind, bytes, items, has_error }, ended))
    }
}

fn severity(record: &[u8]) -> u64 {
    let numbers = wire::fields(record).flatten().filter_map(|field| match field {
        (2, Value::Varint(number)) => Some(number),
        _ => None,
    });
    numbers.last().unwrap_or(0)
}

/// The few fields of a span that decide something.
#[derive(Default)]
struct SpanView<'a> {
    message: &'a [u8],
    kind: u64,
    failed: bool,
}

impl<'a> SpanView<'a> {
    fn of(message: &'a [u8]) -> Self {
        let mut view = Self { message, ..Self::default() };
        for field in wire::fields(message).flatten() {
            match field {
                (6, Value::Varint(kind)) => view.kind = kind,
                (15, Value::Bytes(status)) => {
                    view.failed = wire::fields(status)
                        .flatten()
                        .any(|field| field == (3, Value::Varint(STATUS_ERROR)));
                }
                _ => {}
            }
        }
        view
    }

    fn ended_invocation(&self) -> Option<EndedInvocation> {
        if self.kind != SERVER {
            return None;
        }
        let id = attribute(self.message, 9, b"faas.invocation_id")?;
        Some(EndedInvocation { request_id: String::from_utf8_lossy(id).into_owned() })
    }
}

/// The text of an attribute among a message's repeated `KeyValue` field.
fn attribute<'a>(message: &'a [u8], field: u32, key: &[u8]) -> Option<&'a [u8]> {
    let pair = nested(message, field).find(|pair| nested(pair, 1).any(|found| found == key))?;
    nested(pair, 2).find_map(|value| nested(value, 1).last())
}
