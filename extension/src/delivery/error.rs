//! How the export of a batch ends.

use std::time::Duration;

use http::StatusCode;

/// The result of an export without an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportOutcome {
    /// Items that the destination rejected: a partial success.
    pub rejected: u64,
    /// Items that were not sent because their trace is not sampled.
    pub unsampled: u64,
}

/// Why a batch was not delivered.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("no connection: {0}")]
    Unreachable(String),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// No answer within the hold of a flush.
    #[error("no answer within the hold")]
    HoldExpired,
    #[error("the process was frozen before there was an answer")]
    Frozen,
    /// An answer other than success.
    #[error("{status}: {message}")]
    Status {
        status: StatusCode,
        /// The shortened body, or advice.
        message: String,
        /// The pause that the destination asked for.
        retry_after: Option<Duration>,
    },
    /// A success whose body broke off, so that refusals in it are unknown.
    #[error("the answer broke off: {0}")]
    BrokenReply(String),
    /// A success with a longer body than any that the destination's API has. OTLP forbids a retry.
    #[error("the answer has more than {0} bytes")]
    ReplyTooLong(usize),
    /// A success that another service answered, such as a proxy.
    #[error("a success, but not from the destination's API: {0}")]
    ForeignReply(String),
    /// An answer whose status is final but does not concern this batch.
    #[error("{0}")]
    NotAboutBatch(Box<ExportError>),
    #[error("{reason}")]
    NoKey {
        reason: String,
        /// Whether the service that keeps the key did not answer; otherwise a setting is wrong.
        is_unreachable: bool,
    },
    /// A setting of the network is wrong, so nothing was sent.
    #[error("{0}")]
    Misconfigured(String),
    /// The exporter cannot decode the batch.
    #[error("the batch cannot be read: {0}")]
    Unreadable(String),
    #[error("the exporter panicked")]
    Panicked,
    #[error("the exporter has stopped")]
    WorkerGone,
}

impl ExportError {
    /// Whether a retry cannot succeed, so that the batch is dropped.
    ///
    /// A wrong key (401, 403) or address (404, 405) is not final: an operator may correct it while the
    /// batch waits.
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
            Self::Unreadable(_) | Self::ReplyTooLong(_) => true,
            Self::Unreachable(_)
            | Self::Timeout(_)
            | Self::HoldExpired
            | Self::Frozen
            | Self::BrokenReply(_)
            | Self::ForeignReply(_)
            | Self::NotAboutBatch(_)
            | Self::NoKey { .. }
            | Self::Misconfigured(_)
            | Self::Panicked
            | Self::WorkerGone => false,
        }
    }

    /// Whether a payload of the batch may be the cause, although other batches are accepted.
    pub fn is_server_error(&self) -> bool {
        match self {
            Self::Status { status, .. } => status.is_server_error(),
            error => matches!(error, Self::Panicked),
        }
    }

    /// Whether parts of the batch may succeed where the whole batch cannot.
    pub fn is_about_content(&self) -> bool {
        !matches!(self, Self::ReplyTooLong(_))
    }

    /// Whether the key is wrong or lacks a permission.
    pub fn is_denied(&self) -> bool {
        let denied = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
        matches!(self, Self::Status { status, .. } if denied.contains(status))
    }

    /// Whether the destination certainly does not have the batch.
    pub fn is_definitive(&self) -> bool {
        !matches!(
            self,
            Self::Unreachable(_)
                | Self::Timeout(_)
                | Self::HoldExpired
                | Self::Frozen
                | Self::BrokenReply(_)
                | Self::ReplyTooLong(_)
        )
    }

    /// The pause that the destination asked for.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether both errors are of one kind, so that one log line is enough.
    pub fn is_same_kind(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Status { status, .. }, Self::Status { status: other, .. }) => status == other,
            (Self::Timeout(_) | Self::HoldExpired, Self::Timeout(_) | Self::HoldExpired) => true,
            (Self::NotAboutBatch(one), Self::NotAboutBatch(other)) => one.is_same_kind(other),
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}
