//! `deployed`: records a deploy, by a marker at Honeycomb and a deploy at Rollbar.

mod deploy;
mod honeycomb;
mod rollbar;

use std::process::ExitCode;

use lexopt::{
    Arg::{Long, Short},
    Parser, ValueExt,
};

use crate::command::command_error::CommandError;
use crate::command::deployed::deploy::{Deploy, DeployOutcome};
use crate::command::honeycomb_client::key_error;
use crate::command::output::{print, print_error};
use crate::config::{Config, ConfigError};
use crate::exporter::rollbar::config::RollbarConfig;
use crate::settings::{parse_http_url, parse_revision};

const REFUSED: u8 = 1;
const UNREACHABLE: u8 = 2;

pub(super) const HELP: &str = "\
Records a deploy: a marker at Honeycomb, and a deploy at Rollbar.

Usage: cruddur-telemetry deployed --revision SHA [OPTIONS]

Honeycomb needs a configuration key with the permission Manage Markers, in
HONEYCOMB_CONFIGURATION_KEY or HONEYCOMB_API_KEY. Rollbar needs ROLLBAR_ACCESS_TOKEN with the scope
post_server_item; the deploy is one of ROLLBAR_ENVIRONMENT. A destination without a key is left out.

With the same revision in CRUDDUR_REVISION of the functions, Rollbar names the suspect deploy of an
item.

Options:
  --revision SHA        1 to 40 characters, such as a commit or a version
                        [default: CRUDDUR_REVISION]
  --url URL             The page of the deploy or of its changes
  --dataset SLUG        The dataset that the marker is shown in [default: all datasets of the
                        environment; with a classic key, that of the service]
  -h, --help            Print this page

Exit code: 0 success, 1 refused or misconfigured, 2 a destination does not answer
";

#[derive(Debug, Default, PartialEq, Eq)]
pub struct DeployedOptions {
    revision: Option<String>,
    url: Option<String>,
    dataset: Option<String>,
}

impl DeployedOptions {
    /// `None` if help is requested.
    pub(super) fn parse(parser: &mut Parser) -> Result<Option<Self>, lexopt::Error> {
        let mut options = Self::default();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("revision") => {
                    options.revision = Some(parser.value()?.parse_with(revision)?);
                }
                Long("url") => options.url = Some(parser.value()?.parse_with(page)?),
                Long("dataset") => options.dataset = Some(parser.value()?.parse_with(dataset)?),
                Short('h') | Long("help") => return Ok(None),
                other => return Err(other.unexpected()),
            }
        }
        Ok(Some(options))
    }
}

fn revision(text: &str) -> Result<String, &'static str> {
    parse_revision(text)
        .map_err(|_| "a revision has 1 to 40 letters, digits, dots, underscores, + and -")
}

fn page(text: &str) -> Result<String, &'static str> {
    let url = parse_http_url(text, "").map(|_| text.to_owned());
    url.map_err(|_| "it is not an http or https URL without a user")
}

fn dataset(text: &str) -> Result<String, &'static str> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match !text.is_empty() && text.bytes().all(is_legal) {
        true => Ok(text.to_owned()),
        false => Err("a dataset's slug has letters, digits, dots, underscores and hyphens"),
    }
}

pub(super) async fn run(
    options: &DeployedOptions,
    config: Config,
    errors: &[ConfigError],
) -> ExitCode {
    let Some(revision) = options.revision.as_ref().or(config.revision.as_ref()) else {
        print_error("There is no revision: give --revision, or set CRUDDUR_REVISION");
        return ExitCode::from(REFUSED);
    };
    let deploy = Deploy { revision, url: options.url.as_deref() };
    let outcomes = [
        ("honeycomb", to_honeycomb(&deploy, options.dataset.as_deref(), &config, errors).await),
        ("rollbar", to_rollbar(&deploy, &config, errors).await),
    ];
    let is_recorded =
        outcomes.iter().any(|(_, outcome)| matches!(outcome, Ok(DeployOutcome::Recorded(_))));
    let (mut is_refused, mut is_unreachable) = (false, false);
    for (name, outcome) in outcomes {
        match outcome {
            Ok(DeployOutcome::Recorded(answer)) => print(&format!("{name}: {answer}\n")),
            Ok(DeployOutcome::LeftOut(reason)) => print(&format!("{name}: left out, {reason}\n")),
            Err(error) => {
                is_unreachable |= matches!(error, CommandError::Unreachable(_));
                is_refused |= matches!(error, CommandError::Refused(_));
                print_error(&format!("{name}: {error}"));
            }
        }
    }
    match (is_refused, is_unreachable, is_recorded) {
        (true, _, _) => ExitCode::from(REFUSED),
        (_, true, _) => ExitCode::from(UNREACHABLE),
        (_, _, true) => ExitCode::SUCCESS,
        (_, _, false) => ExitCode::from(REFUSED), // all destinations were left out
    }
}

async fn to_honeycomb(
    deploy: &Deploy<'_>,
    dataset: Option<&str>,
    config: &Config,
    errors: &[ConfigError],
) -> Result<DeployOutcome, CommandError> {
    match (&config.management, key_error(errors)) {
        (Some(honeycomb), _) => {
            honeycomb::mark(deploy, honeycomb.clone(), dataset, &config.service_name).await
        }
        (None, Some(error)) => Err(CommandError::Refused(error)),
        (None, None) => Ok(DeployOutcome::LeftOut("since HONEYCOMB_CONFIGURATION_KEY is not set")),
    }
}

async fn to_rollbar(
    deploy: &Deploy<'_>,
    config: &Config,
    errors: &[ConfigError],
) -> Result<DeployOutcome, CommandError> {
    let error = errors.iter().find(|error| error.variable().starts_with("ROLLBAR_"));
    match (config.exporters.get::<RollbarConfig>(), error) {
        (Some(rollbar), _) => rollbar::record(deploy, rollbar).await,
        (None, Some(error)) => Err(CommandError::Refused(error.to_string())),
        (None, None) => Ok(DeployOutcome::LeftOut(
            "since ROLLBAR_ACCESS_TOKEN is not set, or CRUDDUR_EXPORTERS does not name rollbar",
        )),
    }
}
