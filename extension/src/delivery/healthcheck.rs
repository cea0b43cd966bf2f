//! What a destination's check finds: `cruddur-telemetry doctor` shows it.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, header};
use serde::Serialize;

use crate::delivery::error::ExportError;

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Severity,
    /// What it is, for people. Never shows a key.
    pub text: String,
    /// Whether it is certain that nothing is taken as long as nobody changes something.
    #[serde(skip)]
    pub prevents_sending: bool,
}

/// How bad a finding is. The worst is what should be mended first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Fine,
    /// It may well be meant so.
    Warning,
    /// Nobody answers, or only that it cannot.
    Unreachable,
    /// Somebody has to change something.
    Misconfigured,
}

/// A clock that is this far off makes timestamps useless, and soon signatures invalid. Our choice;
/// the header that it is compared with has whole seconds.
const MAX_SKEW_SECONDS: i64 = 30;

impl Finding {
    /// Something that is as it should be.
    pub fn fine(text: impl Into<String>) -> Self {
        Self { level: Severity::Fine, text: text.into(), prevents_sending: false }
    }

    /// Something to look at.
    pub fn warning(text: impl Into<String>) -> Self {
        Self { level: Severity::Warning, ..Self::fine(text) }
    }

    /// Something that has to be changed.
    pub fn misconfigured(text: impl Into<String>) -> Self {
        Self { level: Severity::Misconfigured, ..Self::fine(text) }
    }

    /// The same, where nothing is taken before that.
    pub fn refused(text: impl Into<String>) -> Self {
        Self { prevents_sending: true, ..Self::misconfigured(text) }
    }

    /// A request that went wrong. `what` was asked.
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
            // Who stands in a destination's place may not know the question.
            ExportError::Status { status, .. } => matches!(status.as_u16(), 401 | 403),
            _ => false,
        };
        Self { level, text: format!("{what}: {error}"), prevents_sending }
    }

    /// What a reply's `Date` says of this machine's clock. `None` without one.
    pub fn clock(headers: &HeaderMap, now: SystemTime) -> Option<Self> {
        let date = httpdate::parse_http_date(headers.get(header::DATE)?.to_str().ok()?).ok()?;
        let seconds = |earlier: SystemTime, later: SystemTime| {
            later.duration_since(earlier).ok().map(|skew: Duration| skew.as_secs() as i64)
        };
        let ahead = seconds(date, now).or(seconds(now, date).map(|behind| -behind))?;
        let told = match ahead {
            -1..=1 => "this machine's clock is right".to_owned(),
            2.. => format!("this machine's clock is {ahead} s ahead"),
            _ => format!("this machine's clock is {} s behind", -ahead),
        };
        let is_wrong = ahead.abs() > MAX_SKEW_SECONDS;
        Some(if is_wrong { Self::misconfigured(told) } else { Self::fine(told) })
    }
}
