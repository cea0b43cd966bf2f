//! When things happen: on Lambda by its events, elsewhere by what is received.
//!
//! On Lambda: register → bind receivers → subscribe → Next, with nothing else before the first
//! Next, since that would delay the function's cold start. Then, for each event:
//!
//! | event | what is done before the next Next |
//! |---|---|
//! | INVOKE | wait for the invocation's end, then flush, both bounded by [`crate::flush::policy`] |
//! | SHUTDOWN | stop intake, drain, log the account and [what was not delivered](crate::pipeline::dead_letter), exit 0 |
//!
//! The process never ends before SHUTDOWN: that would fail the function's invocation. Where it
//! cannot work it says so once and keeps asking for events.
//!
//! **Managed Instances** run many invocations at once, never freeze, and tell extensions of
//! SHUTDOWN alone. A timer drives the flushing there ([`policy::FlushMode::period`]).
//!
//! **Elsewhere** (no `AWS_LAMBDA_RUNTIME_API`, or an address with a path, as the emulator of
//! cargo-lambda has it) nobody registers. That emulator delivers no telemetry and no deadlines,
//! answers Next for every function at once, and stops working when a registered extension goes
//! away. Received spans drive the flushing there, and SIGINT or SIGTERM is the SHUTDOWN. One
//! process serves all functions and survives their reloads.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::FutureExt;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind as UnixSignal, signal},
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout, timeout_at},
};
use tracing::{error, info, level_filters::LevelFilter, warn};

use crate::{
    client::freeze::{Moment, THAW},
    config::Config,
    flush::{
        policy::{self, DRAIN_BUDGET, FlushKind},
        state::FlushState,
    },
    invocation::{end::EndEvidence, xray_contexts::XrayContexts},
    lambda::extensions_api::{
        EventTypes, ExtensionsApi, Invoke, LambdaEvent, Shutdown, error::ApiError,
    },
    otlp::payload::{Payload, SignalKind},
    pipeline::{Pipeline, PipelineHandle, Trigger, dead_letter::DeadLetters},
    processor::{
        Processor,
        failures::{FailureReporter, SPANS_FOLLOW},
        log_lines::LineEnricher,
        platform_spans::PlatformSpans,
    },
    receiver::{body::BodyBudget, otlp::http::OtlpReceiver, server, telemetry::TelemetryReceiver},
};

/// Pause after a refused call to Lambda's API, so that the loop does not spin. Our choice.
const API_PAUSE: Duration = Duration::from_millis(500);

/// How long SHUTDOWN waits for the event that says why an invocation or init failed. Lambda delivers
/// within the 25 ms asked for, or not at all.
const FINAL_EVENT_WAIT: Duration = Duration::from_millis(100);

/// What Lambda may post at once, however small our buffer is: refused, it would be lost uncounted. Our
/// choice: twice the bytes asked for, and a line of some megabytes.
const MIN_TELEMETRY_BYTES: usize = 8 << 20;

/// Runs until SHUTDOWN. `name` is the executable's file name, which Lambda knows us by.
pub async fn run_on_lambda(api: &str, name: &str, config: &Config) {
    let lambda = register(api, name).await;
    let mut extension = Extension::start(config, Trigger::Flush);
    let shutdown = poll_until_shutdown(&lambda, event_loop(&lambda, &mut extension, config)).await;
    let now = Instant::now();
    let deadline = policy::deadline(shutdown.deadline_ms, SystemTime::now(), now);
    extension.collect_final_events(&shutdown).await;
    let until = policy::hold_until(now, deadline, DRAIN_BUDGET);
    let handle = extension.shut_down(config, until).await;
    if config.log_level != LevelFilter::OFF {
        log_undelivered(&handle).await;
    }
}

