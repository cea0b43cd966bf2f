//! What a function tells about itself: log lines on stdout, spans to the extension.
//!
//! Both come from `tracing`. `log` writes its events, one JSON object a line. Its spans become
//! OpenTelemetry spans, whose ids and flags `trace` chooses; they collect in memory during an
//! invocation and leave in one request (`otlp`) after the reply has been posted. There is no
//! background thread and no queue, since between two invocations a sandbox is frozen.
//! [`server_span`] is the span of the whole invocation.

mod invocation;
mod log;
mod otlp;
pub mod server_span;
mod trace;

use std::{sync::Arc, time::SystemTime};

use lambda_runtime::Context;
use opentelemetry::trace::TracerProvider;
use tracing::{Instrument, Subscriber, warn};
use tracing_subscriber::{
    Layer, filter::filter_fn, layer::SubscriberExt, registry::LookupSpan, util::SubscriberInitExt,
};

use crate::{
    api::{Request, Route},
    config::Config,
};
use invocation::CurrentInvocation;
use otlp::Exporter;
use trace::{FinishedSpans, RootIds};

/// One per sandbox.
pub struct Telemetry {
    current: Arc<CurrentInvocation>,
    finished: FinishedSpans,
    root_ids: RootIds,
    exporter: Exporter,
}

impl Telemetry {
    /// Takes over the process's logging and tracing; call it once, first of all.
    pub fn start(config: &Config) -> Self {
        let (telemetry, subscriber) = Self::build(config, std::io::stdout);
        subscriber.init();
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
        let current = Arc::new(CurrentInvocation::default());
        let finished = FinishedSpans::default();
        let root_ids = RootIds::default();
        let resource = trace::resource(config);
        let exporter = Exporter::new(config.traces_url.clone(), &resource);
        let tracer =
            trace::provider(finished.clone(), root_ids.clone(), resource).tracer("cruddur");
        let log = log::JsonLines::new(config.service_name.clone(), current.clone(), out);
        let spans = tracing_opentelemetry::layer()
            .with_tracer(tracer)
            // A span starts when its first child does, so that S can still be told its parent.
            .with_context_activation(false)
            // Each of these would be an attribute of every span.
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            // Log lines are lines, not span events; libraries' spans are theirs.
            .with_filter(filter_fn(|meta| meta.is_span() && meta.target().starts_with("cruddur")));
        let subscriber = tracing_subscriber::registry()
            .with(spans)
            .with(log.with_filter(config.log_filter.clone()));
        (Self { current, finished, root_ids, exporter }, subscriber)
    }

    /// Runs an invocation to the point where its reply is posted, in its server span; then sends
    /// the spans.
    pub async fn around<T>(&self, invocation: impl Future<Output = T>) -> T {
        let outcome = invocation.instrument(server_span::open()).await;
        let spans = self.finished.take();
        self.exporter.send(spans, self.current.time_left(SystemTime::now())).await;
        self.current.clear();
        outcome
    }

    /// Says which invocation this is: on log lines, and on the server span with its place in a trace.
    ///
    /// `request` is `None` if the event was none. To be called in the server span, before anything
    /// is logged or traced.
    pub fn identify(&self, context: &Context, route: &Route, request: Option<&Request>) {
        let cold_start = self.current.set(context);
        let span = tracing::Span::current();
        server_span::name(&span, route, request);
        let traceparent = request.and_then(|request| request.header("traceparent"));
        self.root_ids.place(&span, traceparent, context.xray_trace_id.as_deref());
        server_span::describe(&span, context, route, request, cold_start);
    }
}

#[cfg(test)]
mod tests;
