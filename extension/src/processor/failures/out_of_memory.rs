//! The signs that memory ran out: the platform's error type, a full memory with a failed status (which
//! becomes that error type), and the texts of runtimes.

use crate::lambda::telemetry_event::OUT_OF_MEMORY;
use crate::processor::failures::evidence::Evidence;
use crate::processor::failures::item::TelemetryEntry;

/// Of Java, .NET and Node.
const TEXTS: [&str; 3] =
    ["OutOfMemoryError", "OutOfMemoryException", "JavaScript heap out of memory"];

/// Whether memory ran out, by the evidence of the invocation or, if its process ended, by its lines.
pub(super) fn has_sign(gathered: &Evidence, lines: &[TelemetryEntry]) -> bool {
    let is_one = |text: &str| TEXTS.iter().any(|sign| text.contains(sign));
    let ended = gathered.ended.as_ref();
    let mut failures = gathered.failures.iter();
    let mut lines = lines.iter().filter(|_| ended.is_some());
    ended.is_some_and(|ended| ended.error_type == OUT_OF_MEMORY)
        || failures.any(|failure| is_one(&failure.class) || is_one(&failure.message))
        || lines.any(|line| line.body["message"].as_str().is_some_and(is_one))
}
