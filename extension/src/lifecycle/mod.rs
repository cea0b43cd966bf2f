//! Runs the extension: on Lambda by its events, elsewhere until a signal.
//!
//! On Lambda: register → bind receivers → subscribe → Next, with nothing else before the first
//! Next, since that would delay the function's cold start. Then, for each event:
//!
//! | event | steps before the next Next |
//! |---|---|
//! | INVOKE | wait for the invocation's end, then flush, both bounded by [`crate::flush::policy`] |
//! | SHUTDOWN | await the last events, stop intake, drain, log the stats and, unless the log is off, [dead letters](crate::pipeline::dead_letter), exit 0 |
//!
//! The process never ends before SHUTDOWN, since that would fail the function's invocation. If it cannot
//! work, it logs that once and keeps requesting events.
//!
//! **Managed Instances** run many invocations at once, never freeze, and send extensions only SHUTDOWN. A
//! timer drives the flushes there ([`policy::FlushMode::period`]).
//!
//! **SnapStart** copies the process into many sandboxes after init, and no event announces a copy. So nothing
//! that must differ between sandboxes exists before the first INVOKE, which only a copy gets:
//!
//! | part | before the first INVOKE |
//! |---|---|
//! | receivers | listen at fixed ports. A listener on this machine is a part of the snapshot and works in each copy, and the function's init may need it |
//! | connections | only those on this machine, to Lambda's API and of the function: none to a destination |
//! | spool, sums and their lock | unopened; received payloads wait in memory |
//! | seeds, ids | not drawn. The standard library's hash keys are, and leave no process |
//! | clocks | the credit for holds is capped, and a breaker counts the time as a freeze |
//! | credentials | unread: the AWS SDK reads them for each request or fetches them |
//! | other variables | read: they are a part of the snapshot too, and cannot change |
//!
//! `platform.restore*` events become a span and lines, and decide nothing, since they may be late.
//!
//! **Elsewhere** (no `AWS_LAMBDA_RUNTIME_API`, or an address with a path, as the emulator of
//! cargo-lambda sets it) the extension does not register. That emulator delivers no telemetry and no
//! deadlines, answers Next for every function at once, and stops working when a registered extension
//! ends. Each received payload is sent at once there, and SIGINT or SIGTERM is the SHUTDOWN. One process
//! serves all functions and survives their reloads.

mod otlp_port;
mod extension;

use std::{
    io::Write,
    panic::AssertUnwindSafe,
    time::{Duration, SystemTime},
};

use futures_util::FutureExt;
use tokio::{
    signal::unix::{SignalKind as UnixSignal, signal},
    time::{Instant, sleep},
};
use tracing::{error, info, level_filters::LevelFilter, warn};

use self::extension::Extension;
use crate::client::freeze::{Moment, THAW};
use crate::config::{Config, Initialization};
use crate::flush::policy;
use crate::flush::policy::DRAIN_BUDGET;
use crate::flush::state::FlushState;
use crate::lambda::extensions_api::error::ApiError;
use crate::lambda::extensions_api::{EventTypes, ExtensionsApi, LambdaEvent, Shutdown};
use crate::pipeline::dead_letter::DeadLetters;
use crate::pipeline::{PipelineHandle, Trigger};

/// Pause after a failed call to Lambda's API, so that the loop does not spin.
const API_PAUSE: Duration = Duration::from_millis(500);

