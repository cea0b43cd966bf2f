//! The destinations. Each folder has the same files for the same jobs: `mod.rs` (the exporter),
//! `config.rs` (its settings), `request.rs` (bytes on the wire), `healthcheck.rs` (for `doctor`).
//!
//! A new exporter is a folder, its module below, and its kind in `KINDS`.

pub mod kind;
pub mod drawing; // traces as text
pub mod cloudwatch_logs;
pub mod console;
pub mod otlp;
pub mod honeycomb;
pub mod rollbar;
pub mod xray;
#[cfg(feature = "page")]
pub mod page;

use std::any::Any;

use crate::delivery::Exporter;
use crate::exporter::kind::{ExporterConfig, ExporterKind, Selection};
use crate::invocation::registry::Registry;
use crate::settings::{Reader, Variable, parse_names};

/// In the order in which they start.
const KINDS: &[&ExporterKind] = &[
    &honeycomb::KIND,
    &otlp::KIND,
    &xray::KIND,
    &cloudwatch_logs::KIND,
    &rollbar::KIND,
    &console::KIND,
    #[cfg(feature = "page")]
    &page::KIND,
];

const EXPORTERS: Variable = Variable::new(
    "CRUDDUR_EXPORTERS",
    "",
    "comma list of the exporters that run; unset: those with a key, an endpoint, a log group or a token, and console \
     and page outside Lambda",
);

pub fn variables() -> impl Iterator<Item = &'static Variable> {
    const LIST: &[Variable] = &[EXPORTERS];
    LIST.iter().chain(KINDS.iter().flat_map(|kind| kind.variables))
}

/// The settings of each exporter that runs.
#[derive(Debug)]
pub struct ExporterSettings(Vec<Box<dyn ExporterConfig>>);

impl ExporterSettings {
    pub fn read(reader: &mut Reader<'_>, is_on_lambda: bool) -> Self {
        let list = reader.parsed(EXPORTERS.name, parse_exporters);
        let read = |kind: &&ExporterKind| {
            let is_named = list.as_ref().map(|list| list.iter().any(|name| name == kind.name));
            if is_named == Some(false) {
                return None;
            }
            (kind.read)(reader, Selection { is_named: is_named.is_some(), is_on_lambda })
        };
        Self(KINDS.iter().filter_map(read).collect())
    }

    /// The settings of one exporter, if it runs.
    pub fn get<T: ExporterConfig>(&self) -> Option<&T> {
        self.0.iter().find_map(|config| (&**config as &dyn Any).downcast_ref())
    }

    /// Opens no connection. `registry` has the X-Ray headers; `None` if there are no invocations.
    pub fn start(&self, registry: Option<&Registry>) -> Vec<Box<dyn Exporter>> {
        self.0.iter().map(|config| config.start(registry)).collect()
    }
}

fn parse_exporters(list: &str) -> Result<Vec<String>, String> {
    let names = parse_names(list);
    match names.iter().find(|name| !KINDS.iter().any(|kind| kind.name == **name)) {
        Some(unknown) => {
            let known: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
            let known = known.join(", ");
            Err(format!("is ignored: {unknown:?} is not an exporter; known are {known}"))
        }
        None => Ok(names),
    }
}

#[cfg(test)]
mod tests;
