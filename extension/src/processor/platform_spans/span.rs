//! Platform spans and their OTLP encoding.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{
        ResourceSpans, ScopeSpans, Span, SpanFlags, Status, span::SpanKind, status::StatusCode,
    },
};
use prost::Message;
use trace_context::{SpanId, TraceId};

use crate::invocation::attempt::SpanParent;
use crate::invocation::usage::SandboxUsage;
use crate::lambda::telemetry_event::{
    InvocationReport, PhaseReport, RuntimeDone, millis, parse_time,
};
use crate::otlp::payload::{Payload, SAMPLING_PRIORITY, SignalKind};

/// A span without a trace yet.
#[derive(Debug)]
pub(crate) struct PlatformSpan {
    /// Drawn when the span is encoded, unless others need it before: a snapshot must not hold it.
    id: Option<SpanId>,
    name: String,
    start: SystemTime,
    end: SystemTime,
    attributes: Vec<KeyValue>,
    is_root: bool,
    failed: bool,
}

impl PlatformSpan {
    pub(crate) fn new(name: impl Into<String>, start: SystemTime, end: SystemTime) -> Self {
        let name = name.into();
        Self { id: None, name, start, end, attributes: Vec::new(), is_root: false, failed: false }
    }

    /// `init` or `restore`, which ends at the time of its report.
    pub(crate) fn phase(name: &str, phase: &PhaseReport, end: SystemTime) -> Self {
        let took = millis(phase.metrics.duration_ms.unwrap_or_default());
        let mut span = Self::new(name, end.checked_sub(took).unwrap_or(end), end);
        span.failed = phase.status.as_deref().is_some_and(|status| status != "success");
        let texts = [
            ("aws.lambda.initialization_type", &phase.initialization_type),
            ("aws.lambda.phase", &phase.phase),
            ("error.type", &phase.error_type),
        ];
        for (key, text) in texts {
            if let Some(text) = text {
                span.attribute(key, text.clone());
            }
        }
        span
    }

    /// The span `runtimeOverhead`: from the reply to the runtime's next request for work.
    pub(crate) fn overhead(done: &RuntimeDone) -> Option<Self> {
        let span = done.spans.as_array()?.iter().find(|span| span["name"] == "runtimeOverhead")?;
        let start = parse_time(span["start"].as_str()?)?;
        let end = start + millis(span["durationMs"].as_f64()?);
        Some(Self::new("runtimeOverhead", start, end))
    }

    /// The span `platform.report`: the invocation's cost over its duration.
    /// `hold` is how long the extension held Next, which is a part of the billed time.
    /// `usage` is of the whole sandbox, the extension included.
    pub(crate) fn report(
        report: &InvocationReport,
        start: SystemTime,
        hold: Option<Duration>,
        usage: Option<&SandboxUsage>,
    ) -> Self {
        let metrics = &report.metrics;
        let hold_ms = hold.map(|hold| hold.as_secs_f64() * 1e3);
        let billed = metrics.billed_duration_ms.filter(|billed| *billed > 0.0);
        let hold_share = hold_ms.zip(billed).map(|(hold, billed)| hold / billed);
        let end = start + millis(metrics.duration_ms.unwrap_or_default());
        let mut span = Self::new("platform.report", start, end);
        let figures = [
            ("aws.lambda.duration_ms", metrics.duration_ms),
            ("aws.lambda.billed_duration_ms", metrics.billed_duration_ms),
            ("aws.lambda.memory_size_mb", metrics.memory_size_mb),
            ("aws.lambda.max_memory_used_mb", metrics.max_memory_used_mb),
            ("aws.lambda.init_duration_ms", metrics.init_duration_ms),
            ("aws.lambda.restore_duration_ms", metrics.restore_duration_ms),
            ("cruddur.hold_ms", hold_ms),
            ("cruddur.hold_share", hold_share),
        ];
        for (key, figure) in figures {
            if let Some(figure) = figure {
                span.push(key, Value::DoubleValue(figure));
            }
        }
        for (key, figure) in usage.into_iter().flat_map(SandboxUsage::figures) {
            span.push(key, Value::IntValue(i64::try_from(figure).unwrap_or(i64::MAX)));
        }
        if report.is_out_of_memory() {
            span.push("aws.lambda.out_of_memory", Value::BoolValue(true));
        }
        if let Some(status) = &report.status {
            span.attribute("aws.lambda.status", status.clone());
        }
        span
    }

    /// The root of an invocation without a server span.
    pub(crate) fn root(
        id: SpanId,
        name: String,
        (start, end): (SystemTime, SystemTime),
        error_type: Option<&str>,
    ) -> Self {
        let mut span = Self::new(name, start, end.max(start));
        span.id = Some(id);
        span.is_root = true;
        span.failed = error_type.is_some();
        error_type.into_iter().for_each(|error_type| span.attribute("error.type", error_type));
        span
    }

    pub(crate) fn attribute(&mut self, key: &str, text: impl Into<String>) {
        self.push(key, Value::StringValue(text.into()));
    }

    fn push(&mut self, key: &str, value: Value) {
        self.attributes.push(key_value(key, value));
    }

    fn into_otlp(mut self, server: SpanParent) -> Span {
        if !server.is_sampled {
            self.push(SAMPLING_PRIORITY, Value::IntValue(0));
        }
        let parent = (!self.is_root).then(|| server.span_id.to_bytes().to_vec());
        let kind = if self.is_root { SpanKind::Server } else { SpanKind::Internal };
        Span {
            trace_id: server.trace_id.to_bytes().to_vec(),
            span_id: self.id.unwrap_or_else(new_span_id).to_bytes().to_vec(),
            parent_span_id: parent.unwrap_or_default(),
            flags: SpanFlags::ContextHasIsRemoteMask as u32 | u32::from(server.is_sampled),
            name: self.name,
            kind: kind as i32,
            start_time_unix_nano: nanos(self.start),
            end_time_unix_nano: nanos(self.end),
            attributes: self.attributes,
            status: self
                .failed
                .then(|| Status { code: StatusCode::Error as i32, ..Status::default() }),
            ..Span::default()
        }
    }
}

/// Encodes spans of one trace as one payload.
pub(crate) fn encode(
    resource: &[(String, String)],
    server: SpanParent,
    spans: Vec<PlatformSpan>,
) -> Payload {
    let items = spans.len() as u64;
    let has_error = spans.iter().any(|span| span.failed);
    let attributes =
        resource.iter().map(|(key, text)| key_value(key, Value::StringValue(text.clone())));
    let resource = Resource { attributes: attributes.collect(), ..Resource::default() };
    let scope = InstrumentationScope {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let spans = spans.into_iter().map(|span| span.into_otlp(server)).collect();
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }];
    let resource_spans =
        vec![ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() }];
    let bytes = ExportTraceServiceRequest { resource_spans }.encode_to_vec().into();
    Payload { kind: SignalKind::Traces, bytes, items, has_error, has_unsampled: !server.is_sampled }
}

/// A new trace id that begins with the time, as X-Ray requires.
pub(crate) fn new_trace_id(now: SystemTime) -> TraceId {
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as u32;
    let mut bytes = fastrand::u128(1..).to_be_bytes();
    bytes[..4].copy_from_slice(&seconds.max(1).to_be_bytes());
    TraceId::from_bytes(bytes).unwrap_or_else(|| new_trace_id(now))
}

pub(crate) fn new_span_id() -> SpanId {
    let id = SpanId::from_bytes(fastrand::u64(1..).to_be_bytes());
    id.unwrap_or_else(new_span_id)
}

fn key_value(key: &str, value: Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
