//! Refused requests: counted by receiver and reason, and logged at most once a minute for each.
//!
//! The statuses are those of the OTLP receiver. The Telemetry API's listener answers 503
//! to `busy`, 200 to a POST with at least one event, and 400 to the others.
//!
//! | reason | status |
//! |---|---|
//! | `invalid` | 400: the body cannot be read; at the Telemetry API's listener, each stretch that is not an event |
//! | `path`, `method` | 404, 405 |
//! | `late` | 408: the body did not arrive in time |
//! | `too_large` | 413 |
//! | `media_type` | 415: the content type or the compression |
//! | `busy` | 503: too much at once, so clients retry |
//! | `failed` | any other |

use std::{collections::BTreeMap, time::Duration};

use http::StatusCode;
use serde::Serialize;
use tokio::time::Instant;

/// Shortest time between two log lines of the same receiver and reason: a client that fails always
/// must not fill the log.
const INTERVAL: Duration = Duration::from_secs(60);

/// Most characters of a detail in the log. A decoder may quote a whole value.
const MAX_DETAIL_CHARS: usize = 200;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Receiver {
    Otlp,
    Telemetry,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalReason {
    Invalid,
    Path,
    Method,
    Late,
    TooLarge,
    MediaType,
    /// No room now; clients retry.
    Busy,
    Failed,
}

/// Refused requests, or parts of one.
#[derive(Clone, Debug)]
pub struct RefusedRequests {
    pub receiver: Receiver,
    pub reason: RefusalReason,
    pub count: u64,
    /// The problem, for the log.
    pub detail: String,
}

/// How many requests were refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct RefusalCounts(BTreeMap<Receiver, BTreeMap<RefusalReason, u64>>);

/// Counts refusals, and limits the lines about them.
#[derive(Debug, Default)]
pub struct RefusalLog {
    counts: RefusalCounts,
    /// When the last line was due, and the count then.
    logged: BTreeMap<(Receiver, RefusalReason), (Instant, u64)>,
}

impl RefusalReason {
    /// The reason for an answer of this status.
    pub fn of(status: StatusCode) -> Self {
        match status {
            StatusCode::BAD_REQUEST => Self::Invalid,
            StatusCode::NOT_FOUND => Self::Path,
            StatusCode::METHOD_NOT_ALLOWED => Self::Method,
            StatusCode::REQUEST_TIMEOUT => Self::Late,
            StatusCode::PAYLOAD_TOO_LARGE => Self::TooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::MediaType,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Self::Busy,
            _ => Self::Failed,
        }
    }
}

impl RefusalCounts {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Refused requests that no client sends again.
    pub fn lost(&self) -> u64 {
        let reasons = self.0.values().flatten();
        reasons.filter(|(reason, _)| **reason != RefusalReason::Busy).map(|(_, count)| count).sum()
    }

    pub fn total(&self) -> u64 {
        self.0.values().flat_map(BTreeMap::values).sum()
    }
}

impl RefusalLog {
    /// Counts a refusal. Returns the line for the log, unless the last one is less than a minute old.
    pub fn count(&mut self, now: Instant, refusal: &RefusedRequests) -> Option<String> {
        let RefusedRequests { receiver, reason, count, detail } = refusal;
        let total = self.counts.0.entry(*receiver).or_default().entry(*reason).or_default();
        *total += count;
        let logged = self.logged.get(&(*receiver, *reason));
        if logged.is_some_and(|(at, _)| now < *at + INTERVAL) {
            return None;
        }
        let new = *total - logged.map_or(0, |(_, before)| *before);
        self.logged.insert((*receiver, *reason), (now, *total));
        let sender = match receiver {
            Receiver::Otlp => "OTLP receiver",
            Receiver::Telemetry => "Telemetry API listener",
        };
        let reason = serde_json::to_string(reason).unwrap_or_default();
        let reason = reason.trim_matches('"');
        let detail: String = detail.chars().take(MAX_DETAIL_CHARS).collect();
        Some(format!("{sender}: {new} refused as {reason}; the latest: {detail}"))
    }

    pub fn counts(&self) -> &RefusalCounts {
        &self.counts
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(receiver: Receiver, reason: RefusalReason) -> RefusedRequests {
        RefusedRequests { receiver, reason, count: 1, detail: "x".repeat(1_000) }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reason_is_logged_once_a_minute_with_the_number_since_the_last_line() {
        let mut log = RefusalLog::default();
        let mut lines = Vec::new();

        for second in 0..150 {
            if second < 70 || second == 149 {
                lines.extend(
                    log.count(Instant::now(), &refusal(Receiver::Otlp, RefusalReason::Invalid)),
                );
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }

        let heads: Vec<_> = lines.iter().map(|line| line.split("; the").next().unwrap()).collect();
        let expected =
            [1, 60, 10].map(|count| format!("OTLP receiver: {count} refused as invalid"));
        assert_eq!(heads, expected);
        assert!(lines.iter().all(|line| line.len() < 300));
    }

    #[tokio::test(start_paused = true)]
    async fn each_receiver_and_reason_is_logged_and_counted_by_itself() {
        let mut log = RefusalLog::default();
        let refused = [
            (Receiver::Otlp, RefusalReason::TooLarge),
            (Receiver::Otlp, RefusalReason::Busy),
            (Receiver::Telemetry, RefusalReason::TooLarge),
            (Receiver::Otlp, RefusalReason::TooLarge),
        ];

        let is_logged = refused.map(|(receiver, reason)| {
            log.count(Instant::now(), &refusal(receiver, reason)).is_some()
        });

        assert_eq!(is_logged, [true, true, true, false]);
        let counts = log.counts();
        let expected = json!({"otlp": {"too_large": 2, "busy": 1}, "telemetry": {"too_large": 1}});
        assert_eq!(json!(counts), expected);
        assert_eq!((counts.total(), counts.lost()), (4, 3));
    }
}
