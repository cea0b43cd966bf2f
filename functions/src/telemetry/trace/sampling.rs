//! Which flag the spans of a trace carry.

use opentelemetry::{
    Context, KeyValue,
    trace::{Link, SpanKind, TraceContextExt, TraceId},
};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};
use uuid::Uuid;

use crate::domain::digest;

/// A decision about a trace that overrides the sampler; in the context of every span of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::telemetry) enum SamplingOverride {
    /// The sampler decides.
    BySampler,
    /// The trace is recorded and never marked as sampled.
    Never,
}

/// Records every span; the sampler only sets the sampled flag. The Honeycomb exporter reads the
/// flag, because storage there costs money; X-Ray and errors do not depend on it.
///
/// Any client can send a `traceparent`, so its flag is ignored and its trace id does not decide:
/// the sampler gets a salted hash of it. Otherwise a client could have all its requests exported,
/// or none. With a ratio, two functions may decide differently about one caller's trace.
#[derive(Clone, Debug)]
pub(in crate::telemetry) struct RecordAlways {
    sampler: Sampler,
    /// Random in each process.
    salt: Uuid,
}

impl RecordAlways {
    pub(in crate::telemetry) fn new(sampler: Sampler) -> Self {
        Self { sampler, salt: Uuid::new_v4() }
    }

    fn salted(&self, trace_id: TraceId) -> TraceId {
        let hash = digest::of(&[self.salt.as_bytes(), &trace_id.to_bytes()[..]]);
        TraceId::from_bytes(std::array::from_fn(|byte| hash[byte]))
    }
}

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
        let caller = parent.map(|context| context.span().span_context().clone());
        let mut result = match caller.filter(|caller| caller.is_remote()) {
            Some(caller) => {
                let id = self.salted(trace_id);
                let own = self.sampler.should_sample(None, id, name, kind, attributes, links);
                SamplingResult { trace_state: caller.trace_state().clone(), ..own }
            }
            None => self.sampler.should_sample(parent, trace_id, name, kind, attributes, links),
        };
        let never = parent.and_then(|context| context.get::<SamplingOverride>())
            == Some(&SamplingOverride::Never);
        if never || result.decision == SamplingDecision::Drop {
            result.decision = SamplingDecision::RecordOnly;
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceState};

    use super::*;

    #[test]
    fn a_ratio_holds_for_callers_whatever_ids_and_flags_they_choose() {
        for flags in [TraceFlags::SAMPLED, TraceFlags::default()] {
            let sampled = (0..2_000).filter(|n| {
                let id = TraceId::from_bytes((1_u128 + n).to_be_bytes());
                let state = TraceState::default();
                let caller = SpanContext::new(id, SpanId::from_bytes([1; 8]), flags, true, state);
                let context = Context::new().with_remote_span_context(caller);
                let own = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(0.25)));
                let sampler = RecordAlways { sampler: own, salt: Uuid::nil() };
                let result =
                    sampler.should_sample(Some(&context), id, "", &SpanKind::Server, &[], &[]);
                result.decision == SamplingDecision::RecordAndSample
            });
            let sampled = sampled.count();

            assert!((400..600).contains(&sampled), "{sampled} of 2,000");
        }
    }
}
