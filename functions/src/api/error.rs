//! Everything that can go wrong with a request. A handler returns it with `?`; what the client
//! gets to see of it is chosen here and nowhere else.

use http::StatusCode;

use super::Reply;
use crate::store::StoreError;

/// Why a request was not answered as it asked. `Display` and the sources are for the log.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The event is JSON, but not a request.
    #[error("the event is no HTTP request of payload format 2.0: {0}")]
    MalformedEvent(String),
    /// The gateway routes by method, so only a mistake in the template or an emulator does this.
    #[error("{method} is not offered here, only {allowed:?}")]
    MethodNotAllowed {
        /// What was asked for.
        method: String,
        /// What there is.
        allowed: &'static [&'static str],
    },
    /// The store did not answer, or not as it should.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// The reply could not be written as JSON.
    #[error("the reply could not be encoded")]
    Encode(#[source] serde_json::Error),
    /// The handler panicked.
    #[error("the handler panicked: {0}")]
    Panicked(String),
}

impl ApiError {
    /// The only place where the client's status and code are chosen.
    pub fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            ApiError::MalformedEvent(_) => (StatusCode::BAD_REQUEST, "malformed_event"),
            ApiError::MethodNotAllowed { .. } => {
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed")
            }
            ApiError::Store(_) | ApiError::Encode(_) | ApiError::Panicked(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "generic_500")
            }
        }
    }

    /// What the client gets.
    pub fn reply(&self) -> Reply {
        let (status, code) = self.status_and_code();
        let reply = Reply::code(status, code);
        match self {
            ApiError::MethodNotAllowed { allowed, .. } => {
                reply.with_header("allow", allowed.join(", "))
            }
            _ => reply,
        }
    }

    /// Which kind it is, in a word, for `exception.type`.
    pub fn kind(&self) -> &'static str {
        match self {
            ApiError::MalformedEvent(_) => "MalformedEvent",
            ApiError::MethodNotAllowed { .. } => "MethodNotAllowed",
            ApiError::Store(_) => "StoreError",
            ApiError::Encode(_) => "EncodeError",
            ApiError::Panicked(_) => "Panic",
        }
    }

    /// The whole chain, outermost first, for the log and the trace.
    pub fn chain(&self) -> String {
        let sources = std::iter::successors(std::error::Error::source(self), |e| e.source());
        sources.fold(self.to_string(), |chain, source| format!("{chain}: {source}"))
    }
}
