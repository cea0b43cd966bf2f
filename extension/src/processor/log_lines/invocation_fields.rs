//! The fields that the extension adds to a line.

use std::sync::Arc;

use serde::Serialize;
use trace_context::TraceId;

use crate::invocation::attempt::{Attempt, AttemptId, SpanParent};
use crate::invocation::registry::Registry;
use crate::processor::log_lines::json::{JsonObject, text_of};
use crate::processor::log_lines::sandbox_facts::{LambdaPhase, SandboxFacts};

/// Fields that only the extension sets: see the table in [`crate::processor::log_lines`].
pub(super) const PLATFORMS_OWN: [&str; 4] = ["requestId", "xray_trace_id", "lambda", "claimed"];

#[derive(Debug, Default)]
pub(super) struct InvocationFields {
    request_id: Option<Arc<str>>,
    xray_trace_id: Option<String>,
    trace_id: Option<String>,
    span_id: Option<String>,
    tenant_id: Option<Arc<str>>,
    lambda: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LambdaField<'a> {
    function: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: &'a Option<String>,
    #[serde(rename = "coldStart")]
    is_first: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    initialization_type: &'a Option<String>,
    phase: LambdaPhase,
    #[serde(skip_serializing_if = "Option::is_none")]
    invocation: Option<&'a str>,
}

/// `invocation`: `unknown` for a line of an invocation that cannot be found.
fn lambda(facts: &SandboxFacts, is_first: bool, invocation: Option<&str>) -> String {
    let SandboxFacts { function, version, initialization_type, phase, .. } = facts;
    let phase = *phase;
    let lambda =
        LambdaField { function, version, is_first, initialization_type, phase, invocation };
    serde_json::to_string(&lambda).unwrap_or_else(|_| "{}".to_owned())
}

/// The parts of an attempt that its fields show and that change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ShownParts {
    id: AttemptId,
    server: Option<SpanParent>,
    line_trace_id: Option<TraceId>,
    has_xray_header: bool,
}

/// The fields of the last line's attempt: the next line is nearly always of the same one.
#[derive(Debug, Default)]
pub(super) struct LastFields(Option<(ShownParts, Arc<InvocationFields>)>);

impl LastFields {
    pub(super) fn clear(&mut self) {
        self.0 = None;
    }

    pub(super) fn get(&mut self, facts: &SandboxFacts, attempt: &Attempt) -> Arc<InvocationFields> {
        let parts = ShownParts {
            id: attempt.id,
            server: attempt.server,
            line_trace_id: attempt.line_trace_id,
            has_xray_header: attempt.xray_header.is_some(),
        };
        let known = self.0.take().filter(|(known, _)| *known == parts);
        let (_, fields) = self
            .0
            .insert(known.unwrap_or_else(|| (parts, InvocationFields::of(facts, attempt).into())));
        Arc::clone(fields)
    }
}

impl InvocationFields {
    pub(super) fn of(facts: &SandboxFacts, attempt: &Attempt) -> Self {
        let server = attempt.server.map(|it| (it.trace_id.to_string(), it.span_id.to_string()));
        let (trace_id, span_id) = server.unzip();
        let xray_trace_id = attempt.xray_header.as_ref().map(|it| it.parsed.root.to_xray());
        Self {
            request_id: Some(Arc::clone(&attempt.request_id)),
            xray_trace_id,
            trace_id: trace_id.or_else(|| attempt.line_trace_id.map(|id| id.to_string())),
            span_id,
            tenant_id: attempt.tenant_id.clone(),
            lambda: lambda(facts, attempt.is_first, None),
        }
    }

    /// For a line of no invocation, such as one before the first. On a managed instance any of several may
    /// have written a line without ids.
    pub(super) fn of_none(facts: &SandboxFacts, registry: &Registry) -> Self {
        let has_begun = facts.has_started() || registry.has_begun();
        let invocation = (has_begun && registry.is_concurrent()).then_some("unknown");
        Self { lambda: lambda(facts, !has_begun, invocation), ..Self::default() }
    }

    /// For a record about an unknown invocation.
    pub(super) fn of_unknown(facts: &SandboxFacts, request_id: &str) -> Self {
        let request_id = Some(request_id.into());
        Self { request_id, lambda: lambda(facts, false, None), ..Self::default() }
    }

    /// Whether our field has this value; false for `lambda` and `claimed`, whose values always differ.
    pub(super) fn says(&self, key: &str, value: &str) -> bool {
        let own = match key {
            "requestId" => self.request_id.as_deref(),
            "xray_trace_id" => self.xray_trace_id.as_deref(),
            _ => return false,
        };
        own.zip(text_of(value)).is_some_and(|(own, value)| own == value)
    }

    /// Adds the fields, but for ids of the line's own: `trace_id` and `tenantId` if `says` is true for them,
    /// and `span_id` if it is true for it or `trace_id`.
    pub(super) fn write(&self, line: &mut JsonObject, says: impl Fn(&str) -> bool) {
        let trace_id = self.trace_id.as_deref().filter(|_| !says("trace_id"));
        let span_id = self.span_id.as_deref().filter(|_| !says("trace_id") && !says("span_id"));
        let tenant_id = self.tenant_id.as_deref().filter(|_| !says("tenantId"));
        let fields = [
            ("requestId", self.request_id.as_deref()),
            ("tenantId", tenant_id),
            ("xray_trace_id", self.xray_trace_id.as_deref()),
            ("trace_id", trace_id),
            ("span_id", span_id),
        ];
        for (key, value) in fields {
            if let Some(value) = value {
                line.add(key, &value);
            }
        }
        line.raw("lambda", &self.lambda);
    }
}
