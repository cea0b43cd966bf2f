//! Finds [dead letters](crate::pipeline::dead_letter) in a log of any format.
//!
//! The scanner searches each line for the mark and reads the word that begins there. So it finds dead
//! letters in plain text, behind the columns of `aws logs tail`, and inside JSON. A mark counts only at
//! the start, behind white space, a quotation mark or an escaped line end, or directly behind a
//! truncated dead letter. So a logged URL that contains the mark is ignored.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, BufRead, Read},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use memchr::memmem;

use crate::pipeline::dead_letter::{self, DeadLetter, MARK, MAX_LINE_BYTES, Unreadable};

/// Most bytes that are read of a line at once, since a JSON export may be one line of a gigabyte.
const CHUNK_BYTES: usize = 256 << 10;

/// Bytes before a mark that decide whether it counts.
const CONTEXT_BYTES: usize = 2;

/// Needs memory for a few dead letters, whatever the size of the log.
#[derive(Debug)]
pub(super) struct Scanner<R> {
    input: R,
    /// A line, or a part of a long one.
    line: Vec<u8>,
    /// Whether the line continues in the input.
    is_cut: bool,
    /// Offset of the first unread byte in `line`.
    start: usize,
    /// Whether a dead letter, perhaps a truncated one, ends at `start`.
    follows_word: bool,
    /// Hashes of the dead letters found so far, eight bytes each.
    found: HashSet<u64>,
    counts: Arc<ScanCounts>,
}

/// Counts that the progress and the report show.
#[derive(Debug, Default)]
pub(super) struct ScanCounts {
    pub(super) bytes: AtomicU64,
    /// Truncated or edited dead letters.
    pub(super) damaged: AtomicU64,
    pub(super) of_other_versions: AtomicU64,
    pub(super) repeated: AtomicU64,
}

impl<R: BufRead> Scanner<R> {
    pub(super) fn new(input: R, counts: Arc<ScanCounts>) -> Self {
        let (line, found) = (Vec::new(), HashSet::new());
        Self { input, line, is_cut: false, start: 0, follows_word: false, found, counts }
    }

