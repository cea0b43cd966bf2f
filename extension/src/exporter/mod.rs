//! Where batches go. Each exporter runs in a worker task of its own and says how a batch ended;
//! what follows from that is the pipeline's business.

pub mod cloudwatch_logs;
pub mod console;
pub mod honeycomb;
pub mod rollbar;
pub mod xray;

use std::{panic::AssertUnwindSafe, time::Duration};

use ::http::StatusCode;
use futures_util::FutureExt;
use tokio::sync::{mpsc, watch};

use crate::{
    client::{freeze::awake, secret::SecretError},
    config::Config,
    delivery::{batch::Batch, healthcheck::Finding},
    exporter::{
        cloudwatch_logs::CloudWatchLogs, console::Console, honeycomb::Honeycomb, rollbar::Rollbar,
        xray::Xray,
    },
    invocation::xray_contexts::XrayContexts,
    otlp::payload::SignalKind,
    pipeline::{DestinationId, DestinationSpec},
    scrub::Scrubber,
};

/// One destination.
#[derive(Debug)]
pub enum Exporter {
    /// Puts lines into a log group.
    CloudWatchLogs(Box<CloudWatchLogs>),
    /// Draws traces in the terminal.
    Console(Console),
    /// Posts OTLP to Honeycomb.
    Honeycomb(Box<Honeycomb>),
    /// Posts failures to Rollbar.
    Rollbar(Box<Rollbar>),
    /// Sends spans to X-Ray as segment documents.
    Xray(Box<Xray>),
}

/// How the export of a destination's batch ended.
#[derive(Debug)]
pub struct CompletedExport {
    /// The destination.
    pub id: DestinationId,
    /// Whether it has the batch.
    pub result: Result<ExportOutcome, ExportError>,
}

/// What a destination said of a batch that it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportOutcome {
    /// Items that it refused for good: a partial success.
    pub rejected: u64,
    /// Items that were not sent, since their trace is not sampled.
    pub unsampled: u64,
}

/// Why a batch was not delivered.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// No connection, or a broken one.
    #[error("no connection: {0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// No answer within the time for which an invocation may be held.
    #[error("no answer within the hold")]
    HoldOver,
    /// The process was frozen in the request.
    #[error("the process was frozen before there was an answer")]
    Frozen,
    /// An answer other than success.
    #[error("{status}: {message}")]
    Status {
        /// The answer's status.
        status: StatusCode,
        /// The answer's body, shortened, or advice.
        message: String,
        /// How long the destination asked to be left alone.
        retry_after: Option<Duration>,
    },
    /// An answer that would be final, but is not about the batch.
    #[error("{0}")]
    Elsewhere(Box<ExportError>),
    /// There is no key to send with.
    #[error("{0}")]
    NoKey(#[from] SecretError),
    /// The exporter itself can make nothing of this batch.
    #[error("the batch cannot be read: {0}")]
    Unreadable(String),
    /// The exporter panicked over this batch.
    #[error("the exporter panicked")]
    Panicked,
    /// The worker task is gone.
    #[error("the exporter has stopped")]
    WorkerGone,
}

impl ExportError {
    /// Whether the destination will never take this batch, however often it is sent.
    ///
    /// A wrong key (401, 403) or address (404, 405) is not final: it may be mended while the batch is
    /// held.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Status { status, .. } => {
                status.is_client_error()
                    && ![
                        StatusCode::UNAUTHORIZED,
                        StatusCode::FORBIDDEN,
                        StatusCode::NOT_FOUND,
                        StatusCode::METHOD_NOT_ALLOWED,
                        StatusCode::REQUEST_TIMEOUT,
                        StatusCode::TOO_MANY_REQUESTS,
                    ]
                    .contains(status)
            }
            Self::Panicked | Self::Unreadable(_) => true,
            Self::Unreachable(_)
            | Self::Timeout(_)
            | Self::HoldOver
            | Self::Frozen
            | Self::Elsewhere(_)
            | Self::NoKey(_)
            | Self::WorkerGone => false,
        }
    }

    /// Whether a key is wrong, or permits nothing of this kind.
    pub fn is_denied(&self) -> bool {
        let denied = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
        matches!(self, Self::Status { status, .. } if denied.contains(status))
    }

    /// Whether it is certain that the destination does not have the batch.
    pub fn is_answer(&self) -> bool {
        !matches!(self, Self::Unreachable(_) | Self::Timeout(_) | Self::HoldOver | Self::Frozen)
    }

    /// How long the destination asked to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether both tell the same story, so that one line of log is enough.
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Status { status, .. }, Self::Status { status: other, .. }) => status == other,
            (Self::Timeout(_) | Self::HoldOver, Self::Timeout(_) | Self::HoldOver) => true,
            (Self::Elsewhere(one), Self::Elsewhere(other)) => one.is_like(other),
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

impl Exporter {
    /// Those that the configuration asks for, where no invocation is known. None of them has opened
    /// anything yet.
    pub fn configured(config: &Config) -> Vec<Self> {
        Self::with_headers(config, None)
    }

