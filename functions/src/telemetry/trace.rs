//! OpenTelemetry: ids, flags, the resource, and where ended spans collect.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use opentelemetry::{
    Context, KeyValue,
    trace::{
        Link, SpanContext, SpanId, SpanKind, TraceContextExt, TraceFlags, TraceId, TraceState,
    },
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    resource::TelemetryResourceDetector,
    trace::{
        IdGenerator, RandomIdGenerator, SamplingDecision, SamplingResult, SdkTracerProvider,
        ShouldSample, Span, SpanData, SpanProcessor,
    },
};
use trace_context::{TraceParent, XrayHeader};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::config::Config;

/// Makes spans that end up in `finished`, with ids from `root_ids`.
pub(super) fn provider(
    finished: FinishedSpans,
    root_ids: RootIds,
    resource: Resource,
) -> SdkTracerProvider {
    SdkTracerProvider::builder()
        .with_resource(resource)
        .with_id_generator(root_ids)
        .with_sampler(CallersFlag)
        .with_span_processor(finished)
        .build()
}

/// What all spans of this process have in common.
pub(super) fn resource(config: &Config) -> Resource {
    let optional = [
        ("faas.name", &config.function_name),
        ("faas.version", &config.function_version),
        ("cloud.region", &config.region),
    ];
    let known =
        optional.into_iter().filter_map(|(key, value)| Some(KeyValue::new(key, value.clone()?)));
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes([
            KeyValue::new("service.name", config.service_name.clone()),
            KeyValue::new("cloud.provider", "aws"),
            KeyValue::new("cloud.platform", "aws_lambda"),
        ])
        .with_attributes(known)
        .build()
}

/// Makes ids; the id of the next trace can be set beforehand.
#[derive(Clone, Debug, Default)]
pub(super) struct RootIds {
    next: Arc<Mutex<Option<TraceId>>>,
    random: RandomIdGenerator,
}

impl RootIds {
    /// Starts `span` in the caller's trace, else in X-Ray's, else in a new one.
    ///
    /// X-Ray's `Parent` is no parent here: it exists in X-Ray alone, and elsewhere the trace would
    /// look broken. Its `Sampled` says nothing here either.
    pub(super) fn place(
        &self,
        span: &tracing::Span,
        traceparent: Option<&str>,
        xray_header: Option<&str>,
    ) {
        if let Some(caller) = traceparent.and_then(TraceParent::parse) {
            // Fails only if nobody records the span; then nothing is lost.
            let _ = span.set_parent(Context::new().with_remote_span_context(remote(caller)));
        } else if let Some(xray) = xray_header.and_then(XrayHeader::parse) {
            *self.lock() = Some(TraceId::from_bytes(xray.root.to_bytes()));
        }
        span.context(); // starts it, and so uses what was set
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<TraceId>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IdGenerator for RootIds {
    /// A new id has the shape that X-Ray wants: its first 4 bytes are Unix seconds.
    fn new_trace_id(&self) -> TraceId {
        self.lock().take().unwrap_or_else(|| {
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

fn remote(caller: TraceParent) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(caller.trace_id.to_bytes()),
        SpanId::from_bytes(caller.parent_id.to_bytes()),
        if caller.sampled { TraceFlags::SAMPLED } else { TraceFlags::default() },
        true,
        TraceState::default(),
    )
}

/// Records every span; only the flag that goes with it is the caller's. Who pays for storage, the
/// exporter to Honeycomb, reads the flag; X-Ray and errors must not depend on it.
#[derive(Clone, Debug)]
struct CallersFlag;

impl ShouldSample for CallersFlag {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        _: TraceId,
        _: &str,
        _: &SpanKind,
        _: &[KeyValue],
        _: &[Link],
    ) -> SamplingResult {
        let parent =
            parent.map(|cx| cx.span().span_context().clone()).filter(SpanContext::is_valid);
        SamplingResult {
            decision: match &parent {
                Some(parent) if !parent.is_sampled() => SamplingDecision::RecordOnly,
                _ => SamplingDecision::RecordAndSample,
            },
            attributes: Vec::new(),
            trace_state: parent.map(|parent| parent.trace_state().clone()).unwrap_or_default(),
        }
    }
}

/// The spans of the invocation that have ended. Emptied after each one, hence no bound of its own.
#[derive(Clone, Debug, Default)]
pub(super) struct FinishedSpans(Arc<Mutex<Vec<SpanData>>>);

impl FinishedSpans {
    /// Takes them out, in the order in which they ended: children before parents.
    pub(super) fn take(&self) -> Vec<SpanData> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl SpanProcessor for FinishedSpans {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(()) // sending is not its business
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}
