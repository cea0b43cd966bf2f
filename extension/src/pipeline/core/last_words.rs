//! What would die with the sandbox, for the log.

use tracing::warn;

use super::Core;
use crate::{
    last_resort::{LastWords, MAX_LOG_BYTES, Which},
    signal::{Kind, Signal},
    spool::{Spool, SpoolFile},
};

impl Core {
    /// What durable destinations lack, as lines, errors first and then the oldest first. Nothing
    /// changes its state: the sandbox may live on and send what is in the spool.
    pub fn last_words(&mut self) -> LastWords {
        let is_otlp = |file: &&SpoolFile| Kind::OTLP.contains(&file.kind);
        let files = self.spool.iter().flat_map(|spool| spool.unlogged().filter(is_otlp));
        let files: Vec<SpoolFile> = files.cloned().collect();
        let logged_bytes = self.spool.as_ref().map_or(0, Spool::logged_bytes);
        let mut words = LastWords::new(MAX_LOG_BYTES.saturating_sub(logged_bytes));
        for which in [Which::Errors, Which::Others] {
            self.add_held(&mut words, which);
            self.add_spooled(&mut words, which, &files);
        }
        words.end_line();
        let spooled: u64 = files.iter().map(|file| file.items).sum();
        let held: u64 = self.held().map(|(_, signal)| signal.items).sum();
        words.left_out = (held + spooled).saturating_sub(words.items);
        if let Some(spool) = self.spool.as_mut().filter(|_| !words.lines.is_empty())
            && let Err(error) = spool.note_logged(words.bytes())
        {
            warn!("The log may get the same telemetry again: {error}");
        }
        words
    }

    fn add_held(&self, words: &mut LastWords, which: Which) {
        for (destination, signal) in self.held() {
            if words.is_full() {
                return;
            }
            if signal.has_error || which == Which::Others {
                words.add(destination, signal.kind, &signal.bytes, which);
            }
        }
    }

    fn add_spooled(&self, words: &mut LastWords, which: Which, files: &[SpoolFile]) {
        for file in files.iter().filter(|file| file.has_error || which == Which::Others) {
            let owner = self.destinations.iter().find(|it| it.spec.name == file.destination);
            let (Some(spool), Some(owner)) = (&self.spool, owner) else { continue };
            if words.is_full() {
                return;
            }
            // A file that cannot be read is for the next process to count.
            if let Ok(request) = spool.request(file) {
                words.add(owner.spec.name, file.kind, &request, which);
            }
        }
    }

    /// What durable destinations lack and only memory has.
    fn held(&self) -> impl Iterator<Item = (&'static str, &Signal)> {
        let durable = self.destinations.iter().filter(|destination| destination.spec.durable);
        durable.flat_map(|destination| {
            let lacking = destination.routes().flat_map(|route| self.buffer.lacking(route));
            let otlp = lacking.filter(|signal| Kind::OTLP.contains(&signal.kind));
            otlp.map(|signal| (destination.spec.name, signal))
        })
    }
}
