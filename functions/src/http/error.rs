//! Everything that can go wrong with a request. A handler returns it with `?`; what the client
//! gets to see of it is chosen here and nowhere else.

use std::{backtrace::Backtrace, sync::Arc};

use http::StatusCode;
use tokio::time::error::Elapsed;

use super::{Invalid, Response, excerpts::cut, response::EncodeError};
use crate::panics::Panic;

/// An error of a module that HTTP does not know.
type Source = Box<dyn std::error::Error + Send + Sync>;

/// The kind of thing that was not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// An activity or reply, or it has expired.
    Activity,
    /// A user.
    User,
    /// A conversation that does not exist, or that the caller is not a member of.
    MessageGroup,
}

/// Why a request was not answered as it asked. `Display` and the sources are for the log.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The event is JSON, but not a request.
    #[error("the event is not an HTTP request of payload format 2.0: {}", cut(.0))]
    MalformedEvent(String),
    /// The gateway routes by method, so only a mistake in the template or an emulator does this.
    #[error("{} is not offered here, only {allowed:?}", cut(.method))]
    MethodNotAllowed {
        /// What was asked for.
        method: String,
        /// The route's methods.
        allowed: &'static [&'static str],
    },
    /// No token, or a request without an identity.
    #[error("there is no identity")]
    Unauthenticated,
    /// The caller did not write the text; only its author deletes it.
    #[error("another user is the author")]
    NotTheAuthor,
    /// Another user has the handle in the token.
    #[error("the handle belongs to another user")]
    HandleTaken,
    /// The thing that the path or the body names does not exist.
    #[error("there is no such {0:?}")]
    NotFound(Missing),
    /// The body is of another type.
    #[error("the body is {:?}, which this route does not accept", cut(.0))]
    UnsupportedMediaType(String),
    /// The body is longer than any that makes sense.
    #[error("the body has {bytes} bytes, {max_bytes} are allowed")]
    BodyTooLarge {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        max_bytes: usize,
    },
    /// The URL of a list is longer than a link in the response may repeat.
    #[error("the path and the query have {bytes} bytes, {max_bytes} are allowed")]
    UrlTooLong {
        /// How long they are.
        bytes: usize,
        /// How long they may be.
        max_bytes: usize,
    },
    /// The body is not JSON, or JSON of another form.
    ///
    /// serde's message is left out because it can quote the body.
    #[error("the body is malformed: {:?} error in line {}, column {}", .0.classify(), .0.line(), .0.column())]
    MalformedJson(serde_json::Error),
    /// Spans of another page than ours, or of none.
    #[error("the origin {:?} is not the page's", cut(.0))]
    ForeignOrigin(String),
    /// The page sent a body that is not OTLP, or invalid spans. The text never quotes the body.
    #[error("the traces are refused: {0}")]
    MalformedTraces(String),
    /// The page sent more spans than a request may hold.
    #[error("the traces are refused: {spans} spans, {max_spans} are allowed")]
    TooManySpans {
        /// How many it sent.
        spans: usize,
        /// How many are allowed.
        max_spans: usize,
    },
    /// The extension did not take the page's spans, which may try again.
    #[error("the telemetry extension did not accept the traces")]
    TracesNotTaken(#[source] Source),
    /// The cursor was not made here, or not for this list.
    #[error("the cursor does not belong to this list")]
    InvalidCursor,
    /// The `limit` is not a positive number.
    #[error("the limit is not a positive number")]
    InvalidLimit,
    /// An idempotency key that is blank or too long.
    #[error("the idempotency key is blank or too long")]
    InvalidIdempotencyKey,
    /// The user has written as much as their quota allows.
    #[error("the write quota of the user is exceeded")]
    QuotaExceeded {
        /// When the next window begins.
        retry_after_seconds: u64,
    },
    /// The content was refused.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The store did not answer in time, or is busy. The client may try again.
    #[error("the store is busy")]
    StoreBusy {
        /// The engine's error code, such as `ThrottlingException`.
        code: Option<String>,
        /// The store's error.
        source: Source,
        /// The calls that led to it.
        backtrace: Arc<Backtrace>,
    },
    /// The store answered with an error.
    #[error("the store failed")]
    Store {
        /// The engine's error code, such as `AccessDeniedException`.
        code: Option<String>,
        /// The store's error.
        source: Source,
        /// The calls that led to it.
        backtrace: Arc<Backtrace>,
    },
    /// Another request with the same idempotency key was answered in the meantime.
    #[error("the request has been answered before")]
    AnsweredBefore,
    /// The response could not be written as JSON.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The handler panicked.
    #[error("the handler panicked: {0}")]
    Panicked(Panic),
    /// The handler was cut off at the deadline; what it wrote, if anything, stays.
    #[error("the handler did not end in time")]
    TimedOut(#[source] Elapsed),
}

impl ApiError {
    /// The only place where the client's status and code are chosen.
    pub fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            ApiError::MalformedEvent(_) => (StatusCode::BAD_REQUEST, "malformed_event"),
            ApiError::MethodNotAllowed { .. } => {
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed")
            }
            ApiError::Unauthenticated => (StatusCode::UNAUTHORIZED, "generic_401"),
            ApiError::NotTheAuthor => (StatusCode::FORBIDDEN, "not_the_author"),
            ApiError::HandleTaken => (StatusCode::CONFLICT, "user_handle_taken"),
            ApiError::NotFound(missing) => (StatusCode::NOT_FOUND, missing.code()),
            ApiError::UnsupportedMediaType(_) => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type")
            }
            ApiError::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            ApiError::UrlTooLong { .. } => (StatusCode::URI_TOO_LONG, "url_too_long"),
            ApiError::MalformedJson(_) => (StatusCode::BAD_REQUEST, "malformed_json"),
            ApiError::ForeignOrigin(_) => (StatusCode::FORBIDDEN, "origin_not_allowed"),
            ApiError::TooManySpans { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_many_spans"),
            ApiError::MalformedTraces(_) => (StatusCode::BAD_REQUEST, "malformed_traces"),
            ApiError::TracesNotTaken(_) => (StatusCode::SERVICE_UNAVAILABLE, "traces_not_taken"),
            ApiError::InvalidCursor => (StatusCode::BAD_REQUEST, "invalid_cursor"),
            ApiError::InvalidLimit => (StatusCode::BAD_REQUEST, "invalid_limit"),
            ApiError::InvalidIdempotencyKey => (StatusCode::BAD_REQUEST, "invalid_idempotency_key"),
            ApiError::QuotaExceeded { .. } => {
                (StatusCode::TOO_MANY_REQUESTS, "write_quota_exceeded")
            }
            ApiError::Invalid(invalid) => (StatusCode::UNPROCESSABLE_ENTITY, invalid.code()),
            ApiError::StoreBusy { .. } => (StatusCode::SERVICE_UNAVAILABLE, "store_busy"),
            ApiError::Store { .. }
            | ApiError::AnsweredBefore
            | ApiError::Encode(_)
            | ApiError::Panicked(_) => (StatusCode::INTERNAL_SERVER_ERROR, "generic_500"),
            ApiError::TimedOut(_) => (StatusCode::SERVICE_UNAVAILABLE, "timed_out"),
        }
    }

    /// What the client gets.
    pub fn reply(&self) -> Response {
        let (status, code) = self.status_and_code();
        let reply = Response::code(status, code);
        let reply = match self.retry_after_seconds() {
            Some(seconds) => reply.with_header("retry-after", seconds.to_string()),
            None => reply,
        };
        match self {
            ApiError::MethodNotAllowed { allowed, .. } => {
                reply.with_header("allow", allowed.join(", "))
            }
            _ => reply,
        }
    }

    /// A sentence for the client, without internals: `Display` where the client is at fault.
    pub(super) fn detail(&self) -> String {
        match self {
            ApiError::MalformedEvent(_) => "the event is not an HTTP request".to_owned(),
            _ if self.status_and_code().0.is_client_error() => self.to_string(),
            _ if self.retry_after_seconds().is_some() => {
                "the service is busy; the same request may succeed later".to_owned()
            }
            _ => "the service failed to answer the request".to_owned(),
        }
    }

    /// When the same request may succeed.
    fn retry_after_seconds(&self) -> Option<u64> {
        match self {
            // A second outlasts a conflict and a short burst.
            ApiError::StoreBusy { .. } | ApiError::TimedOut(_) | ApiError::TracesNotTaken(_) => {
                Some(1)
            }
            ApiError::QuotaExceeded { retry_after_seconds } => Some(*retry_after_seconds),
            _ => None,
        }
    }

    /// Which kind it is, in a word, for `exception.type`.
    pub fn kind(&self) -> &'static str {
        match self {
            ApiError::MalformedEvent(_) => "MalformedEvent",
            ApiError::MethodNotAllowed { .. } => "MethodNotAllowed",
            ApiError::Unauthenticated => "Unauthenticated",
            ApiError::NotTheAuthor => "NotTheAuthor",
            ApiError::HandleTaken => "HandleTaken",
            ApiError::NotFound(_) => "NotFound",
            ApiError::UnsupportedMediaType(_) => "UnsupportedMediaType",
            ApiError::BodyTooLarge { .. } => "BodyTooLarge",
            ApiError::UrlTooLong { .. } => "UrlTooLong",
            ApiError::MalformedJson(_) => "MalformedJson",
            ApiError::ForeignOrigin(_) => "ForeignOrigin",
            ApiError::MalformedTraces(_) | ApiError::TooManySpans { .. } => "BadTraces",
            ApiError::TracesNotTaken(_) => "TracesNotTaken",
            ApiError::InvalidCursor => "InvalidCursor",
            ApiError::InvalidLimit => "InvalidLimit",
            ApiError::InvalidIdempotencyKey => "InvalidIdempotencyKey",
            ApiError::QuotaExceeded { .. } => "QuotaExceeded",
            ApiError::Invalid(_) => "Invalid",
            ApiError::Store { .. } | ApiError::StoreBusy { .. } | ApiError::AnsweredBefore => {
                "StoreError"
            }
            ApiError::Encode(_) => "EncodeError",
            ApiError::Panicked(_) => "Panic",
            ApiError::TimedOut(_) => "TimedOut",
        }
    }

    /// The calls that led to it, where it is a failure of ours.
    pub fn backtrace(&self) -> Option<&Arc<Backtrace>> {
        match self {
            ApiError::Store { backtrace, .. } | ApiError::StoreBusy { backtrace, .. } => {
                Some(backtrace)
            }
            ApiError::Panicked(panic) => Some(&panic.backtrace),
            _ => None,
        }
    }

    /// The error code of the store's engine, such as `AccessDeniedException`.
    pub fn store_code(&self) -> Option<&str> {
        match self {
            ApiError::Store { code, .. } | ApiError::StoreBusy { code, .. } => code.as_deref(),
            _ => None,
        }
    }

    /// The whole chain, outermost first, for the log and the trace.
    pub fn chain(&self) -> String {
        let sources = std::iter::successors(std::error::Error::source(self), |e| e.source());
        sources.fold(self.to_string(), |chain, source| format!("{chain}: {source}"))
    }
}

impl Missing {
    fn code(self) -> &'static str {
        match self {
            Missing::Activity => "activity_not_found",
            Missing::User => "user_not_found",
            Missing::MessageGroup => "message_group_not_found",
        }
    }
}