/// Everything up to SHUTDOWN.
async fn event_loop(
    lambda: &ExtensionsApi,
    extension: &mut Extension,
    config: &Config,
) -> Shutdown {
    if let Err(error) = extension.receive_otlp(config).await {
        error!("Spans of this function cannot be received: {error}");
    }
    let telemetry = extension.receive_telemetry(lambda, config.buffer_bytes).await;
    if let Err(error) = &telemetry {
        warn!("Platform events cannot be received: {error}");
    }
    match lambda.events() {
        EventTypes::All => extension.invocations.expect_end_events(),
        EventTypes::Shutdown => {
            extension.flush_every(config.flush.period());
            extension.spawn_failure_timer();
        }
    }
    let mut last_error = None;
    let mut flushing = FlushState::new(config.flush, config.max_hold, telemetry.is_ok());
    loop {
        let asked = Moment::now();
        let event = lambda.next().await;
        let waited = asked.elapsed();
        if waited > THAW {
            extension.pipeline.thawed(waited).await;
        }
        match event {
            Ok(LambdaEvent::Invoke(invoke)) => {
                flushing.gaps.record(waited);
                extension.handle_invoke(&invoke, &mut flushing).await;
            }
            Ok(LambdaEvent::Shutdown(shutdown)) => {
                info!("Shutting down: {}", shutdown.shutdown_reason);
                return shutdown;
            }
            Err(error) => pause_after(error, &mut last_error).await,
        }
    }
}

/// A panic ends our work, but not the function's: until SHUTDOWN somebody asks for events. What was
/// received is drained then as ever.
async fn poll_until_shutdown(
    lambda: &ExtensionsApi,
    work: impl Future<Output = Shutdown>,
) -> Shutdown {
    if let Ok(shutdown) = AssertUnwindSafe(work).catch_unwind().await {
        return shutdown;
    }
    error!("The extension has failed, the function goes on; its telemetry is kept until the end");
    let mut last_error = None;
    loop {
        match lambda.next().await {
            Ok(LambdaEvent::Invoke(_)) => {}
            Ok(LambdaEvent::Shutdown(shutdown)) => return shutdown,
            Err(error) => pause_after(error, &mut last_error).await,
        }
    }
}

/// Runs until SIGINT or SIGTERM. Fails only if nothing can be received.
pub async fn run_elsewhere(config: &Config) -> std::io::Result<()> {
    let mut interrupt = signal(UnixSignal::interrupt())?;
    let mut terminate = signal(UnixSignal::terminate())?;
    let mut extension = Extension::start(config, Trigger::Receive);
    extension.receive_otlp(config).await?;
    extension.spawn_failure_timer();
    info!("OTLP is taken at http://{}", config.otlp_listen);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    extension.shut_down(config, Instant::now() + DRAIN_BUDGET).await;
    Ok(())
}

/// Registers, however long that takes: without an identifier there is nothing else to do.
async fn register(api: &str, name: &str) -> ExtensionsApi {
    let mut last_error = None;
    loop {
        match ExtensionsApi::register(api, name).await {
            Ok(lambda) => return lambda,
            Err(error) => pause_after(error, &mut last_error).await,
        }
    }
}

/// Logs an error of Lambda's API unless it is the same as the last one.
async fn pause_after(error: ApiError, last_error: &mut Option<String>) {
    let error = error.to_string();
    if last_error.as_ref() != Some(&error) {
        error!("Lambda does not answer as expected, trying again: {error}");
        *last_error = Some(error);
    }
    sleep(API_PAUSE).await;
}

/// Everything that runs beside the loop.
struct Extension {
    pipeline: PipelineHandle,
    has_exporters: bool,
    /// Whether a destination takes the function's lines.
    wants_lines: bool,
    /// Whether somebody looks into them.
    reads_lines: bool,
    invocations: Processor,
    trace_headers: XrayContexts,
    stop: watch::Sender<bool>,
    receivers: Vec<JoinHandle<()>>,
}

