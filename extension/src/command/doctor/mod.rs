//! `doctor`: what every variable means now, and whether every destination takes telemetry.
//!
//! A destination's own check is [`crate::delivery::Exporter::healthcheck`]; a variable's meaning is in
//! [`VARIABLES`](crate::config::variables::VARIABLES). Nothing else need be added for a new one.

mod function;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt::{self, Write},
    process::ExitCode,
};

use anstyle::{AnsiColor, Style};
use lexopt::{
    Arg::{Long, Short},
    Parser,
};
use serde::Serialize;

use crate::{
    command::{Command, complain, print},
    config::{Config, ConfigError, variables::VARIABLES},
    delivery::healthcheck::{Finding, Severity},
};

/// Variables that begin so are meant for the extension, or for its function.
const OUR_PREFIXES: [&str; 3] = ["CRUDDUR_", "HONEYCOMB_", "ROLLBAR_"];

/// Exit code.
const MISCONFIGURED: u8 = 1;

const HELP: &str = "\
Says what the configuration means, and whether the destinations can be sent to.

Usage: cruddur-telemetry doctor [OPTIONS]

It looks at its own variables. For a function's, let the AWS command line print them:
  aws lambda get-function-configuration --function-name NAME |
    cruddur-telemetry doctor --variables -

Destinations are asked from here, with the credentials that are here: what the function's role may
do, and whether its network leads there, is not told.

Options:
  --variables FILE      The variables of the function that this file describes; - is standard input
  --json                Print JSON
  -h, --help            Print this page

Exit code: 0 all is fine, 1 something is misconfigured, 2 a destination cannot be reached
";

/// The command's options.
#[derive(Debug, PartialEq, Eq)]
pub struct DoctorOptions {
    json: bool,
    variables: Option<OsString>,
}

impl DoctorOptions {
    pub(super) fn parse(parser: &mut Parser) -> Result<Command, lexopt::Error> {
        let mut options = Self { json: false, variables: None };
        while let Some(argument) = parser.next()? {
            match argument {
                Long("json") => options.json = true,
                Long("variables") => options.variables = Some(parser.value()?),
                Short('h') | Long("help") => return Ok(Command::Help(HELP)),
                other => return Err(other.unexpected()),
            }
        }
        Ok(Command::Doctor(options))
    }
}

