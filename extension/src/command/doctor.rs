//! `doctor`: what every variable means now, and whether every destination takes telemetry.
//!
//! A destination's own check is [`Exporter::check`]; a variable's meaning is in
//! [`VARIABLES`](crate::config::variables::VARIABLES). Nothing else need be added for a new one.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
    process::ExitCode,
};

use anstyle::{AnsiColor, Style};
use lexopt::{
    Arg::{Long, Short},
    Parser,
};
use serde::Serialize;

use super::{Command, print};
use crate::{
    config::{Config, ConfigError, variables::VARIABLES},
    exporter::{
        Exporter,
        check::{Finding, Level},
    },
};

/// Variables that begin so are meant for the extension, or for its function.
const OUR_PREFIXES: [&str; 3] = ["CRUDDUR_", "HONEYCOMB_", "ROLLBAR_"];

const HELP: &str = "\
Says what the configuration means, and whether the destinations can be sent to.

Usage: cruddur-telemetry doctor [OPTIONS]

Give it the function's variables, for example
  env $(aws lambda get-function-configuration --function-name NAME \\
    --query 'Environment.Variables' --output json | jq -r 'to_entries[]|\"\\(.key)=\\(.value)\"') \\
    cruddur-telemetry doctor

Options:
  --json                Print JSON
  -h, --help            Print this page

Exit code: 0 all is fine, 1 something is misconfigured, 2 a destination cannot be reached
";

/// The command's options.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    json: bool,
}

impl Options {
    pub(super) fn parse(parser: &mut Parser) -> Result<Command, lexopt::Error> {
        let mut options = Self { json: false };
        while let Some(argument) = parser.next()? {
            match argument {
                Long("json") => options.json = true,
                Short('h') | Long("help") => return Ok(Command::Help(HELP)),
                other => return Err(other.unexpected()),
            }
        }
        Ok(Command::Doctor(options))
    }
}

/// What was found.
#[derive(Debug, Serialize)]
struct Report {
    version: &'static str,
    level: Level,
    variables: Vec<Setting>,
    destinations: Vec<Destination>,
}

/// A variable.
#[derive(Debug, Serialize)]
struct Setting {
    name: String,
    is_set: bool,
    /// What it means, or why it means nothing.
    #[serde(flatten)]
    finding: Finding,
}

/// An exporter.
#[derive(Debug, Serialize)]
struct Destination {
    name: &'static str,
    findings: Vec<Finding>,
}

/// Checks everything, one destination after the other. `variables` are those of the process.
pub(super) async fn run(
    options: &Options,
    variables: &BTreeMap<String, String>,
    config: &Config,
    errors: &[ConfigError],
) -> ExitCode {
    let mut destinations = Vec::new();
    for mut exporter in Exporter::configured(config) {
        let (name, findings) = (exporter.spec().name, exporter.check().await);
        destinations.push(Destination { name, findings });
    }
    let settings = settings(variables, config, errors);
    let findings = destinations.iter().flat_map(|destination| &destination.findings);
    let findings = findings.chain(settings.iter().map(|setting| &setting.finding));
    let mut level = findings.map(|finding| finding.level).max_by_key(|level| match level {
        Level::Fine => 0,
        Level::Unreachable => 1,
        Level::Misconfigured => 2, // first mend that
    });
    if destinations.is_empty() {
        level = Some(Level::Misconfigured);
    }
    let level = level.unwrap_or(Level::Fine);
    let version = env!("CARGO_PKG_VERSION");
    let report = Report { version, level, variables: settings, destinations };
    match options.json {
        true => print(&format!("{:#}\n", serde_json::json!(report))),
        false => print(&report.to_string()),
    }
    ExitCode::from(match level {
        Level::Fine => 0,
        Level::Misconfigured => 1,
        Level::Unreachable => 2,
    })
}

/// All that are known, and those that look as if they were meant for us.
fn settings(
    variables: &BTreeMap<String, String>,
    config: &Config,
    errors: &[ConfigError],
) -> Vec<Setting> {
    let is_set = |name: &str| variables.get(name).is_some_and(|value| !value.trim().is_empty());
    let known = VARIABLES.iter().map(|variable| {
        let error = errors.iter().find(|error| error.variable() == variable.name);
        let finding = match error {
            Some(error) => Finding::misconfigured(error.reason()),
            None => Finding::fine((variable.now)(config)),
        };
        Setting { name: variable.name.to_owned(), is_set: is_set(variable.name), finding }
    });
    let is_ours = |name: &&String| {
        let is_known = VARIABLES.iter().any(|variable| variable.name == *name);
        !is_known && OUR_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    };
    let unknown = variables.keys().filter(is_ours).map(|name| Setting {
        name: name.clone(),
        is_set: true,
        finding: Finding::fine("is nothing to the extension: is it the function's, or misspelt?"),
    });
    known.chain(unknown).collect()
}

impl fmt::Display for Report {
    /// For a terminal; who prints it strips the colours elsewhere.
    fn fmt(&self, page: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bold, dim) = (Style::new().bold(), Style::new().dimmed());
        writeln!(page, "{bold}cruddur-telemetry {}{bold:#}\n", self.version)?;
        writeln!(page, "{bold}Variables{bold:#}")?;
        let width = self.variables.iter().map(|setting| setting.name.len()).max().unwrap_or(0);
        for Setting { name, is_set, finding } in &self.variables {
            let (mark, text) = (Mark(finding.level), &finding.text);
            match (is_set, finding.level) {
                (false, Level::Fine) => {
                    writeln!(page, "  {dim}·{dim:#} {name:width$}  {dim}{text}{dim:#}")?;
                }
                _ => writeln!(page, "  {mark} {name:width$}  {text}")?,
            }
        }
        writeln!(page, "\n{bold}Destinations{bold:#}")?;
        for Destination { name, findings } in &self.destinations {
            for (index, finding) in findings.iter().enumerate() {
                let name = if index == 0 { name } else { "" };
                writeln!(page, "  {} {name:12}{}", Mark(finding.level), finding.text)?;
            }
        }
        if self.destinations.is_empty() {
            let mark = Mark(Level::Misconfigured);
            writeln!(
                page,
                "  {mark} none: set HONEYCOMB_API_KEY, or name one in CRUDDUR_EXPORTERS"
            )?;
        }
        page.write_char('\n')?;
        writeln!(
            page,
            "{}",
            match self.level {
                Level::Fine => "All is fine.",
                Level::Misconfigured => "Something is to be mended: see ✗.",
                Level::Unreachable =>
                    "The configuration is fine, but not every destination answers: see ✗.",
            }
        )
    }
}

/// The sign before a line.
struct Mark(Level);

impl fmt::Display for Mark {
    fn fmt(&self, page: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, colour) = match self.0 {
            Level::Fine => ('✓', AnsiColor::Green),
            Level::Misconfigured => ('✗', AnsiColor::Red),
            Level::Unreachable => ('✗', AnsiColor::Yellow),
        };
        let style = colour.on_default();
        write!(page, "{style}{sign}{style:#}")
    }
}