impl Extension {
    fn start(config: &Config, trigger: Trigger) -> Self {
        let trace_headers = match config.exporters.xray.is_some() && config.spool_bytes > 0 {
            true => XrayContexts::kept_in(&config.spool_directory),
            false => XrayContexts::default(),
        };
        let exporters = config.exporters(Some(&trace_headers));
        if exporters.is_empty() {
            warn!(
                "No exporter runs: neither is HONEYCOMB_API_KEY set, nor does CRUDDUR_EXPORTERS name one"
            );
        }
        let has_exporters = !exporters.is_empty();
        let wants_lines = exporters.iter().any(|it| it.spec().kinds.contains(&SignalKind::Lines));
        let failures = config.failure_settings().map(FailureReporter::new);
        let reads_lines = wants_lines || failures.is_some();
        let invocations = Processor::new(
            PlatformSpans::new(config.function_name.clone(), config.resource.clone()),
            reads_lines.then(|| LineEnricher::new(config.line_settings())),
            failures,
        );
        let (pipeline, handle) = Pipeline::new(exporters, &config.pipeline_settings(), trigger);
        drop(supervised(
            "pipeline",
            pipeline.with_pending_failures(invocations.failure_counts()).run(),
        ));
        Self {
            pipeline: handle,
            has_exporters,
            wants_lines,
            reads_lines,
            invocations,
            trace_headers,
            stop: watch::Sender::new(false),
            receivers: Vec::new(),
        }
    }

    async fn receive_otlp(&mut self, config: &Config) -> std::io::Result<()> {
        let address = config.otlp_listen;
        let listener = TcpListener::bind(address).await.map_err(|error| {
            let advice = format!(
                "{address} cannot be listened on ({error}); CRUDDUR_OTLP_LISTEN names another"
            );
            std::io::Error::new(error.kind(), advice)
        })?;
        let receiver = Arc::new(OtlpReceiver {
            pipeline: self.pipeline.clone(),
            invocations: self.invocations.clone(),
            service_name: config.service_name.clone(),
            max_body_bytes: config.buffer_bytes,
            room: BodyBudget::new(config.buffer_bytes.saturating_mul(2)),
        });
        let handle = move |request| {
            let receiver = Arc::clone(&receiver);
            async move { receiver.handle(request).await }
        };
        let serve = server::serve(listener, self.stop.subscribe(), handle);
        self.receivers.push(supervised("OTLP receiver", serve));
        Ok(())
    }

    /// The listener must be up before Lambda is told of it.
    async fn receive_telemetry(
        &mut self,
        lambda: &ExtensionsApi,
        buffer_bytes: usize,
    ) -> Result<(), ApiError> {
        let max_body_bytes = buffer_bytes.max(MIN_TELEMETRY_BYTES);
        const CALL: &str = "the Telemetry API listener";
        let unreachable =
            |source: std::io::Error| ApiError::Unreachable { call: CALL, source: source.into() };
        // Lambda posts to `sandbox.localdomain`, which need not be the loopback address.
        let listener = TcpListener::bind(("0.0.0.0", 0)).await.map_err(unreachable)?;
        let port = listener.local_addr().map_err(unreachable)?.port();
        let (pipeline, invocations) = (self.pipeline.clone(), self.invocations.clone());
        let receiver = TelemetryReceiver::new(pipeline, invocations, max_body_bytes);
        let serve = receiver.serve(listener, self.stop.subscribe());
        self.receivers.push(supervised("telemetry receiver", serve));
        let types: &[_] = if self.reads_lines { &["platform", "function"] } else { &["platform"] };
        lambda.subscribe_telemetry(port, types).await
    }

    /// Where no invocation's end is told: what was received is sent in the background.
    fn flush_every(&self, period: Duration) {
        let (pipeline, mut stop) = (self.pipeline.clone(), self.stop.subscribe());
        let flushes = async move {
            while timeout(period, stop.wait_for(|stopped| *stopped)).await.is_err() {
                pipeline.flush(FlushKind::Background).await;
            }
        };
        drop(supervised("timer", flushes));
    }

    /// Where no invocation's end is told, nothing else would tell what waits.
    fn spawn_failure_timer(&self) {
        if !self.invocations.wants_failures() {
            return;
        }
        let (pipeline, invocations) = (self.pipeline.clone(), self.invocations.clone());
        let mut stop = self.stop.subscribe();
        let telling = async move {
            while timeout(SPANS_FOLLOW, stop.wait_for(|stopped| *stopped)).await.is_err() {
                for failure in invocations.overdue_failures() {
                    let _ = pipeline.receive(failure).await; // as `Extension::enqueue` does
                }
            }
        };
        drop(supervised("timer", telling));
    }

