//! The command line: what a person starts, where Lambda starts the extension.
//!
//! One file per command. Each writes its answer to standard output and says by its exit code how
//! that went; standard error has what went wrong, and progress.

mod board;
mod doctor;
mod replay;

use std::{collections::BTreeMap, ffi::OsString, io::Write, process::ExitCode};

use lexopt::{
    Arg::{Long, Short, Value},
    Parser,
};
use tracing::warn;

use crate::config::{Config, ConfigError};

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Nothing: be the extension.
    Extension,
    /// A page of help.
    Help(&'static str),
    /// The version.
    Version,
    /// Make a board at Honeycomb.
    Board(board::BoardOptions),
    /// Check the configuration.
    Doctor(doctor::DoctorOptions),
    /// Send what a log holds.
    Replay(replay::ReplayOptions),
}

/// Arguments that mean nothing.
#[derive(Debug, thiserror::Error)]
#[error("{0}\nTry cruddur-telemetry --help")]
pub struct UsageError(#[from] lexopt::Error);

/// Exit code after a [`UsageError`], as most programs have it.
pub const USAGE_ERROR: u8 = 2;

const HELP: &str = concat!(
    "cruddur-telemetry ",
    env!("CARGO_PKG_VERSION"),
    ": the telemetry of AWS Lambda functions

Usage:
  cruddur-telemetry             Be the extension: take OTLP and send it on. Lambda starts it so
  cruddur-telemetry doctor      Say what the configuration means and whether it works
  cruddur-telemetry replay      Send what sandboxes left in their log during an outage
  cruddur-telemetry board       Make a board of latency, errors and cold starts at Honeycomb

Options:
  -h, --help                    Print this page, or that of a command
  -V, --version                 Print the version

Environment variables configure it. The first ones to know:
  HONEYCOMB_API_KEY             Switches Honeycomb on
  CRUDDUR_EXPORTERS             Comma list of destinations: exactly those are sent to
  CRUDDUR_LOG                   off, error, warn, info, debug or trace
"
);

impl Command {
    /// Reads the arguments, of which the first is the program's name.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, UsageError> {
        let mut parser = Parser::from_iter(arguments);
        let command = match parser.next()? {
            None => Self::Extension,
            Some(Short('h') | Long("help")) => Self::Help(HELP),
            Some(Short('V') | Long("version")) => Self::Version,
            Some(Value(name)) => match name.to_str() {
                // Of a command, or of all.
                Some("help") => {
                    let command = parser.value().ok();
                    let asked = command.into_iter().chain(["--help".into()]);
                    return Self::parse(std::iter::once(OsString::new()).chain(asked));
                }
                Some("board") => board::BoardOptions::parse(&mut parser)?,
                Some("doctor") => doctor::DoctorOptions::parse(&mut parser)?,
                Some("replay") => replay::ReplayOptions::parse(&mut parser)?,
                _ => return Err(lexopt::Error::UnexpectedArgument(name).into()),
            },
            Some(other) => return Err(other.unexpected().into()),
        };
        if let Self::Help(_) = command {
            return Ok(command); // whatever else is there
        }
        match parser.next()? {
            None => Ok(command),
            Some(surplus) => Err(surplus.unexpected().into()),
        }
    }

    /// Does what was asked for; not for [`Command::Extension`], which takes more than a command.
    ///
    /// `variables` is the environment that `config` and `errors` were read from.
    pub async fn run(
        self,
        variables: &BTreeMap<String, String>,
        config: Config,
        errors: &[ConfigError],
    ) -> ExitCode {
        match self {
            Self::Extension => {}
            Self::Doctor(options) => {
                return doctor::run(&options, variables, &config, errors).await;
            }
            Self::Help(page) => print(page),
            Self::Version => print(concat!("cruddur-telemetry ", env!("CARGO_PKG_VERSION"), "\n")),
            Self::Board(options) => return board::run(&options, config, errors).await,
            Self::Replay(options) => {
                errors.iter().for_each(|error| warn!("{error}"));
                return replay::run(&options, config).await;
            }
        }
        ExitCode::SUCCESS
    }
}

/// To standard error, which may be full or closed: that is no reason to stop.
pub fn complain(text: &str) {
    let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}

/// To standard output, without colours where they would not be shown. Whoever reads it may leave.
fn print(text: &str) {
    let mut out = anstream::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Command, String> {
        let all = std::iter::once("cruddur-telemetry").chain(arguments.iter().copied());
        Command::parse(all.map(OsString::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn without_arguments_it_is_the_extension() {
        assert_eq!(parse(&[]), Ok(Command::Extension));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (arguments, named) in [
            (&["doktor"][..], "doktor"),
            (&["--verbose"], "--verbose"),
            (&["-x"], "-x"),
            (&["--version", "now"], "now"),
            (&["--version=2"], "2"),
            (&["help", "doktor"], "doktor"),
        ] {
            let error = parse(arguments).expect_err("no such argument");
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn who_asks_for_help_gets_it_whatever_else_is_there() {
        let doctors = parse(&["doctor", "--help"]);
        assert!(matches!(doctors, Ok(Command::Help(_))) && doctors != parse(&["--help"]));
        assert_eq!(parse(&["help"]), parse(&["--help"]));
        assert_eq!(parse(&["help", "doctor"]), doctors);
        assert_eq!(parse(&["doctor", "--help", "--json"]), doctors);
    }
}
