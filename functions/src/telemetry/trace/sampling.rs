//! Which flag the spans of a trace carry.

use opentelemetry::{
    Context, KeyValue,
    trace::{Link, SpanKind, TraceId},
};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

/// Whether a trace is one to keep, whatever else says so; in the context of every span of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::telemetry) enum SamplingOverride {
    /// As caller and configuration have it.
    AsAsked,
    /// The trace is recorded and never marked as sampled.
    Never,
}

/// Records every span; the sampler only sets the sampled flag. The Honeycomb exporter reads the
/// flag, because storage there costs money; X-Ray and errors do not depend on it.
#[derive(Clone, Debug)]
pub(in crate::telemetry) struct RecordAlways(pub(in crate::telemetry) Sampler);

impl ShouldSample for RecordAlways {
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
        let never = parent.and_then(|context| context.get::<SamplingOverride>())
            == Some(&SamplingOverride::Never);
        if never || result.decision == SamplingDecision::Drop {
            result.decision = SamplingDecision::RecordOnly;
        }
        result
    }
}
