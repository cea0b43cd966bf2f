//! What `replay` says: progress on a terminal, and the sums at the end.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, IsTerminal, Write as _},
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use crate::{
    command::replay::{
        LOOK,
        destinations::{Destinations, ReplayEnd, ReplayOutcome},
        scanner::Seen,
    },
    otlp::payload::SignalKind,
    pipeline::{
        dead_letter::DeadLetter,
        ledger::{Reason, State},
    },
};

/// What was found in the log.
#[derive(Debug, Default)]
pub(super) struct Sums {
    /// By destination and kind.
    pub(super) found: BTreeMap<(String, SignalKind), Count>,
}

#[derive(Debug, Default)]
pub(super) struct Count {
    pub(super) lines: u64,
    pub(super) items: u64,
}

impl Sums {
    pub(super) fn count(&mut self, replay: &DeadLetter) {
        let key = (replay.destination.clone(), replay.signal.kind);
        let count = self.found.entry(key).or_default();
        count.lines += 1;
        count.items += replay.signal.items;
    }

    fn lines(&self) -> u64 {
        self.found.values().map(|count| count.lines).sum()
    }
}

/// A line at the foot of the terminal, if standard error is one.
#[derive(Debug)]
pub(super) struct Progress {
    seen: Arc<Seen>,
    is_shown: bool,
    last: Option<Instant>,
}

impl Progress {
    pub(super) fn start(seen: Arc<Seen>) -> Self {
        Self { seen, is_shown: io::stderr().is_terminal(), last: None }
    }

    /// Whether it is time to show it again.
    pub(super) fn is_due(&self) -> bool {
        self.is_shown && self.last.is_none_or(|last| last.elapsed() >= LOOK)
    }

    pub(super) fn show(&mut self, sums: &Sums, delivered: u64) {
        let read = bytes(self.seen.bytes.load(Ordering::Relaxed));
        let lines = counted(sums.lines(), "line");
        write(&format!("\r{read} read, {lines}, {delivered} delivered\x1b[K"));
        self.last = Some(Instant::now());
    }

    /// Takes the line away.
    pub(super) fn end(&self) {
        if self.is_shown {
            write("\r\x1b[K");
        }
    }
}

/// At once, so that a terminal never shows half of it.
fn write(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// The sums.
pub(super) fn page(
    seen: &Seen,
    sums: &Sums,
    fates: &[ReplayOutcome],
    destinations: &Destinations,
) -> String {
    let [read, damaged, of_other_versions, repeated] =
        [&seen.bytes, &seen.damaged, &seen.of_other_versions, &seen.repeated]
            .map(|count| count.load(Ordering::Relaxed));
    let lines = counted(sums.lines() + damaged + of_other_versions + repeated, "line");
    let mut page = format!("{lines} of telemetry in {} of log\n", bytes(read));
    for ReplayOutcome { destination, kind, lines, items, end } in fates {
        let (unit, lines) = (kind.items(), counted(*lines, "line"));
        let _ = writeln!(page, "{destination}: {items} {unit} of {lines}, {}", fate(end));
    }
    for (count, what) in [
        (damaged, "damaged"),
        (of_other_versions, "of another version"),
        (repeated, "repeated in this log"),
    ] {
        if count > 0 {
            let _ = writeln!(page, "Skipped: {} {what}", counted(count, "line"));
        }
    }
    let delivered = |fate: &&ReplayOutcome| matches!(&fate.end, ReplayEnd::Settled(account) if account.at(State::Delivered) > 0);
    for name in destinations.keepers_of_duplicates() {
        if fates.iter().filter(delivered).any(|fate| fate.destination == name) {
            let _ = writeln!(
                page,
                "{name} does not know duplicates: what is sent to it once more is there twice"
            );
        }
    }
    page
}

fn fate(end: &ReplayEnd) -> String {
    let account = match end {
        ReplayEnd::NotConfigured => return "which is not configured here: not sent".to_owned(),
        ReplayEnd::NotTried => return "not sent (dry run)".to_owned(),
        ReplayEnd::Settled(account) => account,
    };
    let mut fate = format!("{} delivered", account.at(State::Delivered));
    for (state, what) in [
        (State::Dropped(Reason::Rejected), "rejected"),
        (State::Dropped(Reason::Unsampled), "left out as not sampled"),
        (State::Held, "not taken"),
    ] {
        if account.at(state) > 0 {
            let _ = write!(fate, ", {} {what}", account.at(state));
        }
    }
    fate
}

fn counted(count: u64, unit: &str) -> String {
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// In units of 1,000.
fn bytes(count: u64) -> String {
    let (mut value, mut units) = (count as f64, ["bytes", "kB", "MB", "GB", "TB"].into_iter());
    let mut unit = units.next().unwrap_or_default();
    for next in units {
        if value < 999.5 {
            break;
        }
        (value, unit) = (value / 1_000.0, next);
    }
    let digits = if unit == "bytes" || value >= 10.0 { 0 } else { 1 };
    format!("{value:.digits$} {unit}")
}
