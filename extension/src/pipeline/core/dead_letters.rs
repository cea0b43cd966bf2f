//! Writes dead letters: telemetry that would be lost with the sandbox.

use std::io::{self, Write};

use bytes::Bytes;

use crate::otlp::payload::SignalKind;
use crate::pipeline::buffer::Entry;
use crate::pipeline::core::state::Core;
use crate::pipeline::dead_letter::{DeadLetters, ItemFilter, MAX_LOG_BYTES};

/// Whether the log has the items anyway.
fn is_in_log(kind: SignalKind) -> bool {
    matches!(kind, SignalKind::Lines | SignalKind::Posts)
}

impl Core {
    /// Writes the undelivered payloads of durable destinations except lines, errors first, while there
    /// is time and room. No item changes its state: the sandbox may live on and send the
    /// spool.
    pub fn dead_letters(
        &mut self,
        log: &mut dyn Write,
        has_time: &dyn Fn() -> bool,
    ) -> io::Result<DeadLetters> {
        let logged = usize::try_from(self.logged.bytes).unwrap_or(usize::MAX);
        let mut letters = DeadLetters::new(MAX_LOG_BYTES.saturating_sub(logged));
        for which in [ItemFilter::Errors, ItemFilter::Others] {
            let wanted = |entry: &&Entry| entry.header.has_error || which == ItemFilter::Others;
            for (destination, entry) in self.unlogged().filter(|(_, entry)| wanted(entry)) {
                let kind = entry.header.kind;
                let Ok(request) = self.plain_body(entry) else { continue };
                letters.add(destination, kind, &request, which);
                letters.write_to(log)?;
                if letters.is_full() || !has_time() {
                    break;
                }
            }
        }
        letters.end_line();
        letters.write_to(log)?;
        let all: u64 = self.unlogged().map(|(_, entry)| entry.header.items).sum();
        letters.left_out = all.saturating_sub(letters.items);
        if letters.bytes > 0 {
            self.logged.bytes += letters.bytes as u64;
            self.logged.to = self.buffer.end();
        }
        Ok(letters)
    }

    /// The payloads that durable destinations lack and no dead letter has, oldest first, without lines.
    fn unlogged(&self) -> impl Iterator<Item = (&'static str, &Entry)> {
        let durable = self.destinations.iter().enumerate().filter(|(_, it)| it.spec.durable);
        durable.flat_map(move |(id, destination)| {
            let kinds = destination.queues().filter(|(_, kind)| !is_in_log(*kind));
            let lacking = kinds.flat_map(move |(_, kind)| self.buffer.lacking(id, kind));
            let unlogged = lacking.filter(move |entry| entry.header.sequence >= self.logged.to);
            unlogged.map(|entry| (destination.spec.name, entry))
        })
    }

    /// The request of a payload; the next process counts an unreadable one.
    fn plain_body(&self, entry: &Entry) -> io::Result<Bytes> {
        let body = self.body_of(entry).map_err(io::Error::other)?;
        if entry.header.is_zstd { zstd::decode_all(&body[..]).map(Bytes::from) } else { Ok(body) }
    }
}
