//! Reads the answer to an export, `Export…ServiceResponse`, for items that the destination rejected.

use serde_json::{Map, Value as Json};

use crate::otlp::wire::{self, Malformed, Value};

/// The rejected part of an export that succeeded.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RejectedItems {
    pub count: u64,
    /// Empty if the destination gave none.
    pub reason: String,
}

/// `None` if the destination took everything without a remark. Fails if the reply is not OTLP.
///
/// A server may answer in JSON, although a request in protobuf asks for protobuf.
pub fn read(reply: &[u8]) -> Result<Option<RejectedItems>, Malformed> {
    if let Ok(Json::Object(response)) = serde_json::from_slice(reply) {
        return Ok(in_json(&response));
    }
    let mut found = None;
    for field in wire::fields(reply) {
        let (1, Value::Bytes(message)) = field? else { continue };
        let mut partial = RejectedItems::default();
        for field in wire::fields(message) {
            match field? {
                // A negative number counts as 0.
                (1, Value::Varint(number)) => {
                    partial.count = i64::try_from(number).unwrap_or(0) as u64;
                }
                (2, Value::Bytes(text)) => {
                    partial.reason = String::from_utf8_lossy(text).into_owned();
                }
                _ => {}
            }
        }
        found = Some(partial);
    }
    Ok(found)
}

fn in_json(response: &Map<String, Json>) -> Option<RejectedItems> {
    let partial = response.get("partialSuccess")?.as_object()?;
    let rejected = partial.iter().find(|(name, _)| name.starts_with("rejected"));
    let rejected = rejected.and_then(|(_, number)| match number {
        Json::String(text) => text.parse().ok(), // ProtoJSON writes 64 bits as text
        number => number.as_u64(),
    });
    let reason = partial.get("errorMessage").and_then(Json::as_str).unwrap_or_default();
    Some(RejectedItems { count: rejected.unwrap_or(0), reason: reason.to_owned() })
}
