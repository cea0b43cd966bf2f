//! How the export of a batch ends.

use std::time::Duration;

use http::StatusCode;

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
    #[error("{reason}")]
    NoKey {
        reason: String,
        /// Whether the service that keeps the key did not answer; otherwise a setting is wrong.
        is_unreachable: bool,
    },
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
            | Self::NoKey { .. }
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
