//! Log lines on stdout, and spans and log records for the extension.
//!
//! Both come from `tracing`. `logs` writes its events, one JSON object a line. Its spans become
//! OpenTelemetry spans, whose ids and flags `trace` chooses; they collect in memory during an
//! invocation, and `export` sends them in one request after the reply has been posted. Lines are
//! sent as log records too where the platform does not hand stdout to the extension
//! (`OTEL_LOGS_EXPORTER`). `current_invocation` keeps all of it apart by invocation, because a managed
//! instance runs several at once. There is no background thread and no queue, because a sandbox is frozen
//! between two invocations. `server_span` is the span of the whole invocation, [`AccessLog`] its
//! line in the log, and [`TracedCalls`] joins calls of AWS to it.

mod access_log;
mod backtrace;
mod current_invocation;
mod trace;
mod aws_interceptor;
mod durable;
mod server_span;
mod logs;
mod export;

use std::time::SystemTime;

use lambda_runtime::Context;
use opentelemetry::{
    KeyValue,
    trace::{SpanKind, TracerProvider},
};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use tracing::{Instrument, Subscriber, warn};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{
    Layer,
    filter::{FilterExt, filter_fn},
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use crate::{
    config::Config,
    domain::UserKey,
    http::{ApiError, Request, Response, Route},
    panics,
};
pub use access_log::AccessLog;
pub use aws_interceptor::{TracedCalls, describing_last_attempt};
use current_invocation::ColdStart;
use export::Exporter;
pub use export::{OtlpClient, SendError};
use logs::{JsonLines, Records, WrittenLines};
use trace::{Finished, FinishedSpans, SamplingOverride, TraceIds};

/// One per sandbox.
pub struct Telemetry {
    cold_start: ColdStart,
    finished: FinishedSpans,
    trace_ids: TraceIds,
    /// `None` if lines are not sent.
    written: Option<WrittenLines>,
    exporter: Exporter,
}

impl Telemetry {
    /// Takes over the process's logging, tracing and panics; call it once, first of all.
    pub fn start(config: &Config) -> Self {
        let (telemetry, subscriber) = Self::build(config, std::io::stdout);
        subscriber.init();
        panics::log_uncaught();
        for warning in &config.warnings {
            warn!("{warning}");
        }
        telemetry
    }

    /// The parts of [`Telemetry::start`], without taking over the process.
    pub(crate) fn build<W, O>(
        config: &Config,
        out: O,
    ) -> (Self, impl Subscriber + for<'a> LookupSpan<'a>)
    where
        W: std::io::Write,
        O: Fn() -> W + Send + Sync + 'static,
    {
        let finished = FinishedSpans::default();
        let trace_ids = TraceIds::default();
        let resource = trace::resource(config);
        let exporter = Exporter::new(config, &resource);
        let written = config.logs_url.is_some().then(WrittenLines::default);
        let provider =
            trace::provider(finished.clone(), trace_ids.clone(), config.sampler.clone(), resource);
        let tracer = provider.tracer("cruddur");
        let service = config.service_name.clone();
        let log = JsonLines::new(service, out, written.clone());
        let spans = tracing_opentelemetry::layer()
            .with_tracer(tracer)
            // A span starts with its first child, so the parent of the server span can be set until
            // then.
            .with_context_activation(false)
            // Each of these would be an attribute of every span.
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            // Log lines are lines, not span events; libraries' spans are theirs.
            .with_filter(filter_fn(|meta| meta.is_span() && meta.target().starts_with("cruddur")));
        // Lines only: a library's span that a level lets in would stand before ours.
        let lines = filter_fn(|meta| meta.is_event()).and(config.log_filter.clone());
        let subscriber = tracing_subscriber::registry()
            .with(config.traces.then_some(spans))
            .with(log.with_filter(lines));
        let cold_start = ColdStart::default();
        (Self { cold_start, finished, trace_ids, written, exporter }, subscriber)
    }

    /// Runs the invocation inside its server span until its reply is posted, then exports the
    /// collected spans and log records. Several invocations may run at once.
    pub async fn around<T>(&self, invocation: impl Future<Output = T>) -> T {
        current_invocation::scope(self.traced(invocation)).await
    }

    async fn traced<T>(&self, invocation: impl Future<Output = T>) -> T {
        let outcome = invocation.instrument(server_span::open()).await;
        let Finished { mut spans, dropped } = self.finished.take();
        if dropped > 0 {
            warn!(dropped, "{dropped} spans of this invocation are lost: it made too many");
        }
        if let Some(failed_at) = current_invocation::take_failed_at()
            && let Some(text) = backtrace::text(&failed_at)
        {
            let server = spans.iter_mut().find(|span| span.span_kind == SpanKind::Server);
            let events = server.into_iter().flat_map(|span| &mut span.events.events);
            for exception in events.filter(|event| event.name == "exception") {
                let text = KeyValue::new("exception.stacktrace", text.clone());
                exception.attributes.push(text);
            }
        }
        let lines = self.lines();
        self.exporter.send(spans, lines, current_invocation::time_left(SystemTime::now())).await;
        self.written.iter().for_each(WrittenLines::leave_rest);
        outcome
    }

    /// What has been written since the last invocation, as far as it is sent.
    fn lines(&self) -> Vec<LogRecord> {
        let Some(written) = &self.written else { return Vec::new() };
        let Records { mut records, dropped } = written.take();
        if dropped > 0 {
            warn!(dropped, "{dropped} lines are on standard output alone: there were too many");
            records.extend(written.take().records); // what has just been said
        }
        records
    }

    /// Says which invocation this is: on log lines, and on the server span with its place in a
    /// trace.
    ///
    /// `request` is `None` if the event was none. To be called in the server span, before anything
    /// is logged or traced.
    pub fn identify(&self, context: &Context, route: &Route, request: Option<&Request>) {
        current_invocation::identify(context);
        let cold_start = self.cold_start.take();
        let span = tracing::Span::current();
        server_span::name(&span, route, request);
        let kept =
            if route.is_sampled { SamplingOverride::BySampler } else { SamplingOverride::Never };
        self.trace_ids.start_span(&span, request, context.xray_trace_id.as_deref(), kept);
        server_span::describe(&span, context, route, request, cold_start);
    }

    /// Adds the durable execution to the current span, which must be the server span, if the event names
    /// one.
    pub fn identify_execution(&self, event: &str) {
        durable::describe(&tracing::Span::current(), event);
    }

    /// Says who asks, on the current span, which must be the server span.
    pub fn identify_user(&self, user: UserKey) {
        tracing::Span::current().set_attribute("app.user_id", user.to_string());
    }

    /// The reply with headers that name the trace of the current span, which must be the server
    /// span.
    pub fn name_trace(&self, reply: Response) -> Response {
        server_span::name_trace(&tracing::Span::current(), reply)
    }

    /// Says how it went, on the current span, which must be the server span.
    pub fn conclude(&self, reply: &Response, error: Option<&ApiError>) {
        let span = tracing::Span::current();
        server_span::record_outcome(&span, reply, error);
        if let Some(backtrace) = error.and_then(ApiError::backtrace) {
            current_invocation::failed_at(backtrace.clone());
        }
    }
}

#[cfg(test)]
mod tests;
