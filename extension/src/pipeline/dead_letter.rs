//! Undelivered telemetry as log lines, written at the end of the sandbox. `cruddur-telemetry replay`
//! sends it from there.
//!
//! ```text
//! cruddur-replay:1:honeycomb:traces:12:5f3a09c1:KLUv_QRY…
//!                │     │       │    │      │       ╰ the request, zstd, base64 for URLs
//!                │     │       │    │      ╰ CRC-32 of all after the version but itself
//!             version  ╰ destination ╰ items
//! ```
//! A line is one word without a character that JSON, a shell or a spreadsheet would change, so `replay`
//! finds it in any export. Each line can be sent without the others. Log lines of the Telemetry API are
//! not written: the log has them already.

use std::io::{self, Read, Write};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;

use crate::delivery::batch::compress;
use crate::otlp::edit::regroup;
use crate::otlp::failure_codec;
use crate::otlp::payload::{Payload, SignalKind, is_error};

/// The prefix of every line; a version and a colon follow.
pub const MARK: &str = "cruddur-replay:";

/// The version that is written, and the only one that is read.
const VERSION: &str = "1";

/// Most bytes of log that a sandbox writes in its life. A cent pays for 80 such sandboxes.
pub const MAX_LOG_BYTES: usize = 256 << 10;

/// The longest line: far below the 256 KiB at which older parts of CloudWatch Logs cut an event, and
/// short enough that a damaged line loses little.
pub const MAX_LINE_BYTES: usize = 64 << 10;

/// Most bytes of a request in a line. Base64 of incompressible bytes still fits [`MAX_LINE_BYTES`].
const MAX_REQUEST_BYTES: usize = 44 << 10;

/// Most bytes of a decompressed line, against lines that were made to fill memory. Our lines hold at
/// most [`MAX_REQUEST_BYTES`], unless a single item is larger.
const MAX_PLAIN_BYTES: u64 = 16 << 20;

#[derive(Debug)]
pub struct DeadLetter {
    pub destination: String,
    pub signal: Payload,
}

/// Why a word with the prefix cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("of another version")]
    OtherVersion,
    #[error("damaged")]
    Damaged,
}

/// Makes lines, up to a limit in bytes.
#[derive(Debug)]
pub struct DeadLetters {
    /// Bytes of all lines, line ends included.
    pub bytes: usize,
    pub items: u64,
    /// Undelivered items that are in no line: without room or time, too large, or unreadable.
    pub left_out: u64,
    max_bytes: usize,
    /// Unwritten lines, without line ends.
    waiting: Vec<String>,
    /// Whether a line did not fit; no other is made then.
    is_full: bool,
    /// The content of the next line, of one destination and kind.
    next: Option<(&'static str, SignalKind, Vec<u8>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemFilter {
    Errors,
    Others,
}

impl DeadLetters {
    pub fn new(max_bytes: usize) -> Self {
        Self {
            bytes: 0,
            items: 0,
            left_out: 0,
            max_bytes,
            waiting: Vec::new(),
            is_full: false,
            next: None,
        }
    }

    /// Adds some of a request's items.
    pub fn add(
        &mut self,
        destination: &'static str,
        kind: SignalKind,
        request: &[u8],
        which: ItemFilter,
    ) {
        let wanted = |item: &[u8]| is_error(kind, item) == (which == ItemFilter::Errors);
        let parts = match kind {
            SignalKind::Failures => {
                let lines = request.split_inclusive(|byte| *byte == b'\n');
                lines.filter(|line| wanted(line)).map(<[u8]>::to_vec).collect()
            }
            _ => regroup(request, MAX_REQUEST_BYTES, wanted),
        };
        for part in parts {
            match &mut self.next {
                // Concatenated requests of one kind are one request.
                Some((name, of, next))
                    if (*name, *of) == (destination, kind)
                        && next.len() + part.len() <= MAX_REQUEST_BYTES =>
                {
                    next.extend_from_slice(&part);
                }
                _ => {
                    self.end_line();
                    self.next = Some((destination, kind, part));
                }
            }
        }
    }

