//! `doctor`: shows the value of every variable, and checks every destination by
//! [`crate::delivery::Exporter::healthcheck`].

mod function;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt::{self, Write},
    process::ExitCode,
    time::{Duration, Instant},
};

use anstyle::{AnsiColor, Style};
use lexopt::{
    Arg::{Long, Short},
    Parser,
};
use serde::Serialize;

use crate::client::network;
use crate::command::output::{print, print_error};
use crate::config::variables;
use crate::config::{Config, ConfigError};
use crate::delivery::healthcheck::{Finding, Severity};
use crate::flush::credit::HoldSettings;
use crate::flush::policy::FlushMode;

/// Prefixes of variables of the extension or of Cruddur's functions.
const OUR_PREFIXES: [&str; 3] = ["CRUDDUR_", "HONEYCOMB_", "ROLLBAR_"];

const MISCONFIGURED: u8 = 1;

pub(super) const HELP: &str = "\
Shows the value of every variable and checks whether the destinations accept telemetry.

Usage: cruddur-telemetry doctor [OPTIONS]

It checks its own environment. To check a function's variables, let the AWS command line print them:
  aws lambda get-function-configuration --function-name NAME |
    cruddur-telemetry doctor --variables -

The checks run on this machine with its credentials. They do not show what the function's role is
allowed to do, or which destinations the function's network reaches.

Options:
  --variables FILE      Check the function that FILE describes; - reads standard input
  --json                Print JSON
  -h, --help            Print this page

Exit code: 0 no problem, 1 a variable or key is wrong, 2 a destination does not answer
";

#[derive(Debug, PartialEq, Eq)]
pub struct DoctorOptions {
    json: bool,
    variables: Option<OsString>,
}

impl DoctorOptions {
    /// `None` if help is requested.
    pub(super) fn parse(parser: &mut Parser) -> Result<Option<Self>, lexopt::Error> {
        let mut options = Self { json: false, variables: None };
        while let Some(argument) = parser.next()? {
            match argument {
                Long("json") => options.json = true,
                Long("variables") => options.variables = Some(parser.value()?),
                Short('h') | Long("help") => return Ok(None),
                other => return Err(other.unexpected()),
            }
        }
        Ok(Some(options))
    }
}

#[derive(Debug, Serialize)]
struct DoctorReport {
    version: &'static str,
    level: Severity,
    variables: Vec<Setting>,
    destinations: Vec<DestinationReport>,
    /// What holds of Next cost the function. `None` without a destination.
    holds: Option<String>,
}

#[derive(Debug, Serialize)]
struct Setting {
    name: String,
    is_set: bool,
    /// The value or the default, or why the value is invalid.
    #[serde(flatten)]
    finding: Finding,
    meaning: &'static str,
}

#[derive(Debug, Serialize)]
struct DestinationReport {
    name: &'static str,
    findings: Vec<Finding>,
}

