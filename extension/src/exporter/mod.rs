//! The destinations. Each folder has the same files for the same jobs: `mod.rs` (the exporter),
//! `config.rs` (its settings), `request.rs` (bytes on the wire), `healthcheck.rs` (for `doctor`).
//!
//! A new exporter is a folder, a field of [`ExporterSettings`], and a line in [`configured`].

pub mod cloudwatch_logs;
pub mod console;
pub mod honeycomb;
pub mod rollbar;
pub mod xray;

use crate::delivery::Exporter;
use crate::exporter::cloudwatch_logs::CloudWatchLogs;
use crate::exporter::cloudwatch_logs::config::CloudWatchLogsConfig;
use crate::exporter::console::Console;
use crate::exporter::honeycomb::Honeycomb;
use crate::exporter::honeycomb::config::HoneycombConfig;
use crate::exporter::rollbar::Rollbar;
use crate::exporter::rollbar::config::RollbarConfig;
use crate::exporter::xray::Xray;
use crate::exporter::xray::config::XrayConfig;
use crate::invocation::registry::Registry;
use crate::settings::{Reader, parse_names};

/// The names that `CRUDDUR_EXPORTERS` may list.
const EXPORTERS: [&str; 5] = ["honeycomb", "xray", "cloudwatch", "rollbar", "console"];

/// The settings of each exporter that runs.
#[derive(Debug)]
pub struct ExporterSettings {
    pub honeycomb: Option<HoneycombConfig>,
    pub xray: Option<XrayConfig>,
    pub cloudwatch_logs: Option<CloudWatchLogsConfig>,
    pub rollbar: Option<RollbarConfig>,
    pub console: bool,
}

impl ExporterSettings {
    /// Without `CRUDDUR_EXPORTERS`, every exporter with a key, a token or a log group runs, and outside
    /// Lambda the console. X-Ray runs only if it is named: without its permission, every export would
    /// fail.
    pub fn read(reader: &mut Reader<'_>, is_on_lambda: bool) -> Self {
        let list = reader.parsed("CRUDDUR_EXPORTERS", parse_exporters);
        let named = |name: &str| Some(list.as_ref()?.iter().any(|named| named == name));
        // `None` if the exporter is switched off, else whether it was named.
        let wanted = |name| named(name).map_or(Some(false), |named| named.then_some(true));
        Self {
            honeycomb: wanted("honeycomb").and_then(|named| HoneycombConfig::read(reader, named)),
            xray: wanted("xray").filter(|named| *named).and_then(|_| XrayConfig::read(reader)),
            cloudwatch_logs: wanted("cloudwatch")
                .and_then(|named| CloudWatchLogsConfig::read(reader, named)),
            rollbar: wanted("rollbar").and_then(|named| RollbarConfig::read(reader, named)),
            console: named("console").unwrap_or(!is_on_lambda),
        }
    }
}

/// The exporters that the settings name. Opens no connection. `registry` are the X-Ray headers of the
/// invocations; `None` if there are no invocations.
pub fn configured(
    settings: &ExporterSettings,
    registry: Option<&Registry>,
) -> Vec<Box<dyn Exporter>> {
    let ExporterSettings { honeycomb, xray, cloudwatch_logs, rollbar, console } = settings;
    let mut exporters: Vec<Box<dyn Exporter>> = Vec::new();
    exporters.extend(honeycomb.iter().map(|it| Box::new(Honeycomb::new(it.clone())) as _));
    exporters.extend(xray.iter().map(|it| Box::new(Xray::new(it.clone(), registry.cloned())) as _));
    exporters.extend(cloudwatch_logs.iter().map(|it| Box::new(CloudWatchLogs::new(it)) as _));
    exporters.extend(rollbar.iter().map(|it| Box::new(Rollbar::new(it)) as _));
    exporters.extend(console.then(|| Box::new(Console::default()) as _));
    exporters
}

fn parse_exporters(list: &str) -> Result<Vec<String>, String> {
    let names = parse_names(list);
    match names.iter().find(|name| !EXPORTERS.contains(&name.as_str())) {
        Some(unknown) => Err(format!("is ignored: there is no exporter {unknown:?}")),
        None => Ok(names),
    }
}
