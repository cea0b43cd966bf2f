//! The reason for a refused request.

use std::{borrow::Cow, fmt};

use http::StatusCode;

use crate::otlp::payload::SignalKind;
use crate::pipeline::refusals;
use crate::receiver::body::BodyError;

#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) reason: Cow<'static, str>,
}

/// Items that are left out of an accepted request.
#[derive(Debug)]
pub(super) struct MalformedItems {
    pub(super) kind: SignalKind,
    pub(super) count: u64,
    pub(super) reason: String,
}

impl MalformedItems {
    /// For the sums and the log.
    pub(super) fn counted(&self) -> refusals::RefusedRequests {
        refusals::RefusedRequests {
            receiver: refusals::Receiver::Otlp,
            reason: refusals::RefusalReason::Invalid,
            count: self.count,
            detail: self.to_string(),
        }
    }
}

impl fmt::Display for MalformedItems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, count, reason } = self;
        let items = match kind {
            SignalKind::Metrics => "metrics or data points",
            kind => kind.items(),
        };
        write!(f, "{count} {items} of a request are left out: {reason}")
    }
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
