//! What the list of exporters knows of each.

use std::{any::Any, fmt::Debug};

use crate::delivery::Exporter;
use crate::invocation::registry::Registry;
use crate::settings::{Reader, Variable};

#[derive(Debug)]
pub struct ExporterKind {
    /// As `CRUDDUR_EXPORTERS` lists it.
    pub name: &'static str,
    pub variables: &'static [Variable],
    /// `None` if the exporter is off.
    pub read: fn(&mut Reader<'_>, Selection) -> Option<Box<dyn ExporterConfig>>,
}

#[derive(Clone, Copy, Debug)]
pub struct Selection {
    /// Whether `CRUDDUR_EXPORTERS` names the exporter, so that a missing key is an error. Other exporters
    /// are not read if that variable is set.
    pub is_named: bool,
    pub is_on_lambda: bool,
}

/// The settings of an exporter that runs.
pub trait ExporterConfig: Any + Debug + Send + Sync {
    /// Opens no connection. `registry` has the X-Ray headers; `None` if there are no invocations.
    fn start(&self, registry: Option<&Registry>) -> Box<dyn Exporter>;
}
