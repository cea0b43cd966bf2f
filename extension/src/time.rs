//! Timestamps.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Unix milliseconds; 0 for a time that the calendar cannot express.
pub fn unix_ms(time: SystemTime) -> i64 {
    jiff::Timestamp::try_from(time).map_or(0, jiff::Timestamp::as_millisecond)
}

/// RFC 3339, UTC, milliseconds.
pub fn timestamp(time: SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).unwrap_or_default();
    format!("{time:.3}")
}

/// Nanoseconds since the epoch as a time; `None` for 0, which OTLP uses for an unknown time.
pub fn time_at(unix_nanos: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_nanos(unix_nanos)).filter(|_| unix_nanos > 0)
}
