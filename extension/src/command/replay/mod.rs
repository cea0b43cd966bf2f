//! `replay`: sends the [dead letters](crate::pipeline::dead_letter) that a log holds.
//!
//! A thread reads the log and decodes dead letters. They pass the same pipeline and exporters as in the
//! extension, with the same limits and pauses but without a spool. Reading stops while
//! [`MAX_PENDING_BYTES`] wait, so memory does not grow with the log.

mod outcome;
mod scanner;
mod destinations;
mod report;

use std::{
    io,
    process::ExitCode,
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use lexopt::{
    Arg::{Long, Short},
    Parser, ValueExt,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

use crate::command::output::{print, print_error};
use crate::command::replay::destinations::{Counts, Destinations};
use crate::command::replay::outcome::Totals;
use crate::command::replay::report::{Progress, REFRESH_INTERVAL};
use crate::command::replay::scanner::{ScanCounts, Scanner};
use crate::config::Config;
use crate::otlp::payload::MAX_BATCH_BYTES;
use crate::pipeline::dead_letter::DeadLetter;

/// Beyond this many bytes in the pipeline, reading waits until all of them are sent: one batch.
const MAX_PENDING_BYTES: usize = MAX_BATCH_BYTES;

/// The command gives up after this long without an accepted item: longer than the longest pause after a
/// failure.
const GIVE_UP_AFTER: Duration = Duration::from_secs(90);

/// Decoded dead letters that wait for the sender, so that reading and sending overlap.
const READ_AHEAD: usize = 8;

const NOT_CONFIGURED: u8 = 1;
const NOT_SENT: u8 = 2;

pub(super) const HELP: &str = "\
Sends telemetry that sandboxes wrote to their log at their end because a destination had not
accepted it.

Usage: cruddur-telemetry replay [OPTIONS] < LOG

LOG is an export of a function's log in any form: plain lines, Lambda's JSON records, or the output of
the AWS command line. Other lines are ignored:
  aws logs filter-log-events --log-group-name cruddur-platform \\
    --filter-pattern '\"cruddur-replay\"' | cruddur-telemetry replay --dry-run

The extension's variables configure the destinations; `cruddur-telemetry doctor` shows them. The log
is trusted: a program that can write to it can add spans of its own.

Options:
  --dry-run             Count the telemetry without sending it
  --give-up SECONDS     Stop after this long without an accepted item [default: 90]
  -h, --help            Print this page

Exit code: 0 everything was accepted, 1 no destination is configured, 2 something was not accepted, or
lines were damaged or of another version
";

#[derive(Debug, PartialEq, Eq)]
pub struct ReplayOptions {
    dry_run: bool,
    give_up: Duration,
}

impl ReplayOptions {
    /// `None` if help is requested.
    pub(super) fn parse(parser: &mut Parser) -> Result<Option<Self>, lexopt::Error> {
        let mut options = Self { dry_run: false, give_up: GIVE_UP_AFTER };
        while let Some(argument) = parser.next()? {
            match argument {
                Long("dry-run") => options.dry_run = true,
                Long("give-up") => {
                    options.give_up = Duration::from_secs(parser.value()?.parse()?);
                }
                Short('h') | Long("help") => return Ok(None),
                other => return Err(other.unexpected()),
            }
        }
        Ok(Some(options))
    }
}

/// Reads standard input to its end.
pub(super) async fn run(options: &ReplayOptions, config: Config) -> ExitCode {
    let destinations = match options.dry_run {
        true => Destinations::default(),
        false => Destinations::start(config).await,
    };
    if destinations.is_empty() && !options.dry_run {
        print_error("No destination is configured: cruddur-telemetry doctor shows why");
        return ExitCode::from(NOT_CONFIGURED);
    }
    let counts = Arc::new(ScanCounts::default());
    let found = read_in_thread(Arc::clone(&counts));
    let (totals, progress) = (Totals::default(), Progress::start(Arc::clone(&counts)));
    let mut sender = Sender { options, destinations, totals, progress, pending_bytes: 0 };
    let ended = tokio::select! {
        ended = sender.send_all(found) => ended,
        _ = tokio::signal::ctrl_c() => Err("interrupted".to_owned()),
    };
    let Sender { destinations, totals, progress, .. } = sender;
    progress.erase();
    let outcomes = destinations.outcomes(&totals, options.dry_run).await;
    print(&report::page(&counts, &totals, &outcomes, &destinations));
    if let Err(reason) = &ended {
        print_error(&format!("Not everything was read or sent: {reason}"));
    }
    let unread = [&counts.damaged, &counts.of_other_versions];
    let all_was_read = unread.iter().all(|count| count.load(Ordering::Relaxed) == 0);
    match ended.is_ok() && all_was_read && outcomes.iter().all(|outcome| outcome.is_complete()) {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(NOT_SENT),
    }
}

/// `None` at the end of the log.
type FoundLetters = io::Result<Option<DeadLetter>>;

/// A thread, since reading standard input blocks.
fn read_in_thread(counts: Arc<ScanCounts>) -> mpsc::Receiver<FoundLetters> {
    let (sender, found) = mpsc::channel(READ_AHEAD);
    thread::spawn(move || {
        let mut scanner = Scanner::new(io::stdin().lock(), counts);
        loop {
            let next = scanner.next();
            let goes_on = matches!(next, Ok(Some(_)));
            if sender.blocking_send(next).is_err() || !goes_on {
                return;
            }
        }
    });
    found
}

struct Sender<'a> {
    options: &'a ReplayOptions,
    destinations: Destinations,
    totals: Totals,
    progress: Progress,
    pending_bytes: usize,
}

impl Sender<'_> {
    async fn send_all(&mut self, mut found: mpsc::Receiver<FoundLetters>) -> Result<(), String> {
        loop {
            if self.progress.is_due() {
                self.progress.show(&self.totals, self.destinations.counts().await.delivered);
            }
            match timeout(REFRESH_INTERVAL, found.recv()).await {
                Err(_) => {}
                Ok(Some(Ok(Some(letter)))) => self.send(letter).await?,
                Ok(Some(Ok(None))) => return self.wait_until_sent().await,
                Ok(Some(Err(error))) => return Err(error.to_string()),
                Ok(None) => return Err("the thread that reads the log has stopped".to_owned()),
            }
        }
    }

    async fn send(&mut self, letter: DeadLetter) -> Result<(), String> {
        self.totals.count(&letter);
        if self.options.dry_run {
            return Ok(());
        }
        self.pending_bytes += letter.signal.bytes.len();
        self.destinations.send(letter).await;
        if self.pending_bytes > MAX_PENDING_BYTES {
            self.wait_until_sent().await?;
        }
        Ok(())
    }

    async fn wait_until_sent(&mut self) -> Result<(), String> {
        let mut last = (0, Instant::now());
        loop {
            let Counts { held, completed, delivered } = self.destinations.counts().await;
            if self.progress.is_due() {
                self.progress.show(&self.totals, delivered);
            }
            if held == 0 {
                self.pending_bytes = 0;
                return Ok(());
            }
            if completed != last.0 {
                last = (completed, Instant::now());
            } else if last.1.elapsed() >= self.options.give_up {
                return Err(format!("no item was accepted for {:?}", self.options.give_up));
            }
            sleep(REFRESH_INTERVAL).await;
        }
    }
}
