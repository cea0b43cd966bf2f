//! The fields that the extension adds to a line.

use std::borrow::Cow;

use serde::Serialize;

use crate::invocation::attempt::Attempt;
use crate::invocation::registry::Registry;
use crate::processor::log_lines::json::JsonObject;
use crate::processor::log_lines::sandbox_facts::{LambdaPhase, SandboxFacts};

/// Fields that only the extension sets: see the table in [`crate::processor::log_lines`].
pub(super) const PLATFORMS_OWN: [&str; 4] = ["requestId", "xray_trace_id", "lambda", "claimed"];

#[derive(Debug, Default)]
pub(super) struct InvocationFields<'a> {
    request_id: Option<&'a str>,
    xray_trace_id: Option<String>,
    trace_id: Option<String>,
    span_id: Option<String>,
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
}

fn lambda(facts: &SandboxFacts, is_first: bool) -> String {
    let SandboxFacts { function, version, initialization_type, phase, .. } = facts;
    let lambda = LambdaField { function, version, is_first, initialization_type, phase: *phase };
    serde_json::to_string(&lambda).unwrap_or_else(|_| "{}".to_owned())
}

impl<'a> InvocationFields<'a> {
    pub(super) fn of(facts: &SandboxFacts, attempt: &'a Attempt) -> Self {
        let server = attempt.server.map(|it| (it.trace_id.to_string(), it.span_id.to_string()));
        let (trace_id, span_id) = server.unzip();
        let xray_trace_id = attempt.xray_header.as_ref().map(|it| it.parsed.root.to_xray());
        Self {
            request_id: Some(&attempt.request_id),
            xray_trace_id,
            trace_id: trace_id.or_else(|| attempt.line_trace_id.map(|id| id.to_string())),
            span_id,
            lambda: lambda(facts, attempt.is_first),
        }
    }

    /// Without an attempt the line belongs to no invocation, such as one before the first.
    pub(super) fn of_line(
        facts: &SandboxFacts,
        registry: &Registry,
        attempt: Option<&'a Attempt>,
    ) -> Self {
        let is_first = || !facts.has_started() && !registry.has_begun();
        let without = || Self { lambda: lambda(facts, is_first()), ..Self::default() };
        attempt.map_or_else(without, |attempt| Self::of(facts, attempt))
    }

    /// For a record about an unknown invocation.
    pub(super) fn of_unknown(facts: &SandboxFacts, request_id: &'a str) -> Self {
        let request_id = Some(request_id);
        Self { request_id, lambda: lambda(facts, false), ..Self::default() }
    }

    /// Whether our field has this value; false for `lambda` and `claimed`, whose values always differ.
    pub(super) fn says(&self, key: &str, value: &str) -> bool {
        let own = match key {
            "requestId" => self.request_id,
            "xray_trace_id" => self.xray_trace_id.as_deref(),
            _ => return false,
        };
        let value = serde_json::from_str::<Cow<'_, str>>(value);
        own.zip(value.ok()).is_some_and(|(own, value)| own == value)
    }

    /// Adds the fields, but for ids of the line's own: `trace_id` if `says` is true for it, and `span_id` if
    /// it is true for either.
    pub(super) fn write(&self, line: &mut JsonObject, says: impl Fn(&str) -> bool) {
        let trace_id = self.trace_id.as_deref().filter(|_| !says("trace_id"));
        let span_id = self.span_id.as_deref().filter(|_| !says("trace_id") && !says("span_id"));
        let fields = [
            ("requestId", self.request_id),
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
