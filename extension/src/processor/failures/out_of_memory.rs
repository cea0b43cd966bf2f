//! The signs that memory ran out: the platform's error type, a full memory with a failed status (which
//! becomes that error type), and the texts of runtimes.

use serde_json::Value;

use crate::lambda::telemetry_event::OUT_OF_MEMORY;
use crate::processor::failures::evidence::Evidence;

/// Of Java, .NET and Node.
const TEXTS: [&str; 3] =
    ["OutOfMemoryError", "OutOfMemoryException", "JavaScript heap out of memory"];

/// Whether memory ran out, by the evidence of the invocation or, if its process ended, by its lines.
pub(super) fn has_sign(evidence: &Evidence, lines: &[Value]) -> bool {
    let is_one = |text: &str| TEXTS.iter().any(|sign| text.contains(sign));
    let end = evidence.end.as_ref();
    let mut failures = evidence.failures.iter();
    let mut lines = lines.iter().filter(|_| end.is_some());
    end.is_some_and(|end| end.error_type == OUT_OF_MEMORY)
        || failures.any(|failure| is_one(&failure.class) || is_one(&failure.message))
        || lines.any(|line| line["body"]["message"].as_str().is_some_and(is_one))
}
