//! The command line. Without arguments the program is the extension, as Lambda starts it.
//!
//! One module per command. Each writes its answer to standard output, problems and progress to
//! standard error, and reports success by its exit code.

pub mod output;
mod command_error;
mod honeycomb_client;
mod board;
mod deployed;
mod doctor;
mod replay;

use std::{collections::BTreeMap, ffi::OsString, process::ExitCode};

use lexopt::{
    Arg::{Long, Short, Value},
    Parser,
};
use tracing::warn;

use crate::command::board::BoardOptions;
use crate::command::deployed::DeployedOptions;
use crate::command::doctor::DoctorOptions;
use crate::command::output::print;
use crate::command::replay::ReplayOptions;
use crate::config::{Config, ConfigError};

#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    Extension,
    Help(&'static str),
    Version,
    Board(BoardOptions),
    Deployed(DeployedOptions),
    Doctor(DoctorOptions),
    Replay(ReplayOptions),
}

#[derive(Debug, thiserror::Error)]
#[error("{0}\nTry cruddur-telemetry --help")]
pub struct UsageError(#[from] lexopt::Error);

const HELP: &str = concat!(
    "cruddur-telemetry ",
    env!("CARGO_PKG_VERSION"),
    ": the telemetry of AWS Lambda functions

Usage:
  cruddur-telemetry             Run as the extension; Lambda starts it this way
  cruddur-telemetry doctor      Check the configuration and the destinations
  cruddur-telemetry replay      Send telemetry that sandboxes wrote to their log in an outage
  cruddur-telemetry board       Create a Honeycomb board of latency, errors and cold starts
  cruddur-telemetry deployed    Record a deploy at Honeycomb and Rollbar

Options:
  -h, --help                    Print this page, or the page of a command
  -V, --version                 Print the version

Environment variables configure it. The most important ones:
  HONEYCOMB_API_KEY             Enables Honeycomb
  CRUDDUR_EXPORTERS             Comma list of destinations; only these receive telemetry
  CRUDDUR_LOG                   off, error, warn or info (debug builds: debug, trace)
"
);

impl Command {
    /// The first argument is the program's name.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, UsageError> {
        let mut parser = Parser::from_iter(arguments);
        let command = match parser.next()? {
            None => Self::Extension,
            Some(Short('h') | Long("help")) => Self::Help(HELP),
            Some(Short('V') | Long("version")) => Self::Version,
            Some(Value(name)) => match name.to_str() {
                Some("help") => {
                    let command = parser.value().ok();
                    let asked = command.into_iter().chain(["--help".into()]);
                    return Self::parse(std::iter::once(OsString::new()).chain(asked));
                }
                Some("board") => {
                    BoardOptions::parse(&mut parser)?.map_or(Self::Help(board::HELP), Self::Board)
                }
                Some("deployed") => DeployedOptions::parse(&mut parser)?
                    .map_or(Self::Help(deployed::HELP), Self::Deployed),
                Some("doctor") => DoctorOptions::parse(&mut parser)?
                    .map_or(Self::Help(doctor::HELP), Self::Doctor),
                Some("replay") => ReplayOptions::parse(&mut parser)?
                    .map_or(Self::Help(replay::HELP), Self::Replay),
                _ => return Err(lexopt::Error::UnexpectedArgument(name).into()),
            },
            Some(other) => return Err(other.unexpected().into()),
        };
        if let Self::Help(_) = command {
            return Ok(command); // other arguments are ignored
        }
        match parser.next()? {
            None => Ok(command),
            Some(surplus) => Err(surplus.unexpected().into()),
        }
    }

    /// Runs every command but [`Command::Extension`], which `main` runs.
    ///
    /// `variables` is the environment from which `config` and `errors` were read.
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
            Self::Deployed(options) => return deployed::run(&options, config, errors).await,
            Self::Replay(options) => {
                errors.iter().for_each(|error| warn!("{error}"));
                return replay::run(&options, config).await;
            }
        }
        ExitCode::SUCCESS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Command, String> {
        let all = std::iter::once("cruddur-telemetry").chain(arguments.iter().copied());
        Command::parse(all.map(OsString::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn without_arguments_the_program_is_the_extension() {
        assert_eq!(parse(&[]), Ok(Command::Extension));
    }

    #[test]
    fn an_unknown_argument_is_named() {
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
    fn help_is_printed_whatever_the_other_arguments_are() {
        let doctor_help = parse(&["doctor", "--help"]);
        assert!(matches!(doctor_help, Ok(Command::Help(_))) && doctor_help != parse(&["--help"]));
        assert_eq!(parse(&["help"]), parse(&["--help"]));
        assert_eq!(parse(&["help", "doctor"]), doctor_help);
        assert_eq!(parse(&["doctor", "--help", "--json"]), doctor_help);
    }
}
