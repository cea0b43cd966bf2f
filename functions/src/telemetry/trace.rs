//! OpenTelemetry: ids, flags, the resource, and where ended spans collect.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use opentelemetry::{
    Array, Context, KeyValue, StringValue, Value,
    propagation::{Extractor, TextMapPropagator},
    trace::{
        Link, SpanContext, SpanId, SpanKind, TraceContextExt, TraceFlags, TraceId, TraceState,
    },
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    propagation::BaggagePropagator,
    resource::TelemetryResourceDetector,
    trace::{
        IdGenerator, RandomIdGenerator, Sampler, SamplingDecision, SamplingResult,
        SdkTracerProvider, ShouldSample, Span, SpanData, SpanProcessor,
    },
};
use trace_context::{TraceParent, XrayHeader};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::{api::Request, config::Config};

/// Longest `tracestate` that is passed on, in bytes: what the specification asks of everybody.
/// <https://www.w3.org/TR/trace-context/#tracestate-limits>
const MAX_TRACESTATE_BYTES: usize = 512;

/// Longest `baggage` that is looked at, in bytes.
/// <https://www.w3.org/TR/baggage/#limits>
const MAX_BAGGAGE_BYTES: usize = 8192;

/// Makes spans that end up in `finished`, with ids from `root_ids` and flags from `sampler`.
pub(super) fn provider(
    finished: FinishedSpans,
    root_ids: RootIds,
    sampler: Sampler,
    resource: Resource,
) -> SdkTracerProvider {
    SdkTracerProvider::builder()
        .with_resource(resource)
        .with_id_generator(root_ids)
        .with_sampler(OnlyFlags(sampler))
        .with_span_processor(finished)
        .build()
}

/// What all spans of this process have in common.
pub(super) fn resource(config: &Config) -> Resource {
    let text = |key, value: &Option<String>| Some(KeyValue::new(key, value.clone()?));
    let list = |key, value: &Option<String>| {
        let values = vec![StringValue::from(value.clone()?)];
        Some(KeyValue::new(key, Value::Array(Array::String(values))))
    };
    let known = [
        text("faas.name", &config.function_name),
        text("faas.version", &config.function_version),
        text("faas.instance", &config.log_stream),
        text("cloud.region", &config.region),
        list("aws.log.group.names", &config.log_group),
        list("aws.log.stream.names", &config.log_stream),
        config.memory_bytes.map(|bytes| KeyValue::new("faas.max_memory", bytes)),
    ];
    let named =
        config.resource_attributes.iter().map(|(key, v)| KeyValue::new(key.clone(), v.clone()));
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("telemetry.distro.name", "cruddur-telemetry"),
            KeyValue::new("telemetry.distro.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("cloud.provider", "aws"),
            KeyValue::new("cloud.platform", "aws_lambda"),
        ])
        .with_attributes(known.into_iter().flatten())
        .with_attributes(named)
        .with_attribute(KeyValue::new("service.name", config.service_name.clone()))
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
    /// look broken. Its `Sampled` says nothing here either, but goes with calls of AWS.
    pub(super) fn place(
        &self,
        span: &tracing::Span,
        request: Option<&Request>,
        xray_header: Option<&str>,
        kept: Kept,
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
            *self.lock() = Some(TraceId::from_bytes(xray.header.root.to_bytes()));
        }
        if let Some(xray) = xray {
            context = context.with_value(xray);
        }
        // Fails only if nobody records the span; then nothing is lost.
        let _ = span.set_parent(context);
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

/// A `tracestate` that is none is left out; the `traceparent` counts all the same.
fn remote(caller: TraceParent, tracestate: Option<&str>) -> SpanContext {
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
struct Baggage<'a>(&'a str);

impl Extractor for Baggage<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == "baggage").then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec!["baggage"]
    }
}

/// What Lambda said of the trace, for calls of AWS; in the context of every span below S.
struct XrayOfInvocation {
    header: XrayHeader,
    lineage: Option<String>,
}

impl XrayOfInvocation {
    fn read(value: &str) -> Option<Self> {
        let lineage = XrayHeader::lineage(value).map(str::to_owned);
        Some(Self { header: XrayHeader::parse(value)?, lineage })
    }
}

/// The header for a call of AWS that is made in `span`: Lambda's `Root`, this span as `Parent`, and
/// Lambda's decision if there is one. Without a root of Lambda's, the trace's own id is it.
///
/// `None` if nobody records the span.
pub(super) fn outgoing_xray_header(span: &tracing::Span) -> Option<String> {
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

/// Where a reply tells its trace: the `traceparent` of `span`, and X-Ray's root if there is one.
pub(super) fn reply_headers(span: &tracing::Span) -> (Option<String>, Option<String>) {
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

/// Whether a trace is one to keep, whatever else says so; in the context of every span of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// As caller and configuration have it.
    AsAsked,
    /// Nobody will look for it.
    Never,
}

/// Records every span: a sampler decides on the flag that goes with it, no more. Who pays for
/// storage, the exporter to Honeycomb, reads the flag; X-Ray and errors must not depend on it.
#[derive(Clone, Debug)]
struct OnlyFlags(Sampler);

impl ShouldSample for OnlyFlags {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let mut result = self.0.should_sample(parent, trace_id, name, kind, attributes, links);
        let never = parent.and_then(|context| context.get::<Kept>()) == Some(&Kept::Never);
        if never || result.decision == SamplingDecision::Drop {
            result.decision = SamplingDecision::RecordOnly;
        }
        result
    }
}

/// Most spans of one invocation beside the server span. Our choice: what OpenTelemetry's own queue
/// holds; about 1 MiB, and hundred times what an endpoint has.
const MAX_SPANS: usize = 2048;

/// The spans of the invocation that have ended. Emptied after each one.
#[derive(Clone, Debug, Default)]
pub(super) struct FinishedSpans(Arc<Mutex<Finished>>);

/// What there is of an invocation.
#[derive(Debug, Default)]
pub(super) struct Finished {
    /// In the order in which they ended: children before parents.
    pub(super) spans: Vec<SpanData>,
    /// How many more there would be, but for the bound.
    pub(super) dropped: u64,
}

impl FinishedSpans {
    /// Takes them out.
    pub(super) fn take(&self) -> Finished {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Finished> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SpanProcessor for FinishedSpans {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, mut span: SpanData) {
        keep_last_of_each_key(&mut span.attributes);
        let mut finished = self.lock();
        // The server span ends last, and without it the extension would not know of the end.
        match finished.spans.len() < MAX_SPANS || span.span_kind == SpanKind::Server {
            true => finished.spans.push(span),
            false => finished.dropped += 1,
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(()) // sending is not its business
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// What is set again replaces what was there: the SDK would keep both.
fn keep_last_of_each_key(attributes: &mut Vec<KeyValue>) {
    let mut position = 0;
    while position < attributes.len() {
        let later = &attributes[position + 1..];
        match later.iter().any(|later| later.key == attributes[position].key) {
            true => drop(attributes.remove(position)),
            false => position += 1,
        }
    }
}
