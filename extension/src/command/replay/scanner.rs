//! Finds the [lines](crate::last_resort) in whatever a log was exported to.
//!
//! It knows no format: it looks for the mark and takes the word that begins there, so lines are
//! found in plain text, behind the columns of `aws logs tail`, and inside JSON, which may be one
//! single line of a gigabyte.

use std::io::{self, Read};

use memchr::memmem;

use crate::last_resort::{self, MARK, MAX_LINE_BYTES, Replay, Unreadable};

/// What is read at once. Our choice.
const CHUNK_BYTES: usize = 256 << 10;

/// Reads to the end of the input, in memory for a few lines.
#[derive(Debug)]
pub(super) struct Scanner<R> {
    input: R,
    window: Vec<u8>,
    /// What of the window is done with.
    start: usize,
    read_bytes: u64,
}

impl<R: Read> Scanner<R> {
    /// Nothing is read yet.
    pub(super) fn new(input: R) -> Self {
        Self { input, window: Vec::new(), start: 0, read_bytes: 0 }
    }

    /// Bytes of input so far.
    pub(super) fn read_bytes(&self) -> u64 {
        self.read_bytes
    }

    /// The next line, or why it is none. `None` at the end of the input.
    pub(super) fn next(&mut self) -> io::Result<Option<Result<Replay, Unreadable>>> {
        while self.find_mark()? {
            let length = self.length_of_word()?;
            let word = &self.window[self.start..self.start + length];
            let found = judge(word, length > MAX_LINE_BYTES);
            self.start += length;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Goes on to the next mark. False if there is none.
    fn find_mark(&mut self) -> io::Result<bool> {
        loop {
            if let Some(offset) = memmem::find(&self.window[self.start..], MARK.as_bytes()) {
                self.start += offset;
                return Ok(true);
            }
            // The mark may have begun.
            self.start = self.start.max(self.window.len().saturating_sub(MARK.len() - 1));
            if !self.read_on()? {
                return Ok(false);
            }
        }
    }

    /// Of the word at the start; if that is too long, some length above the limit.
    fn length_of_word(&mut self) -> io::Result<usize> {
        loop {
            let seen = &self.window[self.start..];
            let (length, seen) = (seen.iter().position(|byte| !is_of_word(*byte)), seen.len());
            if length.is_some() || seen > MAX_LINE_BYTES || !self.read_on()? {
                return Ok(length.unwrap_or(seen));
            }
        }
    }

    /// False if there is no more.
    fn read_on(&mut self) -> io::Result<bool> {
        self.window.drain(..std::mem::take(&mut self.start));
        let read = (&mut self.input).take(CHUNK_BYTES as u64).read_to_end(&mut self.window)?;
        self.read_bytes += read as u64;
        Ok(read > 0)
    }
}

/// `None` if the mark is only mentioned.
fn judge(word: &[u8], is_too_long: bool) -> Option<Result<Replay, Unreadable>> {
    if !word.get(MARK.len()).is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let text = std::str::from_utf8(word).map_err(|_| Unreadable::Damaged);
    Some(match is_too_long {
        true => Err(Unreadable::Damaged),
        false => text.and_then(last_resort::read),
    })
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
        last_resort::{LastWords, Which},
        signal::Kind,
    };

    fn line() -> String {
        let spans = vec![Span { name: "a".into(), ..Span::default() }];
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        let request = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        let mut words = LastWords::new(1_000);
        words.add("honeycomb", Kind::Traces, &request, Which::Others);
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

    fn scan(input: &[u8], at_once: usize) -> Vec<Result<u64, Unreadable>> {
        let mut scanner = Scanner::new(Slow(input, at_once));
        std::iter::from_fn(|| scanner.next().unwrap())
            .map(|found| found.map(|replay| replay.signal.items))
            .collect()
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
            assert_eq!(scan(input.as_bytes(), 1_000), [Ok(1)], "{input}");
        }
    }

    #[test]
    fn what_only_mentions_the_mark_is_no_line() {
        let text = format!("grep {MARK} log | cruddur-telemetry replay; {MARK}v1 {MARK}");

        assert_eq!(scan(text.as_bytes(), 10), []);
    }

    #[test]
    fn a_word_without_end_is_one_damaged_line_and_what_follows_is_found() {
        let line = line();
        let endless = format!("{MARK}1:{} {line}", "a".repeat(3 * MAX_LINE_BYTES));

        assert_eq!(scan(endless.as_bytes(), 5_000), [Err(Unreadable::Damaged), Ok(1)]);
    }

    proptest! {
        #[test]
        fn lines_are_found_wherever_the_input_is_cut_into_pieces(
            at_once in 1_usize..200,
            between in proptest::collection::vec("[ -~]{0,40}", 0..5),
        ) {
            let line = line();
            let text: String = between.iter().map(|text| format!("{text} {line}\n")).collect();

            prop_assert_eq!(scan(text.as_bytes(), at_once), vec![Ok(1); between.len()]);
        }
    }
}