    /// The next readable dead letter. `None` at the end of the input.
    pub(super) fn next(&mut self) -> io::Result<Option<DeadLetter>> {
        loop {
            let Some(range) = self.find_word() else {
                // A cut line may end with the beginning of a mark.
                let keep = if self.is_cut { MARK.len() - 1 } else { 0 };
                if !self.read_from(self.line.len().saturating_sub(keep).max(self.start))? {
                    return Ok(None);
                }
                continue;
            };
            let may_continue = range.end == self.line.len() && range.len() <= MAX_LINE_BYTES;
            if self.is_cut && may_continue {
                self.read_from(range.start)?;
                continue;
            }
            (self.start, self.follows_word) = (range.end, true);
            let word = &self.line[range];
            let skipped = match parse(word) {
                None => continue,
                Some(Ok(letter)) if self.found.insert(hash(word)) => return Ok(Some(letter)),
                Some(Ok(_)) => &self.counts.repeated,
                Some(Err(Unreadable::Damaged)) => &self.counts.damaged,
                Some(Err(Unreadable::OtherVersion)) => &self.counts.of_other_versions,
            };
            skipped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Drops what stands before `from`, and reads on: the rest of a cut line, else the next line. False at
    /// the end of the input.
    fn read_from(&mut self, from: usize) -> io::Result<bool> {
        let kept_from = from.saturating_sub(CONTEXT_BYTES);
        self.follows_word &= from == self.start && self.is_cut;
        self.line.drain(..if self.is_cut { kept_from } else { self.line.len() });
        self.start = if self.is_cut { from - kept_from } else { 0 };
        let mut chunk = (&mut self.input).take(CHUNK_BYTES as u64);
        let read = chunk.read_until(b'\n', &mut self.line)?;
        let was_cut = std::mem::replace(&mut self.is_cut, read == CHUNK_BYTES);
        self.is_cut &= !self.line.ends_with(b"\n");
        if self.counts.bytes.fetch_add(read as u64, Ordering::Relaxed) == 0 {
            reject_encoded(&self.line)?;
        }
        Ok(read > 0 || was_cut)
    }

    /// The next word with a mark that counts. It ends before the next mark.
    fn find_word(&self) -> Option<Range<usize>> {
        let (line, start) = (&self.line, self.start);
        let marks = memmem::find_iter(&line[start..], MARK).map(|offset| start + offset);
        let mut marks = marks.peekable();
        while let Some(mark) = marks.next() {
            if (self.follows_word && mark == start) || ends_word(&line[..mark]) {
                let end = marks.peek().copied().unwrap_or(line.len());
                let length = line[mark..end].iter().position(|byte| !is_word_byte(*byte));
                return Some(mark..length.map_or(end, |length| mark + length));
            }
        }
        None
    }
}

/// Whether a mark counts behind `before`.
fn ends_word(before: &[u8]) -> bool {
    match before {
        [.., b'\\', b'n' | b'r' | b't'] => true,
        [.., last] => last.is_ascii_whitespace() || *last == b'"',
        [] => true,
    }
}

/// Rejects gzip and UTF-16, in which no mark can be found, by their first two bytes.
fn reject_encoded(log: &[u8]) -> io::Result<()> {
    let advice = match log {
        [0x1f, 0x8b, ..] => {
            "the log is compressed by gzip: gunzip -c LOG | cruddur-telemetry replay"
        }
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
            "the log is UTF-16: iconv -f UTF-16 -t UTF-8 LOG | cruddur-telemetry replay"
        }
        _ => return Ok(()),
    };
    Err(io::Error::new(io::ErrorKind::InvalidData, advice))
}

/// `None` if a text only mentions the mark.
fn parse(word: &[u8]) -> Option<Result<DeadLetter, Unreadable>> {
    if !word.get(MARK.len()).is_some_and(u8::is_ascii_digit) {
        return None;
    }
    if word.len() > MAX_LINE_BYTES {
        return Some(Err(Unreadable::Damaged));
    }
    let text = std::str::from_utf8(word).map_err(|_| Unreadable::Damaged);
    Some(text.and_then(dead_letter::read))
}

fn hash(word: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    word.hash(&mut hasher);
    hasher.finish()
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b':')
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::{
        collector::trace::v1::ExportTraceServiceRequest,
        trace::v1::{ResourceSpans, ScopeSpans, Span},
    };
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::{
        otlp::payload::SignalKind,
        pipeline::dead_letter::{DeadLetters, ItemFilter},
    };

    fn line() -> String {
        let spans = vec![Span { name: "a".into(), ..Span::default() }];
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        let request = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        let mut words = DeadLetters::new(1_000);
        words.add("honeycomb", SignalKind::Traces, &request, ItemFilter::Others);
        words.end_line();
        let mut log = Vec::new();
        words.write_to(&mut log).unwrap();
        String::from_utf8(log).unwrap().trim_end().to_owned()
    }

    use std::io::BufReader;

