//! Settings of the console.

use crate::exporter::kind::Selection;
use crate::settings::{Reader, Variable, parse_trace_url};

pub(super) const VARIABLES: &[Variable] = &[Variable::new(
    "CRUDDUR_CONSOLE",
    "line",
    "what the console shows: line, a row per request; waterfall, its spans; waterfall,all, with all \
     attributes; off",
)];

#[derive(Clone, Debug)]
pub struct ConsoleConfig {
    pub view: ConsoleView,
    /// The URL of a trace at a destination.
    pub trace_url: Option<String>,
    /// The address of the local page, which has every trace; `None` if it is off.
    pub page: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsoleView {
    /// A row per request; below a failure its cause.
    Line,
    Waterfall {
        /// Whether the attributes that are the same in every request are shown.
        shows_all: bool,
    },
}

impl ConsoleConfig {
    /// Without Lambda the console is on by default.
    pub(super) fn read(reader: &mut Reader<'_>, selection: Selection) -> Option<Self> {
        if selection.is_on_lambda && !selection.is_named {
            return None;
        }
        let view = reader.or_default("CRUDDUR_CONSOLE", parse_view)?;
        let trace_url = reader.parsed("CRUDDUR_TRACE_URL", parse_trace_url);
        #[cfg(feature = "page")]
        let page = crate::exporter::page::config::address(reader, selection.is_on_lambda);
        #[cfg(not(feature = "page"))]
        let page = None;
        Some(Self { view, trace_url, page })
    }
}

/// `None` for off.
fn parse_view(text: &str) -> Result<Option<ConsoleView>, String> {
    match text.replace(' ', "").to_ascii_lowercase().as_str() {
        "line" => Ok(Some(ConsoleView::Line)),
        "waterfall" => Ok(Some(ConsoleView::Waterfall { shows_all: false })),
        "waterfall,all" => Ok(Some(ConsoleView::Waterfall { shows_all: true })),
        "off" => Ok(None),
        _ => Err("is ignored: not line, waterfall, waterfall,all or off".into()),
    }
}
