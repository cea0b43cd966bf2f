//! Finds the [lines](crate::pipeline::dead_letter) in whatever a log was exported to.
//!
//! It knows no format: it looks for the mark and takes the word that begins there, so lines are
//! found in plain text, behind the columns of `aws logs tail`, and inside JSON, which may be one
//! single line of a gigabyte. The mark has to be where a line may begin: at the start, behind a
//! blank, a line end or a quotation mark, or directly behind a line that was cut. So a request whose
//! URL holds the mark is no line, although the function logs it.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, BufRead, BufReader, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use memchr::memmem;

use crate::pipeline::dead_letter::{self, DeadLetter, MARK, MAX_LINE_BYTES, Unreadable};

/// The most that is read at once. Our choice.
const CHUNK_BYTES: usize = 256 << 10;

/// Reads to the end of the input, in memory for a few lines.
#[derive(Debug)]
pub(super) struct Scanner<R> {
    input: BufReader<R>,
    /// Begins with a byte of before, by which the mark at its start is judged.
    window: Vec<u8>,
    /// What of the window is done with: at least that byte.
    start: usize,
    /// Hashes of the lines that were found: eight bytes for each, whatever its length.
    found: HashSet<u64>,
    seen: Arc<Seen>,
}

/// What was read so far, for whoever watches.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Bytes of input.
    pub(super) bytes: AtomicU64,
    /// Lines that were cut off or edited.
    pub(super) damaged: AtomicU64,
    /// Lines that another version wrote.
    pub(super) of_other_versions: AtomicU64,
    /// Lines that had been there before.
    pub(super) repeated: AtomicU64,
}

impl<R: Read> Scanner<R> {
    /// Nothing is read yet.
    pub(super) fn new(input: R, seen: Arc<Seen>) -> Self {
        Self {
            input: BufReader::with_capacity(CHUNK_BYTES, input),
            window: vec![b'\n'],
            start: 1,
            found: HashSet::new(),
            seen,
        }
    }

    /// The next line that can be read. `None` at the end of the input.
    pub(super) fn next(&mut self) -> io::Result<Option<DeadLetter>> {
        while self.find_mark()? {
            let length = self.length_of_word()?;
            let word = &self.window[self.start..self.start + length];
            self.start += length;
            let skipped = match judge(word) {
                None => continue,
                Some(Ok(line)) if self.found.insert(hash(word)) => return Ok(Some(line)),
                Some(Ok(_)) => &self.seen.repeated,
                Some(Err(Unreadable::Damaged)) => &self.seen.damaged,
                Some(Err(Unreadable::OtherVersion)) => &self.seen.of_other_versions,
            };
            skipped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(None)
    }

    /// Goes on to the next mark that is where a line may begin. False if there is none.
    fn find_mark(&mut self) -> io::Result<bool> {
        // Behind a line that was cut.
        if self.window[self.start..].starts_with(MARK.as_bytes()) {
            return Ok(true);
        }
        loop {
            if let Some(offset) = memmem::find(&self.window[self.start..], MARK.as_bytes()) {
                self.start += offset;
                let before = self.window[self.start - 1];
                if before.is_ascii_whitespace() || before == b'"' {
                    return Ok(true);
                }
                self.start += MARK.len();
                continue;
            }
            // The mark may have begun.
            self.start = self.start.max(self.window.len().saturating_sub(MARK.len() - 1));
            if !self.read_on()? {
                return Ok(false);
            }
        }
    }

    /// Of the word at the start, which ends where the next begins; if that is too long, some length
    /// above the limit.
    fn length_of_word(&mut self) -> io::Result<usize> {
        loop {
            let seen = &self.window[self.start..];
            let next = memmem::find(&seen[MARK.len()..], MARK.as_bytes());
            let next = next.map(|offset| MARK.len() + offset);
            let until_next = &seen[..next.unwrap_or(seen.len())];
            let end = until_next.iter().position(|byte| !is_of_word(*byte)).or(next);
            let seen = seen.len();
            if end.is_some() || seen > MAX_LINE_BYTES || !self.read_on()? {
                return Ok(end.unwrap_or(seen));
            }
        }
    }

    /// Reads what there is, without waiting for more. False if there is no more.
    fn read_on(&mut self) -> io::Result<bool> {
        let is_first = self.seen.bytes.load(Ordering::Relaxed) == 0;
        let chunk = self.input.fill_buf()?;
        if is_first {
            refuse_other_forms(chunk)?;
        }
        let read = chunk.len();
        self.window.drain(..self.start - 1);
        self.start = 1;
        self.window.extend_from_slice(chunk);
        self.input.consume(read);
        self.seen.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read > 0)
    }
}

