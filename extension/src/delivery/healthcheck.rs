//! The findings of a destination's health check, shown by `cruddur-telemetry doctor`.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, header};
use serde::Serialize;

use crate::delivery::error::ExportError;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub level: Severity,
    /// The message for a person. Never shows a key.
    pub text: String,
    /// Whether the destination rejects everything until a setting is changed.
    #[serde(skip)]
    pub prevents_sending: bool,
}

/// The variants are ordered: the worst comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Fine,
    Warning,
    /// No answer, or an answer that the service is unavailable.
    Unreachable,
    /// A setting has to be changed.
    Misconfigured,
}

/// A larger clock error makes timestamps useless and soon invalidates AWS's signatures. The `Date`
/// header it is compared with has whole seconds.
const MAX_SKEW_SECONDS: i64 = 30;

impl Finding {
    pub fn fine(text: impl Into<String>) -> Self {
        Self { level: Severity::Fine, text: text.into(), prevents_sending: false }
    }

    pub fn warning(text: impl Into<String>) -> Self {
        Self { level: Severity::Warning, ..Self::fine(text) }
    }

    pub fn misconfigured(text: impl Into<String>) -> Self {
        Self { level: Severity::Misconfigured, ..Self::fine(text) }
    }

    /// A misconfiguration with which the destination rejects everything.
    pub fn refused(text: impl Into<String>) -> Self {
        Self { prevents_sending: true, ..Self::misconfigured(text) }
    }

    /// A failed request; `what` names it.
    pub fn failed(what: &str, error: &ExportError) -> Self {
        let level = match error {
            ExportError::Unreachable(_) | ExportError::Timeout(_) => Severity::Unreachable,
            ExportError::NoKey { is_unreachable: true, .. } => Severity::Unreachable,
            ExportError::Status { status, .. } if status.is_server_error() => Severity::Unreachable,
            ExportError::Status { status, .. } if status.as_u16() == 429 => Severity::Unreachable,
            _ => Severity::Misconfigured,
        };
        let prevents_sending = match error {
            ExportError::NoKey { .. } => level == Severity::Misconfigured,
            ExportError::Misconfigured(_) => true,
            // A stand-in for the destination may not know the request.
            ExportError::Status { status, .. } => matches!(status.as_u16(), 401 | 403),
            _ => false,
        };
        Self { level, text: format!("{what}: {error}"), prevents_sending }
    }

    /// Compares a reply's `Date` with this machine's clock. `None` without a `Date`.
    pub fn clock(headers: &HeaderMap, now: SystemTime) -> Option<Self> {
        let date = httpdate::parse_http_date(headers.get(header::DATE)?.to_str().ok()?).ok()?;
        let seconds = |earlier: SystemTime, later: SystemTime| {
            later.duration_since(earlier).ok().map(|skew: Duration| skew.as_secs() as i64)
        };
        let ahead = seconds(date, now).or(seconds(now, date).map(|behind| -behind))?;
        let text = match ahead {
            -1..=1 => "this machine's clock is right".to_owned(),
            2.. => format!("this machine's clock is {ahead} s ahead"),
            _ => format!("this machine's clock is {} s behind", -ahead),
        };
        let is_wrong = ahead.abs() > MAX_SKEW_SECONDS;
        Some(if is_wrong { Self::misconfigured(text) } else { Self::fine(text) })
    }
}
