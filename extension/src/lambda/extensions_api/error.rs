use http::StatusCode;

/// Why a call to one of Lambda's APIs failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No answer.
    #[error("{call} got no answer: {source}")]
    Unreachable {
        /// Method and path.
        call: &'static str,
        /// What the connection said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An answer other than 200.
    #[error("{call} was answered {status}: {body}")]
    Refused {
        /// Method and path.
        call: &'static str,
        /// The answer's status.
        status: StatusCode,
        /// The answer's body, usually `{"errorType", "errorMessage"}`.
        body: String,
    },
    /// An answer that cannot be understood.
    #[error("{call} was answered with something unexpected: {reason}")]
    Unexpected {
        /// Method and path.
        call: &'static str,
        /// What was wrong with it.
        reason: String,
    },
}