/// Runs until SHUTDOWN. `name` is the executable's file name, by which Lambda knows the extension.
pub async fn run_on_lambda(api: &str, name: &str, config: &Config) {
    if !config.is_enabled {
        return stand_by(api, name).await;
    }
    let events = match config.initialization {
        Initialization::ManagedInstance => EventTypes::Shutdown,
        Initialization::OnDemand | Initialization::SnapStart => EventTypes::All,
    };
    let lambda = retried(|| ExtensionsApi::register(events, api, name)).await;
    let mut extension = Extension::start(config, lambda.account_id(), Trigger::Flush);
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

/// Waits for SHUTDOWN, the only event that it registers for, so that invocations do not wait for us.
async fn stand_by(api: &str, name: &str) {
    let events = EventTypes::Shutdown;
    let lambda = retried(|| ExtensionsApi::register(events, api, name)).await;
    retried(|| lambda.next()).await;
}

/// Starts the receivers and handles events until SHUTDOWN.
async fn event_loop(
    lambda: &ExtensionsApi,
    extension: &mut Extension,
    config: &Config,
) -> Shutdown {
    if let Err(error) = extension.receive_otlp(config).await {
        error!("Spans of this function cannot be received: {error}");
    }
    let telemetry = extension.receive_telemetry(lambda, config).await;
    if let Err(error) = &telemetry {
        warn!("Platform events cannot be received: {error}");
    }
    match lambda.events() {
        EventTypes::All => extension.invocations.expect_end_events(),
        EventTypes::Shutdown => {
            extension.invocations.expect_concurrency();
            extension.flush_every(config.flush.period());
            extension.spawn_failure_timer();
        }
    }
    let mut is_snapshot = config.initialization == Initialization::SnapStart;
    let mut last_error = None;
    let mut flushing = FlushState::new(config.flush, config.hold_settings(), telemetry.is_ok());
    loop {
        let asked = Moment::now();
        let event = lambda.next().await;
        let waited = asked.elapsed();
        if waited > THAW {
            extension.pipeline.thawed(waited).await;
        }
        match event {
            Ok(LambdaEvent::Invoke(invoke)) => {
                if std::mem::take(&mut is_snapshot) {
                    extension.begin_anew().await;
                }
                flushing.on_invoke();
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

/// Runs the event loop. After a panic it still requests events until SHUTDOWN, so that the function is
/// not affected, and received telemetry is drained as usual.
async fn poll_until_shutdown(
    lambda: &ExtensionsApi,
    work: impl Future<Output = Shutdown>,
) -> Shutdown {
    if let Ok(shutdown) = AssertUnwindSafe(work).catch_unwind().await {
        return shutdown;
    }
    error!(
        "The extension has failed; the function is not affected, and received telemetry is kept until \
         SHUTDOWN"
    );
    let mut last_error = None;
    loop {
        match lambda.next().await {
            Ok(LambdaEvent::Invoke(_)) => {}
            Ok(LambdaEvent::Shutdown(shutdown)) => return shutdown,
            Err(error) => pause_after(error, &mut last_error).await,
        }
    }
}

/// Runs until SIGINT or SIGTERM, and prints the addresses for OTLP unless the log is off. Fails only if the OTLP receiver or a signal's handler cannot start.
pub async fn run_elsewhere(config: &Config) -> std::io::Result<()> {
    let mut interrupt = signal(UnixSignal::interrupt())?;
    let mut terminate = signal(UnixSignal::terminate())?;
    let mut extension = Extension::start(config, None, Trigger::Receive);
    let addresses = extension.receive_otlp(config).await?;
    extension.spawn_failure_timer();
    if config.sampling().is_some() {
        extension.flush_every(config.flush.period()); // no event shows the end of an invocation
    }
    if config.log_level != LevelFilter::OFF {
        let _ = writeln!(std::io::stderr(), "{addresses}"); // standard error may be closed
    }
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    extension.shut_down(config, Instant::now() + DRAIN_BUDGET).await;
    Ok(())
}

/// Calls Lambda's API until that succeeds.
async fn retried<T, F: Future<Output = Result<T, ApiError>>>(call: impl Fn() -> F) -> T {
    let mut last_error = None;
    loop {
        match call().await {
            Ok(done) => return done,
            Err(error) => pause_after(error, &mut last_error).await,
        }
    }
}

/// Logs an error of Lambda's API unless it is the same as the last one, then pauses.
async fn pause_after(error: ApiError, last_error: &mut Option<String>) {
    let error = error.to_string();
    if last_error.as_ref() != Some(&error) {
        error!("Lambda's API failed, trying again: {error}");
        *last_error = Some(error);
    }
    sleep(API_PAUSE).await;
}

/// Writes dead letters, since the sandbox may end now, and the spool with it.
async fn log_undelivered(pipeline: &PipelineHandle) {
    match pipeline.dead_letters().await {
        Ok(Ok(DeadLetters { items, left_out, .. })) if items + left_out > 0 => warn!(
            "{items} undelivered items are in this log, from where `cruddur-telemetry replay` \
             sends them; {left_out} found no room"
        ),
        Ok(Ok(_)) | Err(_) => {}
        Ok(Err(error)) => error!("Dead letters could not be written to the log: {error}"),
    }
}

#[cfg(test)]
mod tests;
