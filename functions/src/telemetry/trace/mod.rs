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
pub(in crate::telemetry) use ids::RootIds;
pub(in crate::telemetry) use resource::resource;
pub(in crate::telemetry) use sampling::Kept;
use sampling::OnlyFlags;

/// Makes spans that end up in `finished`, with ids from `root_ids` and flags from `sampler`.
pub(in crate::telemetry) fn provider(
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
