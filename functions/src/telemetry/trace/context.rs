//! The trace context that a caller sends, and the one that calls and replies carry on.

use opentelemetry::{
    propagation::Extractor,
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use trace_context::{TraceParent, XrayHeader};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Longest `tracestate` that is passed on, in bytes: what the specification asks of everybody.
/// <https://www.w3.org/TR/trace-context/#tracestate-limits>
const MAX_TRACESTATE_BYTES: usize = 512;

/// An invalid `tracestate` is left out and the `traceparent` stays valid.
pub(in crate::telemetry) fn remote(caller: TraceParent, tracestate: Option<&str>) -> SpanContext {
    let state = tracestate.filter(|text| text.len() <= MAX_TRACESTATE_BYTES);
    SpanContext::new(
        TraceId::from_bytes(caller.trace_id.to_bytes()),
        SpanId::from_bytes(caller.parent_id.to_bytes()),
        if caller.sampled { TraceFlags::SAMPLED } else { TraceFlags::default() },
        true,
        state.and_then(|text| text.parse::<TraceState>().ok()).unwrap_or_default(),
    )
}

/// The value of the one header that [`BaggagePropagator`] asks for.
pub(in crate::telemetry) struct Baggage<'a>(pub(in crate::telemetry) &'a str);

impl Extractor for Baggage<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == "baggage").then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec!["baggage"]
    }
}

/// What Lambda said of the trace, for calls of AWS; in the context of every span below S.
pub(in crate::telemetry) struct XrayOfInvocation {
    pub(in crate::telemetry) header: XrayHeader,
    lineage: Option<String>,
}

impl XrayOfInvocation {
    pub(in crate::telemetry) fn read(value: &str) -> Option<Self> {
        let lineage = XrayHeader::lineage(value).map(str::to_owned);
        Some(Self { header: XrayHeader::parse(value)?, lineage })
    }
}

/// The header for a call of AWS in `span`: Lambda's `Root`, this span as `Parent`, and Lambda's
/// decision if there is one. Without Lambda's root the trace's id is the root.
///
/// `None` if the span is not recorded.
pub(in crate::telemetry) fn outgoing_xray_header(span: &tracing::Span) -> Option<String> {
    let context = span.context();
    let ids = context.span().span_context().clone();
    let parent = trace_context::SpanId::from_bytes(ids.span_id().to_bytes())?;
    let xray = context.get::<XrayOfInvocation>();
    let header = XrayHeader {
        root: match xray {
            Some(xray) => xray.header.root,
            None => trace_context::TraceId::from_bytes(ids.trace_id().to_bytes())?,
        },
        parent: Some(parent),
        sampled: xray.and_then(|xray| xray.header.sampled),
    };
    Some(match xray.and_then(|xray| xray.lineage.as_deref()) {
        Some(lineage) => format!("{header};Lineage={lineage}"),
        None => header.to_string(),
    })
}

/// The headers that name the trace of a reply: the `traceparent` of `span`, and X-Ray's root if
/// there is one.
pub(in crate::telemetry) fn reply_headers(
    span: &tracing::Span,
) -> (Option<String>, Option<String>) {
    let context = span.context();
    let ids = context.span().span_context().clone();
    let traceparent = || {
        let traceparent = TraceParent {
            trace_id: trace_context::TraceId::from_bytes(ids.trace_id().to_bytes())?,
            parent_id: trace_context::SpanId::from_bytes(ids.span_id().to_bytes())?,
            sampled: ids.is_sampled(),
        };
        Some(traceparent.to_string())
    };
    let xray = context.get::<XrayOfInvocation>();
    let xray = xray.map(|xray| XrayHeader { parent: None, ..xray.header }.to_string());
    (traceparent(), xray)
}
