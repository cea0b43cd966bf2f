//! POSTs of the Telemetry API as they wait in payloads: a header, then the events as they came.
//!
//! The header is a text line with three numbers: the [number](RawPost::number), and the lengths of the
//! request id and of the events. Posts concatenate into one message.

use std::time::SystemTime;

use serde_json::value::RawValue;

use crate::otlp::payload::{Payload, SignalKind};
use crate::time::time_at;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawPost<'a> {
    /// The arrival in nanoseconds since the epoch. Unique, so a later post has a larger number.
    pub number: u64,
    /// The request id of the invocation that ran when the post arrived; empty without one.
    pub request_id: &'a str,
    /// A JSON array.
    events: &'a str,
}

impl<'a> RawPost<'a> {
    /// When the post arrived.
    pub fn arrived(&self) -> SystemTime {
        time_at(self.number).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// The JSON of each event.
    pub fn events(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let events: Vec<&RawValue> = serde_json::from_str(self.events).unwrap_or_default();
        events.into_iter().map(RawValue::get)
    }
}

/// Encodes a post whose events are JSON objects.
pub fn encode(number: u64, request_id: &str, events: &[&str]) -> Payload {
    let length = events.iter().map(|event| event.len() + 1).sum::<usize>() + 1;
    let header = format!("{number} {} {length}\n", request_id.len());
    let mut bytes = Vec::with_capacity(header.len() + request_id.len() + length);
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(request_id.as_bytes());
    for (index, event) in events.iter().enumerate() {
        bytes.push(if index == 0 { b'[' } else { b',' });
        bytes.extend_from_slice(event.as_bytes());
    }
    bytes.push(b']');
    let kind = SignalKind::Posts;
    let (items, has_error) = (events.len() as u64, may_be_error(&bytes));
    Payload { items, has_error, ..Payload::empty(kind, bytes.into()) }
}

/// Whether an event may report an error. A wrong guess only changes the order of eviction.
fn may_be_error(events: &[u8]) -> bool {
    let has = |word: &[u8]| memchr::memmem::find(events, word).is_some();
    has(b"rror") || has(b"RROR")
}

/// The posts of one or several concatenated payloads. Ends at a malformed header.
pub fn read(mut posts: &[u8]) -> impl Iterator<Item = RawPost<'_>> {
    std::iter::from_fn(move || {
        let (post, rest) = first(posts)?;
        posts = rest;
        Some(post)
    })
}

fn first(posts: &[u8]) -> Option<(RawPost<'_>, &[u8])> {
    let end = memchr::memchr(b'\n', posts)?;
    let mut numbers = str::from_utf8(&posts[..end]).ok()?.split(' ');
    let number = numbers.next()?.parse().ok()?;
    let lengths = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    let (request_id, rest) = posts[end + 1..].split_at_checked(lengths.0)?;
    let (events, rest) = rest.split_at_checked(lengths.1)?;
    let request_id = str::from_utf8(request_id).ok()?;
    Some((RawPost { number, request_id, events: str::from_utf8(events).ok()? }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concatenated_posts_are_read_in_order_with_their_events_as_they_came() {
        let (spaced, nested) = ("{ \"a\":\n1 }", "{\"b\":[1,{}]}");
        let posts = [encode(7, "r 1", &[spaced, nested]), encode(8, "", &[nested])];

        let bytes = [&posts[0].bytes[..], &posts[1].bytes].concat();
        let read: Vec<_> = read(&bytes).map(|it| (it.number, it.request_id, it)).collect();

        assert_eq!(
            posts.map(|post| (post.kind, post.items)),
            [2, 1].map(|n| (SignalKind::Posts, n))
        );
        assert_eq!((read[0].0, read[0].1, read[1].0, read[1].1), (7, "r 1", 8, ""));
        assert_eq!(read[0].2.events().collect::<Vec<_>>(), [spaced, nested]);
        assert_eq!(read[1].2.events().collect::<Vec<_>>(), [nested]);
    }

    #[test]
    fn bytes_that_end_early_are_no_post() {
        let post = encode(7, "r", &["{}"]);

        assert!((0..post.bytes.len()).all(|length| read(&post.bytes[..length]).next().is_none()));
    }
}
