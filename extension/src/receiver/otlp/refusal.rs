//! The reason for a refused request.

use std::borrow::Cow;

use http::StatusCode;

use crate::pipeline::refusals;
use crate::receiver::body::BodyError;

#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) reason: Cow<'static, str>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { status, reason: reason.into() }
    }

    /// For the sums and the log.
    pub(super) fn counted(&self) -> refusals::RefusedRequests {
        refusals::RefusedRequests {
            receiver: refusals::Receiver::Otlp,
            reason: refusals::RefusalReason::of(self.status),
            count: 1,
            detail: self.reason.to_string(),
        }
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        Self::new(error.status(), error.to_string())
    }
}
