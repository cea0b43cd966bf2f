//! Reads the events of one POST of the Telemetry API, also where a record was cut across POSTs.
//!
//! The API cuts a record that is longer than the subscription's `maxBytes`. The first POST then ends inside
//! the record. The next one repeats the event's envelope (`{"time":…,"type":…,"record":`) and continues
//! behind it. Neither of the two is JSON.
//! <https://docs.aws.amazon.com/lambda/latest/dg/telemetry-api.html>
//!
//! | part of a POST | result |
//! |---|---|
//! | a complete event | is kept as it came |
//! | an event cut by the end of the POST | waits for its continuation |
//! | the continuation | is joined with the waiting part |
//! | a part of an event without its counterpart, from its record on | is a `function` event with `"partial": true` |
//! | other bytes | are counted as unreadable, once for each stretch |

mod text;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::receiver::telemetry_split::text::{decode, envelope_length, partial_event, restart};

/// Most bytes that wait for their continuation; more become a partial event. Bounds the memory between
/// two POSTs: four times the longest line that a destination takes.
const MAX_CUT_BYTES: usize = 4 << 20;

/// Most readable POSTs during which a part waits: the API sends a continuation at once.
const MAX_POSTS_BETWEEN: u32 = 8;

/// The events of one POST.
#[derive(Debug, Default, PartialEq)]
pub struct Post<'a> {
    /// JSON of each, in the order of the POST.
    pub events: Vec<Cow<'a, str>>,
    /// Stretches of bytes that belong to no event.
    pub unreadable: usize,
}

/// The part of an event that waits for its continuation.
#[derive(Debug, Default)]
pub struct Splitter {
    cut: Option<Cut>,
}

/// A part of an event, from its beginning.
#[derive(Debug)]
struct Cut {
    /// May end inside a UTF-8 sequence.
    bytes: Vec<u8>,
    posts_since: u32,
}

/// A POST that begins with the whole event instead of its continuation.
#[derive(Debug)]
struct Joined {
    bytes: Vec<u8>,
    /// Whether the event ends in this POST.
    is_complete: bool,
}

/// The first JSON value of a text.
enum First<'a> {
    /// The value, and the text behind it.
    Complete(&'a str, &'a str),
    /// The text ends inside the value.
    Cut,
    Invalid,
}

impl Splitter {
    pub fn read<'a>(&mut self, body: &'a [u8]) -> Post<'a> {
        let mut post = Post::default();
        let joined = self.cut.as_ref().and_then(|cut| cut.joined(body));
        if joined.as_ref().is_none_or(|joined| !joined.is_complete)
            && let Some(events) = whole(body)
        {
            post.events = events;
            self.expire(&mut post);
            return post;
        }
        match joined {
            Some(joined) => {
                self.cut = None;
                self.read_events(&joined.bytes, &mut post);
            }
            None => self.read_events(body, &mut post),
        }
        post
    }

    /// The part whose continuation never came, as a partial event. `None` if no part waits, or it
    /// ends before its record.
    pub fn finish(&mut self) -> Option<String> {
        partial_event(&decode(&self.cut.take()?.bytes).0)
    }

    fn expire(&mut self, post: &mut Post<'_>) {
        if let Some(cut) = &mut self.cut {
            cut.posts_since += 1;
            if cut.posts_since > MAX_POSTS_BETWEEN {
                post.events.extend(self.finish().map(Cow::Owned));
            }
        }
    }

    /// Keeps every event of a POST that is not JSON as a whole.
    fn read_events(&mut self, body: &[u8], post: &mut Post<'_>) {
        let (text, tail) = decode(body);
        let mut rest = text.trim_start();
        match rest.strip_prefix('[') {
            Some(events) => rest = events,
            None if starts_with_event(rest) => {}
            None => rest = self.skip(rest, post),
        }
        loop {
            rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == ',');
            if rest.is_empty() || rest.trim_end() == "]" {
                return;
            }
            match first(rest) {
                First::Complete(event, behind) if event.starts_with('{') => {
                    post.events.push(Cow::Owned(event.to_owned()));
                    rest = behind;
                }
                First::Cut if rest.starts_with('{') => {
                    return self.wait(&[rest.as_bytes(), tail].concat(), post);
                }
                First::Complete(..) | First::Cut | First::Invalid => rest = self.skip(rest, post),
            }
        }
    }

    /// Adds the bytes before the next event as a partial event, or counts them as unreadable. Returns
    /// the rest of the text, from that event on.
    fn skip<'t>(&mut self, text: &'t str, post: &mut Post<'_>) -> &'t str {
        let end = restart(
            text,
            |text| matches!(first(text), First::Complete(event, _) if is_event(event)),
        );
        let (skipped, rest) = text.split_at(end);
        match partial_event(skipped) {
            Some(event) => post.events.push(Cow::Owned(event)),
            None => post.unreadable += 1,
        }
        rest
    }

    fn wait(&mut self, bytes: &[u8], post: &mut Post<'_>) {
        post.events.extend(self.finish().map(Cow::Owned));
        self.cut = Some(Cut { bytes: bytes.to_vec(), posts_since: 0 });
        if bytes.len() > MAX_CUT_BYTES {
            post.events.extend(self.finish().map(Cow::Owned));
        }
    }
}