/// Logs that hold no line that could be found, by their first two bytes.
fn refuse_other_forms(log: &[u8]) -> io::Result<()> {
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

/// `None` if the mark is only mentioned.
fn judge(word: &[u8]) -> Option<Result<DeadLetter, Unreadable>> {
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

fn is_of_word(byte: u8) -> bool {
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

    /// Gives a few bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(buffer.len());
            self.0.read(&mut buffer[..count])
        }
    }

    /// The items of each line that was found, and how many were damaged, of other versions, repeated.
    fn scan(input: &[u8], at_once: usize) -> (Vec<u64>, [u64; 3]) {
        let seen = Arc::new(Seen::default());
        let mut scanner = Scanner::new(Slow(input, at_once), Arc::clone(&seen));
        let lines = std::iter::from_fn(|| scanner.next().unwrap());
        let items = lines.map(|replay| replay.signal.items).collect();
        let skipped = [&seen.damaged, &seen.of_other_versions, &seen.repeated];
        assert_eq!(seen.bytes.load(Ordering::Relaxed), input.len() as u64);
        (items, skipped.map(|count| count.load(Ordering::Relaxed)))
    }

    #[test]
    fn lines_are_found_in_every_form_that_a_log_is_exported_in() {
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
        ] {
            assert_eq!(scan(input.as_bytes(), 1_000), (vec![1], [0; 3]), "{input}");
        }
    }

    #[test]
    fn what_only_mentions_the_mark_is_no_line() {
        let text = format!("grep {MARK} log | cruddur-telemetry replay; {MARK}v1 {MARK}");

        assert_eq!(scan(text.as_bytes(), 10), (vec![], [0; 3]));
    }

    #[test]
    fn a_line_in_a_url_or_any_other_word_that_a_client_gave_is_none() {
        let line = line();
        for before in ["GET /api/activities/home?x=", "/", "q=a+", "a", ":", "\\"] {
            for at_once in [1, 1_000] {
                let text = format!("{before}{line} 200\n");
                assert_eq!(scan(text.as_bytes(), at_once), (vec![], [0; 3]), "{text}");
            }
        }
    }

    #[test]
    fn the_line_directly_behind_one_that_was_cut_is_found() {
        let line = line();
        let text = format!("{}{line}\n", &line[..line.len() / 2]);

        assert_eq!(scan(text.as_bytes(), 7), (vec![1], [1, 0, 0]));
    }

    #[test]
    fn marks_without_end_take_no_longer_than_any_other_log() {
        let marks = format!("{MARK}1:").repeat(1 << 18);

        assert_eq!(scan(marks.as_bytes(), 1 << 20), (vec![], [1 << 18, 0, 0]));
    }

    #[test]
    fn a_line_that_is_there_again_is_not_found_again() {
        let text = format!("{}\n", line()).repeat(3);

        assert_eq!(scan(text.as_bytes(), 100), (vec![1], [0, 0, 2]));
    }

    #[test]
    fn a_word_without_end_is_one_damaged_line_and_what_follows_is_found() {
        let line = line();
        let endless = format!("{MARK}1:{} {line}", "a".repeat(3 * MAX_LINE_BYTES));

        assert_eq!(scan(endless.as_bytes(), 5_000), (vec![1], [1, 0, 0]));
    }

    #[test]
    fn a_log_in_which_nothing_can_be_found_is_named() {
        for (log, named) in [(&[0x1f, 0x8b, 8][..], "gzip"), (&[0xff, 0xfe, b'a', 0], "UTF-16")] {
            let error = Scanner::new(log, Arc::default()).next().unwrap_err();
            assert!(error.to_string().contains(named), "{error}");
        }
    }

    #[test]
    fn a_line_is_found_before_the_log_goes_on() {
        let text = format!("{}\n", line());
        // Whoever asks for more than there is waits for ever, here: is told so.
        struct Following<'a>(&'a [u8]);
        impl Read for Following<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                match self.0.read(buffer)? {
                    0 => Err(io::Error::other("would wait")),
                    count => Ok(count),
                }
            }
        }

        let found = Scanner::new(Following(text.as_bytes()), Arc::default()).next().unwrap();

        assert_eq!(found.map(|replay| replay.signal.items), Some(1));
    }

    proptest! {
        #[test]
        fn lines_are_found_wherever_the_input_is_cut_into_pieces(
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
