//! The fields that the extension adds to a line.

use std::borrow::Cow;

use serde::Serialize;

use crate::processor::{
    log_lines::{
        context::{InvocationState, LambdaPhase, LineContext},
        json::JsonObject,
    },
    platform_spans::TraceRefs,
};

/// Fields that only the extension sets: see the table in [`crate::processor::log_lines`].
pub(super) const PLATFORMS_OWN: [&str; 4] = ["requestId", "xray_trace_id", "lambda", "claimed"];

#[derive(Debug, Default)]
pub(super) struct InvocationFields<'a> {
    request_id: Option<&'a str>,
    xray_trace_id: Option<&'a str>,
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

fn lambda(context: &LineContext, is_first: bool) -> String {
    let LineContext { function, version, initialization_type, phase, .. } = context;
    let lambda = LambdaField { function, version, is_first, initialization_type, phase: *phase };
    serde_json::to_string(&lambda).unwrap_or_else(|_| "{}".to_owned())
}

impl<'a> InvocationFields<'a> {
    pub(super) fn of(
        context: &LineContext,
        invocation: &'a InvocationState,
        traces: &TraceRefs,
    ) -> Self {
        let server = traces.server.map(|(trace, span)| (trace.to_string(), span.to_string()));
        let (trace_id, span_id) = server.unzip();
        Self {
            request_id: Some(&invocation.request_id),
            xray_trace_id: invocation.xray_trace_id.as_deref(),
            trace_id: trace_id.or_else(|| invocation.trace_id.map(|id| id.to_string())),
            span_id,
            lambda: lambda(context, invocation.is_first),
        }
    }

    /// For a record about an unknown invocation.
    pub(super) fn of_unknown(context: &LineContext, request_id: &'a str) -> Self {
        let request_id = Some(request_id);
        Self { request_id, lambda: lambda(context, false), ..Self::default() }
    }

    /// For a line that belongs to no invocation, such as one before the first.
    pub(super) fn of_nothing(context: &LineContext) -> Self {
        Self { lambda: lambda(context, !context.has_had_invocation), ..Self::default() }
    }

    /// Whether our field has this value; false for `lambda` and `claimed`, whose values always differ.
    pub(super) fn says(&self, key: &str, value: &str) -> bool {
        let own = match key {
            "requestId" => self.request_id,
            "xray_trace_id" => self.xray_trace_id,
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
            ("xray_trace_id", self.xray_trace_id),
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