impl Cut {
    /// The POST with the waiting part in place of the repeated envelope, if it continues that part.
    fn joined(&self, body: &[u8]) -> Option<Joined> {
        let array = body.trim_ascii_start().strip_prefix(b"[")?.trim_ascii_start();
        let Some(length) = envelope_length(&self.bytes) else {
            // Cut inside the envelope: the next POST has the whole event.
            let is_repeated = array.starts_with(&self.bytes);
            return is_repeated.then(|| Joined { bytes: body.to_vec(), is_complete: false });
        };
        let continuation = array.strip_prefix(&self.bytes[..length])?;
        let bytes = [b"[", self.bytes.as_slice(), continuation].concat();
        let is_complete = match first(&decode(&bytes).0[1..]) {
            First::Complete(event, _) if is_event(event) => true,
            First::Cut => false,
            First::Complete(..) | First::Invalid => return None,
        };
        Some(Joined { bytes, is_complete })
    }
}

/// The events of a POST that is JSON.
fn whole(body: &[u8]) -> Option<Vec<Cow<'_, str>>> {
    fn events(text: &str) -> Option<Vec<&RawValue>> {
        serde_json::from_str(text).ok()
    }
    match String::from_utf8_lossy(body) {
        Cow::Borrowed(text) => {
            Some(events(text)?.into_iter().map(|event| Cow::Borrowed(event.get())).collect())
        }
        Cow::Owned(text) => {
            let owned = |event: &RawValue| Cow::Owned(event.get().to_owned());
            Some(events(&text)?.into_iter().map(owned).collect())
        }
    }
}

fn first(text: &str) -> First<'_> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    match values.next() {
        Some(Ok(value)) => First::Complete(value.get(), &text[values.byte_offset()..]),
        Some(Err(error)) if error.is_eof() => First::Cut,
        None => First::Cut,
        // serde_json reports the end of the text inside a number as a wrong number.
        Some(Err(_)) if text.ends_with(['.', 'e', 'E', '+', '-']) => {
            let completed = format!("{text}0");
            let mut values =
                serde_json::Deserializer::from_str(&completed).into_iter::<&RawValue>();
            match values.next() {
                Some(Err(error)) if error.is_eof() => First::Cut,
                _ => First::Invalid,
            }
        }
        Some(Err(_)) => First::Invalid,
    }
}

fn starts_with_event(text: &str) -> bool {
    matches!(first(text), First::Complete(event, _) if is_event(event))
}

/// Whether it is an object with a type and a record.
fn is_event(json: &str) -> bool {
    #[derive(Deserialize)]
    struct Event<'a> {
        #[serde(borrow, rename = "type")]
        _kind: &'a RawValue,
        #[serde(borrow, rename = "record")]
        _record: &'a RawValue,
    }
    serde_json::from_str::<Event<'_>>(json).is_ok()
}

#[cfg(test)]
mod tests;
