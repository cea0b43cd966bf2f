use http::StatusCode;

/// Why a call to one of Lambda's APIs failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("{call} got no answer: {source}")]
    Unreachable { call: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("{call} was answered {status}: {body}")]
    Refused {
        call: &'static str,
        status: StatusCode,
        /// Usually `{"errorType", "errorMessage"}`.
        body: String,
    },
    #[error("{call} was answered with something unexpected: {reason}")]
    Unexpected { call: &'static str, reason: String },
}
