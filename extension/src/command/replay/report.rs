//! The progress of `replay` on a terminal, and its report at the end.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write as _},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use crate::command::replay::destinations::Destinations;
use crate::command::replay::outcome::{ReplayEnd, ReplayOutcome, Totals};
use crate::command::replay::scanner::ScanCounts;
use crate::pipeline::ledger::{Reason, State};

/// How often the progress is shown, which a person sees as continuous.
pub(super) const REFRESH_INTERVAL: Duration = Duration::from_millis(50);

/// The last line of the terminal, if standard error is a terminal.
#[derive(Debug)]
pub(super) struct Progress {
    counts: Arc<ScanCounts>,
    is_shown: bool,
    last: Option<Instant>,
}

impl Progress {
    pub(super) fn start(counts: Arc<ScanCounts>) -> Self {
        Self { counts, is_shown: io::stderr().is_terminal(), last: None }
    }

    pub(super) fn is_due(&self) -> bool {
        self.is_shown && self.last.is_none_or(|last| last.elapsed() >= REFRESH_INTERVAL)
    }

    pub(super) fn show(&mut self, totals: &Totals, delivered: u64) {
        let read = bytes(self.counts.bytes.load(Ordering::Relaxed));
        let lines = counted(totals.lines(), "line");
        write(&format!("\r{read} read, {lines}, {delivered} delivered\x1b[K"));
        self.last = Some(Instant::now());
    }

    pub(super) fn erase(&self) {
        if self.is_shown {
            write("\r\x1b[K");
        }
    }
}

/// One write, so that a terminal never shows a part of the text.
fn write(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

pub(super) fn page(
    counts: &ScanCounts,
    totals: &Totals,
    outcomes: &[ReplayOutcome],
    destinations: &Destinations,
) -> String {
    let [read, damaged, of_other_versions, repeated] =
        [&counts.bytes, &counts.damaged, &counts.of_other_versions, &counts.repeated]
            .map(|count| count.load(Ordering::Relaxed));
    let lines = counted(totals.lines() + damaged + of_other_versions + repeated, "line");
    let mut page = format!("{lines} of telemetry in {} of log\n", bytes(read));
    for ReplayOutcome { destination, kind, lines, items, end } in outcomes {
        let (unit, lines) = (kind.items(), counted(*lines, "line"));
        let _ = writeln!(page, "{destination}: {items} {unit} of {lines}, {}", describe(end));
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
    let delivered = |outcome: &&ReplayOutcome| matches!(&outcome.end, ReplayEnd::Sent(account) if account.at(State::Delivered) > 0);
    for name in destinations.names_with_duplicates() {
        if outcomes.iter().filter(delivered).any(|outcome| outcome.destination == name) {
            let _ = writeln!(
                page,
                "{name} does not detect duplicates: if you send this log again, its items are there twice"
            );
        }
    }
    page
}

fn describe(end: &ReplayEnd) -> String {
    let account = match end {
        ReplayEnd::NotConfigured => {
            return "not sent, since the destination is not configured here".to_owned();
        }
        ReplayEnd::DryRun => return "not sent (dry run)".to_owned(),
        ReplayEnd::Sent(account) => account,
    };
    let mut text = format!("{} delivered", account.at(State::Delivered));
    for (state, what) in [
        (State::Dropped(Reason::Rejected), "rejected"),
        (State::Dropped(Reason::Unsampled), "left out as not sampled"),
        (State::Held, "not accepted"),
    ] {
        if account.at(state) > 0 {
            let _ = write!(text, ", {} {what}", account.at(state));
        }
    }
    text
}

fn counted(count: u64, unit: &str) -> String {
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

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