/// Checks the destinations one after the other. `variables` are those of the process.
pub(super) async fn run(
    options: &DoctorOptions,
    variables: &BTreeMap<String, String>,
    config: &Config,
    errors: &[ConfigError],
) -> ExitCode {
    if let Some(file) = &options.variables {
        print_error(&function::run_doctor(file, options.json, variables.keys().filter(is_ours)));
        return ExitCode::from(MISCONFIGURED);
    }
    let settings = settings(variables, errors);
    let is_valid = |variable: &str| {
        let found = settings.iter().find(|setting| setting.name == variable);
        found.is_some_and(|it| it.is_set && it.finding.level == Severity::Fine)
    };
    let mut exporters = config.exporters(None);
    let mut destinations = Vec::new();
    // Without Lambda the console is on by default, so a misspelt key must be reported here.
    if !exporters.iter().any(|exporter| exporter.spec().durable) && !is_valid("CRUDDUR_EXPORTERS") {
        let why = "nothing leaves this machine: set HONEYCOMB_API_KEY, or name a destination in \
                   CRUDDUR_EXPORTERS";
        destinations
            .push(DestinationReport { name: "none", findings: vec![Finding::misconfigured(why)] });
    }
    let mut slowest = None;
    for exporter in &mut exporters {
        let (spec, began) = (exporter.spec(), Instant::now());
        let mut findings = exporter.healthcheck().await;
        slowest = slowest.max(spec.durable.then(|| began.elapsed()));
        let endpoint = exporter.endpoint().await;
        let way = endpoint.and_then(|endpoint| network::described(&endpoint));
        findings.extend(way.map(Finding::fine));
        destinations.push(DestinationReport { name: spec.name, findings });
    }
    let findings = destinations.iter().flat_map(|destination| &destination.findings);
    let findings = findings.chain(settings.iter().map(|setting| &setting.finding));
    let level = findings.map(|finding| finding.level).max().unwrap_or(Severity::Fine);
    let version = env!("CARGO_PKG_VERSION");
    let holds = slowest.map(|slowest| holds(config, slowest));
    let report = DoctorReport { version, level, variables: settings, destinations, holds };
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

/// What holds of Next cost with these settings, if the slowest check took so long.
fn holds(config: &Config, slowest: Duration) -> String {
    let HoldSettings { share, max_hold, .. } = config.hold_settings();
    let answer = format!(
        "until the slowest destination has answered; its check took {} ms from this machine",
        slowest.as_millis()
    );
    match config.flush {
        FlushMode::Adaptive => format!(
            "at most {} % of the time; in sparse traffic each invocation is held {answer}",
            share * 100.0
        ),
        FlushMode::End => {
            format!("each invocation is held {answer}, and for {} ms at most", max_hold.as_millis())
        }
        FlushMode::Periodic(_) => "none".to_owned(),
    }
}

/// All known variables, and unknown ones with a prefix of ours.
fn settings(variables: &BTreeMap<String, String>, errors: &[ConfigError]) -> Vec<Setting> {
    let known = variables::all().map(|variable| {
        let value = variables.get(variable.name).and_then(|value| variable.value(value));
        let errors = errors.iter().filter(|error| error.variable() == variable.name);
        let reasons: Vec<_> = errors.map(ConfigError::reason).collect();
        let finding = match reasons[..] {
            [] => Finding::fine(variable.shown(value)),
            _ => Finding::misconfigured(reasons.join("; ")),
        };
        Setting {
            name: variable.name.to_owned(),
            is_set: value.is_some(),
            finding,
            meaning: variable.meaning,
        }
    });
    let is_known = |name: &&String| variables::all().any(|variable| variable.name == *name);
    let unknown = variables.keys().filter(|name| is_ours(name) && !is_known(name));
    let unknown = unknown.map(|name| Setting {
        name: name.clone(),
        is_set: true,
        finding: Finding::warning(
            "is unknown to the extension: it is for the function, or misspelt",
        ),
        meaning: "",
    });
    known.chain(unknown).collect()
}

fn is_ours(name: &&String) -> bool {
    OUR_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

impl DoctorReport {
    fn problems(&self) -> String {
        let destinations = self.destinations.iter().flat_map(|destination| &destination.findings);
        let findings = destinations.chain(self.variables.iter().map(|setting| &setting.finding));
        let is_problem = |finding: &&Finding| finding.level > Severity::Warning;
        match findings.filter(is_problem).count() {
            1 => "1 problem".to_owned(),
            count => format!("{count} problems"),
        }
    }
}

impl fmt::Display for DoctorReport {
    /// With colours, which [`print`] strips outside a terminal.
    fn fmt(&self, page: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bold, dim) = (Style::new().bold(), Style::new().dimmed());
        writeln!(page, "{bold}cruddur-telemetry {}{bold:#}\n", self.version)?;
        writeln!(page, "{bold}Variables{bold:#}")?;
        let width = self.variables.iter().map(|setting| setting.name.len()).max().unwrap_or(0);
        for Setting { name, is_set, finding, meaning } in &self.variables {
            let (mark, text) = (Mark(finding.level), &finding.text);
            match (is_set, finding.level) {
                (false, Severity::Fine) => {
                    write!(page, "  {dim}·{dim:#} {name:width$}  {dim}{text}{dim:#}")?;
                }
                _ => write!(page, "  {mark} {name:width$}  {text}")?,
            }
            match meaning.is_empty() {
                true => writeln!(page)?,
                false => writeln!(page, "  {dim}({meaning}){dim:#}")?,
            }
        }
        writeln!(page, "\n{bold}Destinations{bold:#}")?;
        for DestinationReport { name, findings } in &self.destinations {
            for (index, finding) in findings.iter().enumerate() {
                let name = if index == 0 { name } else { "" };
                writeln!(page, "  {} {name:12}{}", Mark(finding.level), finding.text)?;
            }
        }
        if let Some(holds) = &self.holds {
            writeln!(page, "\n{bold}Holds of Next{bold:#}\n  {holds}")?;
        }
        page.write_char('\n')?;
        match self.level {
            Severity::Fine => writeln!(page, "All is fine."),
            Severity::Warning => writeln!(page, "No problems found. Check the lines marked !."),
            Severity::Misconfigured => writeln!(page, "{} found, marked ✗.", self.problems()),
            Severity::Unreachable => writeln!(
                page,
                "{} found, marked ✗: not every destination answers. Check the network and the addresses.",
                self.problems()
            ),
        }
    }
}

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