    /// Waits for an invocation's end and flushes what it sent.
    async fn handle_invoke(&mut self, invoke: &Invoke, flushing: &mut FlushState) {
        if self.pipeline.has_stopped() || !self.has_exporters {
            return; // reported when it did, or at the start
        }
        let now = Instant::now();
        let deadline = policy::deadline(invoke.deadline_ms, SystemTime::now(), now);
        let earlier = self.invocations.on_invoke(invoke);
        self.enqueue(earlier).await;
        self.trace_headers.on_invoke(invoke, SystemTime::now());
        let ended = flushing.wait_for_end(&self.invocations, &invoke.request_id, deadline).await;
        let failed = self.wants_lines && self.invocations.has_failed(&invoke.request_id);
        let kind = flushing.decide(ended, deadline, failed);
        if let FlushKind::Wait(until) = kind {
            let has_failures = self.invocations.has_failures(&invoke.request_id);
            if self.wants_lines || has_failures {
                let hold = (ended, until);
                flushing.wait_for_lines(&self.invocations, &invoke.request_id, hold).await;
            }
            let failures = self.invocations.conclude(&invoke.request_id);
            self.enqueue(failures).await;
        }
        self.pipeline.flush(kind).await;
        self.pipeline.held(ended.elapsed()).await;
    }

    /// The last events of an invocation, or of an init that failed, come with the end of the sandbox.
    async fn collect_final_events(&self, shutdown: &Shutdown) {
        if shutdown.is_failure() {
            let _ = timeout(FINAL_EVENT_WAIT, self.invocations.wait_for_init()).await;
        }
        if let Some(unexplained) = self.invocations.unexplained(shutdown) {
            let end = self.invocations.wait_for_end(&unexplained, EndEvidence::Likely);
            let _ = timeout_at(Instant::now() + FINAL_EVENT_WAIT, end).await;
        }
        if let Some(unreported) = self.invocations.unreported() {
            let report = self.invocations.wait_for_report(&unreported);
            let _ = timeout_at(Instant::now() + FINAL_EVENT_WAIT, report).await;
        }
        self.enqueue(self.invocations.last_lines(shutdown)).await;
        self.enqueue(self.invocations.shut_down(shutdown)).await;
    }

    /// Hands signals of our own to the pipeline. Fails only if that has stopped, which its owner
    /// reports.
    async fn enqueue(&self, signals: Vec<Payload>) {
        for signal in signals {
            let _ = self.pipeline.receive(signal).await;
        }
    }

    /// Stops intake, then drains: what the buffer holds then is all there will be.
    async fn shut_down(mut self, config: &Config, until: Instant) -> PipelineHandle {
        self.stop.send_replace(true);
        for receiver in self.receivers.drain(..) {
            let _ = timeout_at(until, receiver).await;
        }
        if self.pipeline.has_stopped() {
            // Another one counts what that one held as lost, and sends what it spooled.
            let exporters = config.exporters(Some(&self.trace_headers));
            let (pipeline, handle) =
                Pipeline::new(exporters, &config.pipeline_settings(), Trigger::Flush);
            drop(supervised("second pipeline", pipeline.run()));
            self.pipeline = handle;
        }
        self.enqueue(self.invocations.last_failures()).await;
        self.pipeline.flush(FlushKind::Drain(until)).await;
        match self.pipeline.summary().await {
            Ok(summary) => summary.log_at_end(),
            Err(error) => error!("Nobody knows what became of the telemetry: {error}"),
        }
        self.pipeline
    }
}

/// The sandbox may end now, and what is on its disk with it: the log gets what was not delivered.
async fn log_undelivered(pipeline: &PipelineHandle) {
    match pipeline.dead_letters().await {
        Ok(Ok(DeadLetters { items, left_out, .. })) if items + left_out > 0 => warn!(
            "{items} undelivered items are in this log, from where `cruddur-telemetry replay` \
             sends them; {left_out} found no room"
        ),
        Ok(Ok(_)) | Err(_) => {}
        Ok(Err(error)) => error!("The log takes no telemetry: {error}"),
    }
}

/// Starts a task whose panic somebody learns of: none ends unnoticed.
fn supervised(
    name: &'static str,
    task: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<()> {
    let task = tokio::spawn(task);
    tokio::spawn(async move {
        if let Err(error) = task.await {
            error!("The {name} has ended, telemetry suffers: {error}");
        }
    })
}

#[cfg(test)]
mod tests;
