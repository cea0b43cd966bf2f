//! The fields that the extension adds to a line.

use std::borrow::Cow;

use serde::Serialize;

use super::{
    context::{Context, Invocation, Phase},
    json::Object,
};
use crate::platform::Traces;

/// The fields that are the extension's alone: see the table in [`crate::lines`].
pub(super) const PLATFORMS_OWN: [&str; 4] = ["requestId", "xray_trace_id", "lambda", "claimed"];

/// What the extension adds.
#[derive(Debug, Default)]
pub(super) struct Ours {
    request_id: Option<String>,
    xray_trace_id: Option<String>,
    trace_id: Option<String>,
    span_id: Option<String>,
    lambda: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Lambda<'a> {
    function: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: &'a Option<String>,
    #[serde(rename = "coldStart")]
    is_first: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    initialization_type: &'a Option<String>,
    phase: Phase,
}

fn lambda(context: &Context, is_first: bool) -> String {
    let Context { function, version, initialization_type, phase, .. } = context;
    let lambda = Lambda { function, version, is_first, initialization_type, phase: *phase };
    serde_json::to_string(&lambda).unwrap_or_else(|_| "{}".to_owned())
}

impl Ours {
    /// Of a line of this invocation.
    pub(super) fn of(context: &Context, invocation: &Invocation, traces: &Traces) -> Self {
        let server = traces.server.map(|(trace, span)| (trace.to_string(), span.to_string()));
        let (trace_id, span_id) = server.unzip();
        Self {
            request_id: Some(invocation.request_id.clone()),
            xray_trace_id: invocation.xray_trace_id.clone(),
            trace_id: trace_id.or_else(|| invocation.trace_id.clone()),
            span_id,
            lambda: lambda(context, invocation.is_first),
        }
    }

    /// Of a record about an invocation of which nothing else is known.
    pub(super) fn of_unknown(context: &Context, request_id: &str) -> Self {
        let request_id = Some(request_id.to_owned());
        Self { request_id, lambda: lambda(context, false), ..Self::default() }
    }

    /// Of a line before any invocation.
    pub(super) fn of_nothing(context: &Context) -> Self {
        Self { lambda: lambda(context, true), ..Self::default() }
    }

    /// Whether a field of the line says the same.
    pub(super) fn says(&self, key: &str, value: &str) -> bool {
        let own = match key {
            "requestId" => &self.request_id,
            "xray_trace_id" => &self.xray_trace_id,
            _ => return false,
        };
        let value = serde_json::from_str::<Cow<'_, str>>(value);
        own.as_deref().zip(value.ok()).is_some_and(|(own, value)| own == value)
    }

    pub(super) fn write(&self, line: &mut Object, has_trace_id: bool) {
        let traces = [("trace_id", &self.trace_id), ("span_id", &self.span_id)];
        let fields = [("requestId", &self.request_id), ("xray_trace_id", &self.xray_trace_id)];
        let traces = traces.into_iter().filter(|_| !has_trace_id);
        for (key, value) in fields.into_iter().chain(traces) {
            if let Some(value) = value {
                line.add(key, value);
            }
        }
        line.raw("lambda", &self.lambda);
    }
}