    /// Returns a few bytes per read.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(buffer.len());
            self.0.read(&mut buffer[..count])
        }
    }

    /// Returns the items of each dead letter, and the counts of damaged, other-version and repeated ones.
    fn scan(input: &[u8], at_once: usize) -> (Vec<u64>, [u64; 3]) {
        let counts = Arc::new(ScanCounts::default());
        let mut scanner = Scanner::new(BufReader::new(Slow(input, at_once)), Arc::clone(&counts));
        let lines = std::iter::from_fn(|| scanner.next().unwrap());
        let items = lines.map(|letter| letter.signal.items).collect();
        let skipped = [&counts.damaged, &counts.of_other_versions, &counts.repeated];
        assert_eq!(counts.bytes.load(Ordering::Relaxed), input.len() as u64);
        (items, skipped.map(|count| count.load(Ordering::Relaxed)))
    }

    #[test]
    fn dead_letters_are_found_in_every_exported_form_of_a_log() {
        let line = line();
        for input in [
            format!("{line}\n"),
            line.clone(),
            format!("cut off behind the line {line}"),
            format!("START RequestId: 1\r\n{line}\r\nEND"),
            format!("2026-11-21T10:00:00 2026/11/21/[$LATEST]abc {line}\n"),
            format!("EVENTS\t1763\t1763\t{line}\n\tstream\n"),
            format!(
                r#"{{"timestamp":"2026-11-21T10:00:00Z","level":"WARN","message":"{line}\n"}}"#
            ),
            serde_json::json!({"events": [{"message": format!("{line}\n")}]}).to_string(),
            format!("\"2026\",\"{line}\"\n"),
            format!(r#"{{"log":"START\n{line}\nEND"}}"#),
        ] {
            assert_eq!(scan(input.as_bytes(), 1_000), (vec![1], [0; 3]), "{input}");
        }
    }

    #[test]
    fn a_text_that_only_mentions_the_mark_is_ignored() {
        let text = format!("grep {MARK} log | cruddur-telemetry replay; {MARK}v1 {MARK}");

        assert_eq!(scan(text.as_bytes(), 10), (vec![], [0; 3]));
    }

    #[test]
    fn a_dead_letter_inside_a_url_or_another_word_of_a_client_is_ignored() {
        let line = line();
        for before in ["GET /api/activities/home?x=", "/", "q=a+", "a", ":", "\\"] {
            for at_once in [1, 1_000] {
                let text = format!("{before}{line} 200\n");
                assert_eq!(scan(text.as_bytes(), at_once), (vec![], [0; 3]), "{text}");
            }
        }
    }

    #[test]
    fn a_dead_letter_directly_behind_a_truncated_one_is_found() {
        let line = line();
        let text = format!("{}{line}\n", &line[..line.len() / 2]);

        assert_eq!(scan(text.as_bytes(), 7), (vec![1], [1, 0, 0]));
    }

    #[test]
    fn a_log_of_marks_alone_takes_no_longer_than_any_other_log() {
        let marks = format!("{MARK}1:").repeat(1 << 18);

        assert_eq!(scan(marks.as_bytes(), 1 << 20), (vec![], [1 << 18, 0, 0]));
    }

    #[test]
    fn a_repeated_dead_letter_is_found_once() {
        let text = format!("{}\n", line()).repeat(3);

        assert_eq!(scan(text.as_bytes(), 100), (vec![1], [0, 0, 2]));
    }

    #[test]
    fn an_overlong_word_is_one_damaged_dead_letter_and_the_next_is_found() {
        let line = line();
        let endless = format!("{MARK}1:{} {line}", "a".repeat(3 * MAX_LINE_BYTES));

        assert_eq!(scan(endless.as_bytes(), 5_000), (vec![1], [1, 0, 0]));
    }

    #[test]
    fn a_compressed_or_utf_16_log_is_rejected_with_advice() {
        for (log, named) in [(&[0x1f, 0x8b, 8][..], "gzip"), (&[0xff, 0xfe, b'a', 0], "UTF-16")] {
            let error = Scanner::new(log, Arc::default()).next().unwrap_err();
            assert!(error.to_string().contains(named), "{error}");
        }
    }

    #[test]
    fn a_dead_letter_is_found_before_the_log_continues() {
        let text = format!("{}\n", line());
        // A read beyond the available bytes would block; here it fails.
        struct Following<'a>(&'a [u8]);
        impl Read for Following<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                match self.0.read(buffer)? {
                    0 => Err(io::Error::other("would wait")),
                    count => Ok(count),
                }
            }
        }

        let found = Scanner::new(BufReader::new(Following(text.as_bytes())), Arc::default())
            .next()
            .unwrap();

        assert_eq!(found.map(|letter| letter.signal.items), Some(1));
    }

    proptest! {
        #[test]
        fn dead_letters_are_found_wherever_the_input_is_cut(
            at_once in 1_usize..200,
            between in proptest::collection::vec("[ -~]{0,40}", 1..5),
        ) {
            let line = line();
            let text: String = between.iter().map(|text| format!("{text} {line}\n")).collect();

            let repeated = between.len() as u64 - 1;
            prop_assert_eq!(scan(text.as_bytes(), at_once), (vec![1], [0, 0, repeated]));
        }
    }
}
