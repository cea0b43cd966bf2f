//! The end of a command's call that failed.

use http::StatusCode;

use crate::delivery::error::ExportError;

/// Why a call of an operator's command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    #[error("{0}")]
    Unreachable(String),
    /// Refused by the service, or a setting is wrong.
    #[error("{0}")]
    Refused(String),
}

impl From<ExportError> for CommandError {
    fn from(error: ExportError) -> Self {
        let text = error.to_string();
        match error {
            ExportError::NoKey { is_unreachable: false, .. }
            | ExportError::Misconfigured(_)
            | ExportError::ForeignReply(_) => Self::Refused(text),
            ExportError::Status { status, .. } if is_temporary(status) => Self::Unreachable(text),
            ExportError::Status { .. } => Self::Refused(text),
            _ => Self::Unreachable(text),
        }
    }
}

/// Whether a later call may succeed.
pub(super) fn is_temporary(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}
