//! OpenTelemetry: ids, flags, the resource, and where ended spans collect.

mod collector;
mod context;
mod sampling;
mod ids; // where the server span begins
mod resource;

use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracerProvider},
};

pub(in crate::telemetry) use collector::{Finished, FinishedSpans};
pub(in crate::telemetry) use context::{outgoing_xray_header, reply_headers};
pub(in crate::telemetry) use ids::TraceIds;
pub(in crate::telemetry) use resource::resource;
use sampling::RecordAlways;
pub(in crate::telemetry) use sampling::SamplingOverride;

/// Makes spans that end up in `finished`, with ids from `trace_ids` and flags from `sampler`.
pub(in crate::telemetry) fn provider(
    finished: FinishedSpans,
    trace_ids: TraceIds,
    sampler: Sampler,
    resource: Resource,
) -> SdkTracerProvider {
    SdkTracerProvider::builder()
        .with_resource(resource)
        .with_id_generator(trace_ids)
        .with_sampler(RecordAlways::new(sampler))
        .with_span_processor(finished)
        .build()
}
