//! Writes dead letters: telemetry that would be lost with the sandbox.

use std::io::{self, Write};

use bytes::Bytes;
use tracing::warn;

use crate::otlp::payload::{Payload, SignalKind};
use crate::pipeline::core::state::Core;
use crate::pipeline::dead_letter::{DeadLetters, ItemFilter, MAX_LOG_BYTES};
use crate::pipeline::spool::{Spool, SpoolFile};

impl Core {
    /// Writes the undelivered payloads of durable destinations except lines, errors first, while there
    /// is time and room. Payloads in memory come before the spool, and the oldest of each first. No item
    /// changes its state: the sandbox may live on and send the spool.
    pub fn dead_letters(
        &mut self,
        log: &mut dyn Write,
        has_time: &dyn Fn() -> bool,
    ) -> io::Result<DeadLetters> {
        let is_kept = |file: &&SpoolFile| file.kind != SignalKind::Lines;
        let files = self.spool.iter().flat_map(|spool| spool.unlogged().filter(is_kept));
        let files: Vec<SpoolFile> = files.cloned().collect();
        let logged_bytes = self.spool.as_ref().map_or(0, Spool::logged_bytes);
        let mut letters = DeadLetters::new(MAX_LOG_BYTES.saturating_sub(logged_bytes));
        for which in [ItemFilter::Errors, ItemFilter::Others] {
            let requests = self.held_with(which).chain(self.spooled_with(which, &files));
            for (destination, kind, request) in requests {
                letters.add(destination, kind, &request, which);
                letters.write_to(log)?;
                if letters.is_full() || !has_time() {
                    break;
                }
            }
        }
        letters.end_line();
        letters.write_to(log)?;
        let spooled: u64 = files.iter().map(|file| file.items).sum();
        let held: u64 = self.held().map(|(_, signal)| signal.items).sum();
        letters.left_out = (held + spooled).saturating_sub(letters.items);
        if let Some(spool) = self.spool.as_mut().filter(|_| letters.bytes > 0)
            && let Err(error) = spool.note_logged(letters.bytes)
        {
            warn!("The log may get the same telemetry again: {error}");
        }
        Ok(letters)
    }

    fn held_with(
        &self,
        which: ItemFilter,
    ) -> impl Iterator<Item = (&'static str, SignalKind, Bytes)> {
        let held =
            self.held().filter(move |(_, signal)| signal.has_error || which == ItemFilter::Others);
        held.map(|(destination, signal)| (destination, signal.kind, signal.bytes.clone()))
    }

    /// Skips an unreadable file; the next process counts it.
    fn spooled_with(
        &self,
        which: ItemFilter,
        files: &[SpoolFile],
    ) -> impl Iterator<Item = (&'static str, SignalKind, Bytes)> {
        let wanted = files.iter().filter(move |file| file.has_error || which == ItemFilter::Others);
        wanted.filter_map(|file| {
            let owner = self.destinations.iter().find(|it| it.spec.name == file.destination)?;
            let request = self.spool.as_ref()?.request(file).ok()?;
            Some((owner.spec.name, file.kind, request.into()))
        })
    }

    /// The payloads of durable destinations that are only in memory, without lines.
    fn held(&self) -> impl Iterator<Item = (&'static str, &Payload)> {
        let durable = self.destinations.iter().filter(|destination| destination.spec.durable);
        durable.flat_map(|destination| {
            let lacking = destination.routes().flat_map(|route| self.buffer.lacking(route));
            let kept = lacking.filter(|signal| signal.kind != SignalKind::Lines);
            kept.map(|signal| (destination.spec.name, signal))
        })
    }
}