/// What was found.
#[derive(Debug, Serialize)]
struct DoctorReport {
    version: &'static str,
    level: Severity,
    variables: Vec<Setting>,
    destinations: Vec<DestinationReport>,
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
struct DestinationReport {
    name: &'static str,
    findings: Vec<Finding>,
}

/// Checks everything, one destination after the other. `variables` are those of the process.
pub(super) async fn run(
    options: &DoctorOptions,
    variables: &BTreeMap<String, String>,
    config: &Config,
    errors: &[ConfigError],
) -> ExitCode {
    if let Some(file) = &options.variables {
        complain(&function::examine(file, options.json, variables.keys().filter(is_ours)));
        return ExitCode::from(MISCONFIGURED);
    }
    let settings = settings(variables, config, errors);
    let is_meant = |variable: &str| {
        let meant = settings.iter().find(|setting| setting.name == variable);
        meant.is_some_and(|it| it.is_set && it.finding.level == Severity::Fine)
    };
    let mut exporters = config.exporters(None);
    let mut destinations = Vec::new();
    // Without Lambda the console is on by itself: who has made a typing error must not be lulled.
    if !exporters.iter().any(|exporter| exporter.spec().durable) && !is_meant("CRUDDUR_EXPORTERS") {
        let why = "nothing leaves this machine: set HONEYCOMB_API_KEY, or name a destination in \
                   CRUDDUR_EXPORTERS";
        destinations
            .push(DestinationReport { name: "none", findings: vec![Finding::misconfigured(why)] });
    }
    for exporter in &mut exporters {
        let (name, findings) = (exporter.spec().name, exporter.healthcheck().await);
        destinations.push(DestinationReport { name, findings });
    }
    let findings = destinations.iter().flat_map(|destination| &destination.findings);
    let findings = findings.chain(settings.iter().map(|setting| &setting.finding));
    let level = findings.map(|finding| finding.level).max().unwrap_or(Severity::Fine);
    let version = env!("CARGO_PKG_VERSION");
    let report = DoctorReport { version, level, variables: settings, destinations };
    match options.json {
        true => print(&format!("{:#}\n", serde_json::json!(report))),
        false => print(&report.to_string()),
    }
    ExitCode::from(match level {
        Severity::Fine | Severity::Warning => 0,
        Severity::Misconfigured => MISCONFIGURED,
        Severity::Unreachable => 2,
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
        let errors = errors.iter().filter(|error| error.variable() == variable.name);
        let reasons: Vec<_> = errors.map(ConfigError::reason).collect();
        let finding = match reasons[..] {
            [] => Finding::fine((variable.now)(config)),
            _ => Finding::misconfigured(reasons.join("; ")),
        };
        Setting { name: variable.name.to_owned(), is_set: is_set(variable.name), finding }
    });
    let is_known = |name: &&String| VARIABLES.iter().any(|variable| variable.name == *name);
    let unknown = variables.keys().filter(|name| is_ours(name) && !is_known(name));
    let unknown = unknown.map(|name| Setting {
        name: name.clone(),
        is_set: true,
        finding: Finding::warning(
            "is nothing to the extension: is it the function's, or misspelt?",
        ),
    });
    known.chain(unknown).collect()
}

/// Whether it looks as if it were meant for us.
fn is_ours(name: &&String) -> bool {
    OUR_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

impl fmt::Display for DoctorReport {
    /// For a terminal; who prints it strips the colours elsewhere.
    fn fmt(&self, page: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bold, dim) = (Style::new().bold(), Style::new().dimmed());
        writeln!(page, "{bold}cruddur-telemetry {}{bold:#}\n", self.version)?;
        writeln!(page, "{bold}Variables{bold:#}")?;
        let width = self.variables.iter().map(|setting| setting.name.len()).max().unwrap_or(0);
        for Setting { name, is_set, finding } in &self.variables {
            let (mark, text) = (Mark(finding.level), &finding.text);
            match (is_set, finding.level) {
                (false, Severity::Fine) => {
                    writeln!(page, "  {dim}·{dim:#} {name:width$}  {dim}{text}{dim:#}")?;
                }
                _ => writeln!(page, "  {mark} {name:width$}  {text}")?,
            }
        }
        writeln!(page, "\n{bold}Destinations{bold:#}")?;
        for DestinationReport { name, findings } in &self.destinations {
            for (index, finding) in findings.iter().enumerate() {
                let name = if index == 0 { name } else { "" };
                writeln!(page, "  {} {name:12}{}", Mark(finding.level), finding.text)?;
            }
        }
        page.write_char('\n')?;
        writeln!(
            page,
            "{}",
            match self.level {
                Severity::Fine => "All is fine.",
                Severity::Warning => "All is fine, if what has a ! is meant so.",
                Severity::Misconfigured => "Something is to be mended: see ✗.",
                Severity::Unreachable =>
                    "The configuration is fine, but not every destination answers: see ✗.",
            }
        )
    }
}

/// The sign before a line.
struct Mark(Severity);

impl fmt::Display for Mark {
    fn fmt(&self, page: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, colour) = match self.0 {
            Severity::Fine => ('✓', AnsiColor::Green),
            Severity::Warning => ('!', AnsiColor::Yellow),
            Severity::Misconfigured => ('✗', AnsiColor::Red),
            Severity::Unreachable => ('✗', AnsiColor::Yellow),
        };
        let style = colour.on_default();
        write!(page, "{style}{sign}{style:#}")
    }
}
