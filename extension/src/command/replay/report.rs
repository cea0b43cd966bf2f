//! What `replay` says: progress on a terminal, and the sums at the end.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, IsTerminal, Write as _},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::destinations::{Destinations, End, Fate};
use crate::{
    last_resort::{Replay, Unreadable},
    ledger::{Reason, State},
    signal::Kind,
};

/// What was found in the log.
#[derive(Debug, Default)]
pub(super) struct Sums {
    /// By destination and kind.
    pub(super) found: BTreeMap<(String, Kind), Count>,
    damaged: u64,
    of_other_versions: u64,
}

#[derive(Debug, Default)]
pub(super) struct Count {
    pub(super) lines: u64,
    pub(super) items: u64,
}

impl Sums {
    pub(super) fn count(&mut self, replay: &Replay) {
        let key = (replay.destination.clone(), replay.signal.kind);
        let count = self.found.entry(key).or_default();
        count.lines += 1;
        count.items += replay.signal.items;
    }

    pub(super) fn skip(&mut self, unreadable: Unreadable) {
        match unreadable {
            Unreadable::Damaged => self.damaged += 1,
            Unreadable::OtherVersion => self.of_other_versions += 1,
        }
    }

    fn lines(&self) -> u64 {
        let found: u64 = self.found.values().map(|count| count.lines).sum();
        found + self.damaged + self.of_other_versions
    }
}

/// A line at the foot of the terminal, if standard error is one.
#[derive(Debug)]
pub(super) struct Progress {
    read_bytes: Arc<AtomicU64>,
    is_shown: bool,
    last: String,
}

impl Progress {
    pub(super) fn start(read_bytes: Arc<AtomicU64>) -> Self {
        Self { read_bytes, is_shown: io::stderr().is_terminal(), last: String::new() }
    }

    pub(super) fn show(&mut self, sums: &Sums) {
        if self.is_shown {
            let read = bytes(self.read_bytes.load(Ordering::Relaxed));
            let now = format!("{read} read, {}", counted(sums.lines(), "line"));
            if now != self.last {
                eprint!("\r{now}\x1b[K");
                self.last = now;
            }
        }
    }

    /// Takes the line away. Returns how many bytes were read.
    pub(super) fn end(self) -> u64 {
        if self.is_shown {
            let _ = io::stderr().write_all(b"\r\x1b[K");
        }
        self.read_bytes.load(Ordering::Relaxed)
    }
}

/// The sums.
pub(super) fn page(
    read_bytes: u64,
    sums: &Sums,
    fates: &[Fate],
    destinations: &Destinations,
) -> String {
    let (read, lines) = (bytes(read_bytes), counted(sums.lines(), "line"));
    let mut page = format!("{lines} of telemetry in {read} of log\n");
    for Fate { destination, kind, lines, items, end } in fates {
        let (unit, lines) = (kind.items(), counted(*lines, "line"));
        let _ = writeln!(page, "{destination}: {items} {unit} of {lines}, {}", fate(end));
    }
    for (count, what) in [(sums.damaged, "damaged"), (sums.of_other_versions, "of another version")]
    {
        if count > 0 {
            let _ = writeln!(page, "Skipped: {} {what}", counted(count, "line"));
        }
    }
    let delivered = |fate: &&Fate| matches!(&fate.end, End::Settled(account) if account.at(State::Delivered) > 0);
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

fn fate(end: &End) -> String {
    let account = match end {
        End::NotConfigured => return "which is not configured here: not sent".to_owned(),
        End::NotTried => return "not sent (dry run)".to_owned(),
        End::Settled(account) => account,
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