    /// Ends the current line. A line that does not fit is left out.
    pub fn end_line(&mut self) {
        let Some((destination, kind, request)) = self.next.take() else { return };
        let Ok((line, items)) = write(destination, kind, &request) else { return };
        if line.len() > MAX_LINE_BYTES {
            return;
        }
        self.is_full |= self.bytes + line.len() >= self.max_bytes;
        if !self.is_full {
            self.bytes += line.len() + 1;
            self.items += items;
            self.waiting.push(line);
        }
    }

    /// Whether no further line fits.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// Writes the new lines, each with one call. Bypasses the log's level and format.
    pub fn write_to(&mut self, log: &mut dyn Write) -> io::Result<()> {
        let mut lines = self.waiting.drain(..);
        lines.try_for_each(|line| log.write_all(format!("{line}\n").as_bytes()))
    }
}

/// Encodes a request as a line; also returns the number of its items.
fn write(destination: &str, kind: SignalKind, request: &[u8]) -> io::Result<(String, u64)> {
    let items = match kind {
        SignalKind::Failures => failure_codec::read(request).map(|line| line.items).sum(),
        _ => crate::otlp::payload::items(request).count() as u64,
    };
    let head = format!("{destination}:{}:{items}", kind.name());
    let body = URL_SAFE_NO_PAD.encode(compress(std::iter::once(request))?);
    let checksum = checksum(&head, &body);
    Ok((format!("{MARK}{VERSION}:{head}:{checksum:08x}:{body}"), items))
}

/// Reads a word that begins with [`MARK`].
pub fn read(word: &str) -> Result<DeadLetter, Unreadable> {
    let word = word.strip_prefix(MARK).ok_or(Unreadable::Damaged)?;
    let (version, line) = word.split_once(':').ok_or(Unreadable::Damaged)?;
    if version != VERSION {
        return Err(Unreadable::OtherVersion);
    }
    read_line(line).ok_or(Unreadable::Damaged)
}

fn read_line(line: &str) -> Option<DeadLetter> {
    let (rest, body) = line.rsplit_once(':')?;
    let (head, written) = rest.rsplit_once(':')?;
    if u32::from_str_radix(written, 16) != Ok(checksum(head, body)) {
        return None;
    }
    let parts: Vec<&str> = head.split(':').collect();
    let [destination, kind, items] = parts[..] else { return None };
    let kind = SignalKind::ALL.into_iter().find(|known| known.name() == kind)?;
    let zstd = URL_SAFE_NO_PAD.decode(body).ok()?;
    let mut plain = Vec::new();
    let decoder = zstd::Decoder::new(&zstd[..]).ok()?;
    decoder.take(MAX_PLAIN_BYTES).read_to_end(&mut plain).ok()?;
    let signal = match kind {
        SignalKind::Failures => failure_codec::signal(Bytes::from(plain)),
        _ => Payload::read(kind, Bytes::from(plain)).ok()?.0,
    };
    (items.parse() == Ok(signal.items) && signal.items > 0)
        .then(|| DeadLetter { destination: destination.to_owned(), signal })
}

fn checksum(head: &str, body: &str) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(head.as_bytes());
    crc.update(body.as_bytes());
    crc.finalize()
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::{
        collector::trace::v1::ExportTraceServiceRequest,
        trace::v1::{ResourceSpans, ScopeSpans, Span, Status},
    };
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::otlp::{payload::items, wire::nested};

    fn request(spans: Vec<Span>) -> Vec<u8> {
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        ExportTraceServiceRequest { resource_spans }.encode_to_vec()
    }

    fn span(name: &str, code: i32) -> Span {
        let status = Some(Status { code, ..Status::default() });
        Span { name: name.into(), status, ..Span::default() }
    }

    fn names(line: &str) -> Vec<String> {
        let replay = read(line).unwrap();
        let names = items(&replay.signal.bytes).flat_map(|span| nested(span, 5));
        names.map(|name| String::from_utf8(name.to_vec()).unwrap()).collect()
    }

    /// Both passes over some requests.
    fn dead_letters(max_bytes: usize, requests: &[Vec<u8>]) -> DeadLetters {
        let mut words = DeadLetters::new(max_bytes);
        for which in [ItemFilter::Errors, ItemFilter::Others] {
            for request in requests {
                words.add("honeycomb", SignalKind::Traces, request, which);
            }
        }
        words.end_line();
        words
    }

