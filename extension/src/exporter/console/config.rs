//! The console has no settings.

use crate::delivery::Exporter;
use crate::exporter::console::Console;
use crate::exporter::kind::{ExporterConfig, ExporterKind, Selection};
use crate::invocation::registry::Registry;

pub const KIND: ExporterKind = ExporterKind {
    name: "console",
    variables: &[],
    read: |_, Selection { is_named, is_on_lambda }| {
        (is_named || !is_on_lambda).then(|| Box::new(ConsoleConfig) as _)
    },
};

#[derive(Debug)]
pub struct ConsoleConfig;

impl ExporterConfig for ConsoleConfig {
    fn start(&self, _: Option<&Registry>) -> Box<dyn Exporter> {
        Box::new(Console::default())
    }
}
