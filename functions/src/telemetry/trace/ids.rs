//! Trace and span ids, and the trace in which a server span begins.

use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry::{
    Context,
    propagation::TextMapPropagator,
    trace::{SpanId, TraceContextExt, TraceId},
};
use opentelemetry_sdk::{
    propagation::BaggagePropagator,
    trace::{IdGenerator, RandomIdGenerator},
};
use trace_context::TraceParent;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::{
    context::{Baggage, XrayOfInvocation, remote},
    sampling::SamplingOverride,
};
use crate::{http::Request, telemetry::current_invocation::PerInvocation};

/// Longest `baggage` that is looked at, in bytes.
/// <https://www.w3.org/TR/baggage/#limits>
const MAX_BAGGAGE_BYTES: usize = 8192;

/// Makes ids; the id of the next trace can be set beforehand.
#[derive(Clone, Debug, Default)]
pub(in crate::telemetry) struct TraceIds {
    next: PerInvocation<Option<TraceId>>,
    random: RandomIdGenerator,
}

impl TraceIds {
    /// Starts `span` in the caller's trace, else in X-Ray's, else in a new one.
    ///
    /// X-Ray's `Parent` is ignored: that span exists in X-Ray alone, and other backends would show
    /// a broken trace. Its `Sampled` is ignored too, but goes with calls of AWS.
    pub(in crate::telemetry) fn start_span(
        &self,
        span: &tracing::Span,
        request: Option<&Request>,
        xray_header: Option<&str>,
        kept: SamplingOverride,
    ) {
        let header = |name: &str| request.and_then(|request| request.header(name));
        let mut context = Context::new().with_value(kept);
        if let Some(baggage) = header("baggage").filter(|text| text.len() <= MAX_BAGGAGE_BYTES) {
            context = BaggagePropagator::new().extract_with_context(&context, &Baggage(baggage));
        }
        let xray = xray_header.and_then(XrayOfInvocation::read);
        if let Some(caller) = header("traceparent").and_then(TraceParent::parse) {
            let caller = remote(caller, header("tracestate"));
            context = context.with_remote_span_context(caller);
        } else if let Some(xray) = &xray {
            let root = TraceId::from_bytes(xray.header.root.to_bytes());
            self.next.update(|next| *next = Some(root));
        }
        if let Some(xray) = xray {
            context = context.with_value(xray);
        }
        // Fails only if the span is not recorded; then nothing is lost.
        let _ = span.set_parent(context);
        span.context(); // starts the span, which takes the id
        self.next.take(); // unless the span is not recorded
    }
}

impl IdGenerator for TraceIds {
    /// A new id has the shape that X-Ray wants: its first 4 bytes are Unix seconds.
    fn new_trace_id(&self) -> TraceId {
        self.next.take().unwrap_or_else(|| {
            let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let seconds = since_1970.as_secs() as u32; // X-Ray has 4 bytes, enough until 2106
            let mut bytes = self.random.new_trace_id().to_bytes();
            bytes[..4].copy_from_slice(&seconds.to_be_bytes());
            TraceId::from_bytes(bytes)
        })
    }

    fn new_span_id(&self) -> SpanId {
        self.random.new_span_id()
    }
}