    /// The same beside a function whose invocations have these headers.
    pub fn with_headers(config: &Config, headers: Option<&XrayContexts>) -> Vec<Self> {
        let honeycomb = config.honeycomb.clone();
        let honeycomb = honeycomb.map(|config| Self::Honeycomb(Box::new(Honeycomb::new(config))));
        let xray = config.xray.clone();
        let xray = xray.map(|config| Self::Xray(Box::new(Xray::new(config, headers.cloned()))));
        let cloudwatch = config.cloudwatch_logs.clone().map(|cloudwatch| {
            let scrubber = Scrubber::new(&config.scrub);
            Self::CloudWatchLogs(Box::new(CloudWatchLogs::new(cloudwatch, scrubber)))
        });
        let rollbar = config.rollbar.as_ref();
        let rollbar = rollbar.map(|config| Self::Rollbar(Box::new(Rollbar::new(config))));
        let console = config.console.then(|| Self::Console(Console::default()));
        honeycomb.into_iter().chain(xray).chain(cloudwatch).chain(rollbar).chain(console).collect()
    }

    /// What the pipeline must know of it.
    pub fn spec(&self) -> DestinationSpec {
        match self {
            Self::CloudWatchLogs(_) => {
                let kinds = vec![SignalKind::Lines, SignalKind::Logs];
                DestinationSpec { name: "cloudwatch", kinds, durable: true }
            }
            Self::Console(_) => {
                DestinationSpec { name: "console", kinds: vec![SignalKind::Traces], durable: false }
            }
            Self::Honeycomb(_) => DestinationSpec {
                name: "honeycomb",
                kinds: SignalKind::OTLP.to_vec(),
                durable: true,
            },
            Self::Rollbar(_) => DestinationSpec {
                name: "rollbar",
                kinds: vec![SignalKind::Failures],
                durable: true,
            },
            Self::Xray(_) => {
                DestinationSpec { name: "xray", kinds: vec![SignalKind::Traces], durable: true }
            }
        }
    }

    /// Whether what it is sent twice is there twice.
    pub fn keeps_duplicates(&self) -> bool {
        match self {
            Self::Rollbar(_) => false, // of two items with one uuid the second is dropped
            // X-Ray promises nothing for a second complete document of one id.
            Self::CloudWatchLogs(_) | Self::Console(_) | Self::Honeycomb(_) | Self::Xray(_) => true,
        }
    }

    /// Whether it can be sent to, for whoever operates it.
    pub async fn check(&mut self) -> Vec<Finding> {
        match self {
            Self::CloudWatchLogs(cloudwatch) => cloudwatch.check().await,
            Self::Console(_) => vec![Finding::fine("traces are drawn on standard output")],
            Self::Honeycomb(honeycomb) => honeycomb.check().await,
            Self::Rollbar(rollbar) => rollbar.check().await,
            Self::Xray(xray) => vec![xray.check().await],
        }
    }

    async fn export(&mut self, batch: &Batch) -> Result<ExportOutcome, ExportError> {
        match self {
            Self::CloudWatchLogs(cloudwatch) => cloudwatch.export(batch).await,
            Self::Console(console) => {
                console.export(batch).await.map(|()| ExportOutcome::default())
            }
            Self::Honeycomb(honeycomb) => honeycomb.export(batch).await,
            Self::Rollbar(rollbar) => rollbar.export(batch).await,
            Self::Xray(xray) => xray.export(batch).await,
        }
    }

    /// Gives up pooled connections: after a freeze their other end may be gone without a word.
    fn disconnect(&mut self) {
        match self {
            Self::CloudWatchLogs(cloudwatch) => cloudwatch.disconnect(),
            Self::Console(_) => {}
            Self::Honeycomb(honeycomb) => honeycomb.disconnect(),
            Self::Rollbar(rollbar) => rollbar.disconnect(),
            Self::Xray(xray) => xray.disconnect(),
        }
    }
}

/// Exports batches one after the other until the pipeline is gone.
pub(crate) async fn work(
    id: DestinationId,
    mut exporter: Exporter,
    mut batches: mpsc::Receiver<Batch>,
    mut thaws: watch::Receiver<()>,
    exports: mpsc::Sender<CompletedExport>,
) {
    while let Some(batch) = batches.recv().await {
        let export = async {
            if thaws.has_changed().unwrap_or(false) {
                thaws.mark_unchanged();
                exporter.disconnect();
            }
            exporter.export(&batch).await
        };
        let result = unharmed(awake(export)).await;
        if let Err(ExportError::Frozen) = result {
            exporter.disconnect();
        }
        if exports.send(CompletedExport { id, result }).await.is_err() {
            return;
        }
    }
}

/// Makes an error of a panic: the next batch is another one.
async fn unharmed<T>(
    export: impl Future<Output = Result<T, ExportError>>,
) -> Result<T, ExportError> {
    AssertUnwindSafe(export).catch_unwind().await.unwrap_or(Err(ExportError::Panicked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_costs_one_batch_in_the_end() {
        let result = unharmed(async { panic!("a bug") as Result<(), ExportError> }).await;

        let error = result.unwrap_err();
        assert!(matches!(error, ExportError::Panicked));
        assert!(error.is_final() && error.is_answer(), "else it would be sent for ever");
    }
}
