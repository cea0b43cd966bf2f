//! Lines that are too long for a request of PutLogEvents.

use crate::otlp::line_codec::MAX_LINE_BYTES;
use crate::processor::log_lines::json::{JsonFields, JsonObject, cut};
use crate::time::timestamp;

/// The line itself, or a line with its beginning if it is longer than [`MAX_LINE_BYTES`]. Level,
/// service and ids are kept, unless they are long.
pub fn shortened(json: String, time_ms: i64) -> String {
    if json.len() <= MAX_LINE_BYTES {
        return json;
    }
    let time = jiff::Timestamp::from_millisecond(time_ms).unwrap_or_default();
    let mut line = JsonObject::new();
    line.add("timestamp", &timestamp(time.into()));
    let fields = JsonFields::read(&json);
    for key in ["level", "service", "requestId", "trace_id", "span_id"] {
        let value = fields.as_ref().and_then(|fields| fields.get(key));
        if let Some(short) = value.filter(|value| value.len() <= MAX_PLACE_BYTES) {
            line.raw(key, short);
        }
    }
    line.add("cut_from_bytes", &json.len());
    let room = MAX_LINE_BYTES - line.len() - MESSAGE_BYTES;
    line.add("message", &cut(&json, room));
    line.end()
}

/// Longer values are left out of a [shortened] line. Ids have 38 bytes at most.
const MAX_PLACE_BYTES: usize = 128;

/// Most bytes of a message beside its text: its name, quotes, a comma, a brace.
pub(super) const MESSAGE_BYTES: usize = 16;
