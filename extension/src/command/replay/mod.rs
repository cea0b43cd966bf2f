//! `replay`: sends what [last-resort lines](crate::pipeline::dead_letter) in a log hold.
//!
//! A thread of its own reads the log and unpacks lines; they go through the same pipeline and
//! exporters as in the extension, with their limits, parts and pauses, but without a spool. The
//! log is read on only while little is under way, so memory does not grow with it.

mod destinations;
mod report;
mod scanner;

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

use crate::{
    command::{
        Command, complain, print,
        replay::{
            destinations::{Counts, Destinations},
            report::{Progress, Sums},
            scanner::{Scanner, Seen},
        },
    },
    config::Config,
    otlp::payload::MAX_BATCH_BYTES,
    pipeline::dead_letter::DeadLetter,
};

/// Bytes that are handed to the pipeline before all of them have to be gone. Our choice.
const UNDER_WAY_BYTES: usize = MAX_BATCH_BYTES;

/// How often it is looked whether they are, and the progress is shown. Our choice.
const LOOK: Duration = Duration::from_millis(50);

/// How long nothing has to be taken before it gives up. Our choice: longer than the longest pause
/// after a failure.
const PATIENCE: Duration = Duration::from_secs(90);

/// Lines that are unpacked ahead. Our choice.
const AHEAD: usize = 8;

/// Exit codes.
const NOT_CONFIGURED: u8 = 1;
const NOT_SENT: u8 = 2;

const HELP: &str = "\
Sends what sandboxes wrote to their log when they ended, since no destination had taken it.

Usage: cruddur-telemetry replay [OPTIONS] < LOG

LOG is an export of a function's log in any form: plain lines, Lambda's JSON records, or what the
AWS command line prints. Everything else in it is passed over:
  aws logs filter-log-events --log-group-name cruddur-platform \\
    --filter-pattern '\"cruddur-replay\"' | cruddur-telemetry replay --dry-run

It is sent to where the extension's own variables say, which `cruddur-telemetry doctor` explains.
The log is trusted: whoever can write lines of their own to it can make spans that are sent.

Options:
  --dry-run             Send nothing, only count
  --give-up SECONDS     End when nothing was taken for so long [default: 90]
  -h, --help            Print this page

Exit code: 0 everything was taken, 1 nothing is configured that could take it, 2 not everything was,
or lines were damaged or of another version
";

/// The command's options.
#[derive(Debug, PartialEq, Eq)]
pub struct ReplayOptions {
    dry_run: bool,
    give_up: Duration,
}

impl ReplayOptions {
    pub(super) fn parse(parser: &mut Parser) -> Result<Command, lexopt::Error> {
        let mut options = Self { dry_run: false, give_up: PATIENCE };
        while let Some(argument) = parser.next()? {
            match argument {
                Long("dry-run") => options.dry_run = true,
                Long("give-up") => {
                    options.give_up = Duration::from_secs(parser.value()?.parse()?);
                }
                Short('h') | Long("help") => return Ok(Command::Help(HELP)),
                other => return Err(other.unexpected()),
            }
        }
        Ok(Command::Replay(options))
    }
}

/// Reads standard input to its end and sends what it finds.
pub(super) async fn run(options: &ReplayOptions, config: Config) -> ExitCode {
    let destinations = match options.dry_run {
        true => Destinations::default(),
        false => Destinations::start(config).await,
    };
    if destinations.is_empty() && !options.dry_run {
        complain("Nothing is configured that could take it: cruddur-telemetry doctor tells why");
        return ExitCode::from(NOT_CONFIGURED);
    }
    let seen = Arc::new(Seen::default());
    let found = read_in_thread(Arc::clone(&seen));
    let (sums, progress) = (Sums::default(), Progress::start(Arc::clone(&seen)));
    let mut sender = Sender { options, destinations, sums, progress, under_way_bytes: 0 };
    let ended = tokio::select! {
        ended = sender.send_all(found) => ended,
        _ = tokio::signal::ctrl_c() => Err("it was interrupted".to_owned()),
    };
    let Sender { destinations, sums, progress, .. } = sender;
    progress.end();
    let fates = destinations.fates(&sums, options.dry_run).await;
    print(&report::page(&seen, &sums, &fates, &destinations));
    if let Err(reason) = &ended {
        complain(&format!("Not everything was read or sent: {reason}"));
    }
    let unread = [&seen.damaged, &seen.of_other_versions];
    let all_was_read = unread.iter().all(|count| count.load(Ordering::Relaxed) == 0);
    match ended.is_ok() && all_was_read && fates.iter().all(|fate| fate.is_good()) {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(NOT_SENT),
    }
}

/// `None` at the end of the log.
type FoundLetters = io::Result<Option<DeadLetter>>;

/// Standard input blocks whoever reads it.
fn read_in_thread(seen: Arc<Seen>) -> mpsc::Receiver<FoundLetters> {
    let (sender, found) = mpsc::channel(AHEAD);
    thread::spawn(move || {
        let mut scanner = Scanner::new(io::stdin().lock(), seen);
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

/// What goes on between the log and the destinations.
struct Sender<'a> {
    options: &'a ReplayOptions,
    destinations: Destinations,
    sums: Sums,
    progress: Progress,
    under_way_bytes: usize,
}

impl Sender<'_> {
    async fn send_all(&mut self, mut found: mpsc::Receiver<FoundLetters>) -> Result<(), String> {
        loop {
            if self.progress.is_due() {
                self.progress.show(&self.sums, self.destinations.counts().await.delivered);
            }
            match timeout(LOOK, found.recv()).await {
                Err(_) => {}
                Ok(Some(Ok(Some(replay)))) => self.send(replay).await?,
                Ok(Some(Ok(None))) => return self.wait_until_taken().await,
                Ok(Some(Err(error))) => return Err(error.to_string()),
                Ok(None) => return Err("the log's reader has stopped".to_owned()),
            }
        }
    }

    async fn send(&mut self, replay: DeadLetter) -> Result<(), String> {
        self.sums.count(&replay);
        if self.options.dry_run {
            return Ok(());
        }
        self.under_way_bytes += replay.signal.bytes.len();
        self.destinations.send(replay).await;
        if self.under_way_bytes > UNDER_WAY_BYTES {
            self.wait_until_taken().await?;
        }
        Ok(())
    }

    async fn wait_until_taken(&mut self) -> Result<(), String> {
        let mut last = (0, Instant::now());
        loop {
            let Counts { held, settled, delivered } = self.destinations.counts().await;
            if self.progress.is_due() {
                self.progress.show(&self.sums, delivered);
            }
            if held == 0 {
                self.under_way_bytes = 0;
                return Ok(());
            }
            if settled != last.0 {
                last = (settled, Instant::now());
            } else if last.1.elapsed() >= self.options.give_up {
                return Err(format!("nothing was taken for {:?}", self.options.give_up));
            }
            sleep(LOOK).await;
        }
    }
}