    #[test]
    fn small_requests_share_a_line_in_which_errors_come_first() {
        let requests = [
            request(vec![span("a", 0), span("b", 2)]),
            request(vec![span("c", 0)]),
            request(vec![span("d", 2)]),
        ];

        let words = dead_letters(MAX_LOG_BYTES, &requests);

        assert_eq!((words.waiting.len(), words.items), (1, 4));
        assert_eq!(names(&words.waiting[0]), ["b", "d", "a", "c"]);
        assert_eq!(read(&words.waiting[0]).unwrap().destination, "honeycomb");
    }

    #[test]
    fn large_requests_are_cut_into_lines_and_never_exceed_the_bytes_allowed() {
        // Text that does not compress.
        let noise = |seed: usize| {
            let mut random = fastrand::Rng::with_seed(seed as u64);
            (0..10_000).map(|_| random.alphanumeric()).collect::<String>()
        };
        let spans = (0..60).map(|index| span(&noise(index), if index == 59 { 2 } else { 0 }));
        let requests = [request(spans.collect())];

        let words = dead_letters(MAX_LOG_BYTES, &requests);

        let bytes = words.bytes;
        assert!(bytes <= MAX_LOG_BYTES && bytes > MAX_LOG_BYTES / 2, "{bytes}");
        assert!(words.is_full());
        assert!(words.waiting.iter().all(|line| line.len() <= MAX_LINE_BYTES));
        assert_eq!(names(&words.waiting[0])[0], noise(59), "the error comes first");
        let found: usize = words.waiting.iter().map(|line| names(line).len()).sum();
        assert_eq!(found as u64, words.items);
    }

    #[test]
    fn an_item_that_makes_no_line_is_left_out_alone() {
        let noise: String = std::iter::repeat_with(fastrand::alphanumeric).take(200_000).collect();

        let words = dead_letters(MAX_LOG_BYTES, &[request(vec![span(&noise, 0), span("a", 0)])]);

        assert_eq!((words.items, names(&words.waiting[0])), (1, vec!["a".to_owned()]));
    }

    #[test]
    fn failures_come_first_and_are_read_as_they_were() {
        let mut words = DeadLetters::new(MAX_LOG_BYTES);
        let failures = b"a 1 {\"data\":1}\nb 25 {\"data\":2}\n";
        for which in [ItemFilter::Errors, ItemFilter::Others] {
            words.add("rollbar", SignalKind::Failures, failures, which);
        }
        words.end_line();

        assert_eq!((words.items, words.waiting.len()), (26, 1));
        let replay = read(&words.waiting[0]).unwrap();
        assert_eq!(
            (replay.destination.as_str(), replay.signal.kind),
            ("rollbar", SignalKind::Failures)
        );
        assert_eq!((&replay.signal.bytes[..], replay.signal.items), (&failures[..], 26));
    }

    #[test]
    fn a_line_of_another_version_is_told_from_a_damaged_one() {
        let line = &dead_letters(MAX_LOG_BYTES, &[request(vec![span("a", 0)])]).waiting[0];

        let other = line.replacen(":1:", ":2:", 1);
        let lies = line.replacen(":traces:1:", ":traces:9:", 1);

        assert_eq!(read(&other).unwrap_err(), Unreadable::OtherVersion);
        assert_eq!(read(&lies).unwrap_err(), Unreadable::Damaged);
    }

    proptest! {
        #[test]
        fn a_line_that_was_cut_or_changed_is_never_read(
            cut in 0_usize..80, place in 17_usize..80, letter in "[a-zA-Z0-9_:-]"
        ) {
            let line = &dead_letters(MAX_LOG_BYTES, &[request(vec![span("a", 0)])]).waiting[0];
            prop_assume!(place < line.len() && cut < line.len());
            let mut changed = line.clone();
            changed.replace_range(place..place + 1, &letter);

            prop_assert!(read(&line[..cut]).is_err());
            // Hex digits in the other case are the same number.
            prop_assert!(changed.eq_ignore_ascii_case(line) || read(&changed).is_err());
        }

        #[test]
        fn any_word_can_be_looked_at(word in "cruddur-replay:1:[a-z]{0,3}:traces:[0-9]{0,3}:[0-9a-f]{8}:[A-Za-z0-9_-]{0,90}") {
            let _ = read(&word);
        }
    }
}
