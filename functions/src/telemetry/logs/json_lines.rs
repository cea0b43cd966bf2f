//! Log lines: one JSON object each, on stdout, where Lambda collects them; and on their way to the
//! extension, if they are sent as well.

use std::{fmt::Debug, io::Write, sync::OnceLock};

use jiff::Timestamp;
use opentelemetry::trace::TraceContextExt;
use serde_json::{Map, Value};
use tracing::{
    Dispatch, Event, Subscriber,
    dispatcher::WeakDispatch,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

use super::otlp_records::WrittenLines;
use crate::telemetry::current_invocation;

/// Writes each event as a line of JSON: `timestamp` (RFC 3339, UTC, milliseconds), `level`,
/// `message`, `requestId`, `trace_id`, `span_id`, `xray_trace_id`, `tenantId`, `service`, and the
/// event's own fields. What is not known, such as a request id between invocations, is left out.
pub(in crate::telemetry) struct JsonLines<O> {
    service: String,
    out: O,
    /// Buffer for OTLP export, if it is enabled.
    written: Option<WrittenLines>,
    dispatch: OnceLock<WeakDispatch>,
}

impl<O> JsonLines<O> {
    /// `out` gives the stream for a line; `written` gets it as well.
    pub(in crate::telemetry) fn new(
        service: String,
        out: O,
        written: Option<WrittenLines>,
    ) -> Self {
        Self { service, out, written, dispatch: OnceLock::new() }
    }

    /// The ids of the OpenTelemetry span behind the current one, as hex.
    ///
    /// Not by way of the layer's own view of the spans: its filter is for lines, and a level that
    /// keeps spans out would take the ids from the lines that are left.
    fn span_ids<S>(&self, context: &Context<'_, S>) -> Option<(String, String)>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let dispatch = self.dispatch.get()?.upgrade()?;
        let current = context.current_span();
        let context = tracing_opentelemetry::get_otel_context(current.id()?, &dispatch)?;
        let ids = context.span().span_context().clone();
        ids.is_valid().then(|| (ids.trace_id().to_string(), ids.span_id().to_string()))
    }
}

impl<S, W, O> Layer<S> for JsonLines<O>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: Write,
    O: Fn() -> W + 'static,
{
    fn on_register_dispatch(&self, dispatch: &Dispatch) {
        // Only the first: this layer belongs to one subscriber.
        let _ = self.dispatch.set(dispatch.downgrade());
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut line = LineFields(Map::new());
        event.record(&mut line);
        let now = Timestamp::now();
        line.set("timestamp", now.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string());
        line.set("level", event.metadata().level().as_str());
        line.set("service", self.service.as_str());
        let ids = current_invocation::ids();
        if let Some(request_id) = ids.request_id {
            line.set("requestId", request_id);
        }
        if let Some(xray_trace_id) = ids.xray_trace_id {
            line.set("xray_trace_id", xray_trace_id);
        }
        if let Some(tenant_id) = ids.tenant_id {
            line.set("tenantId", tenant_id);
        }
        if let Some((trace, span)) = self.span_ids(&context) {
            line.set("trace_id", trace);
            line.set("span_id", span);
        }
        let line = Value::Object(line.0);
        let mut text = line.to_string();
        text.push('\n');
        // One write for each line, so that lines never mix. A failed write is ignored, because
        // logging must not fail a request.
        let _ = (self.out)().write_all(text.as_bytes());
        if let (Some(written), Value::Object(fields)) = (&self.written, line) {
            written.push(now, fields, text.len());
        }
    }
}

/// The line as it grows; ours are set last, so that no event can pretend to be of another request.
struct LineFields(Map<String, Value>);

impl LineFields {
    fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.0.insert(key.to_owned(), value.into());
    }
}

impl Visit for LineFields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field.name(), value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.set(field.name(), format!("{value:?}"));
    }
}
