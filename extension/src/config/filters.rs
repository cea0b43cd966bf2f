//! The filters of spans, attributes and levels.

use crate::otlp::filter::attributes::AttributeFilter;
use crate::otlp::filter::destinations::FilteredAt;
use crate::otlp::filter::levels::LeastLevels;
use crate::otlp::filter::pattern::{TextPattern, parse_patterns};
use crate::otlp::filter::request::TelemetryFilter;
use crate::otlp::filter::spans::{SpanFilter, SpanPattern};
use crate::settings::{Reader, Variable};

const DROP_SPANS: &str = "CRUDDUR_DROP_SPANS";
const HONEYCOMB_DROP_SPANS: &str = "CRUDDUR_HONEYCOMB_DROP_SPANS";
const OTLP_DROP_SPANS: &str = "CRUDDUR_OTLP_DROP_SPANS";
const DROP_ATTRIBUTES: &str = "CRUDDUR_DROP_ATTRIBUTES";
const MASK_ATTRIBUTES: &str = "CRUDDUR_MASK_ATTRIBUTES";

/// The least level at each destination that takes log records or lines.
const LEVELS: [(&str, FilteredAt); 3] = [
    ("CRUDDUR_HONEYCOMB_LEVEL", FilteredAt::HONEYCOMB),
    ("CRUDDUR_OTLP_LEVEL", FilteredAt::OTLP),
    ("CRUDDUR_CLOUDWATCH_LEVEL", FilteredAt::CLOUDWATCH),
];

pub(super) const VARIABLES: &[Variable] = &[
    Variable::new(
        DROP_SPANS,
        "",
        "comma list of routes or names of spans that no destination gets, * for any text; failures stay",
    ),
    Variable::new(
        HONEYCOMB_DROP_SPANS,
        "OPTIONS *,*/health,*/healthz,*/health-check,*/livez,*/readyz,*/ping",
        "the same for honeycomb alone; off or empty: none",
    )
    .off_if_empty(),
    Variable::new(OTLP_DROP_SPANS, "", "the same for otlp alone"),
    Variable::new(
        DROP_ATTRIBUTES,
        "",
        "comma list of keys of attributes that no destination gets, * for any text",
    ),
    Variable::new(MASK_ATTRIBUTES, "", "the same for attributes whose value becomes ***"),
    Variable::new(
        LEVELS[0].0,
        "",
        "least level of log records for honeycomb: trace, debug, info, warn, error or fatal",
    ),
    Variable::new(LEVELS[1].0, "", "the same for otlp"),
    Variable::new(
        LEVELS[2].0,
        "",
        "the same for cloudwatch, lines included; lines with metrics or without a level stay",
    ),
];

/// An invalid list filters nothing; that of Honeycomb has its default.
pub(super) fn read(reader: &mut Reader<'_>) -> TelemetryFilter {
    let parse_spans = |list: &str| parse_patterns(list, SpanPattern::parse);
    let mut spans = SpanFilter::default();
    let everywhere = reader.parsed(DROP_SPANS, parse_spans).unwrap_or_default();
    spans.add(everywhere, FilteredAt::EVERYWHERE);
    spans.add(reader.or_default(HONEYCOMB_DROP_SPANS, parse_spans), FilteredAt::HONEYCOMB);
    let otlp = reader.parsed(OTLP_DROP_SPANS, parse_spans).unwrap_or_default();
    spans.add(otlp, FilteredAt::OTLP);
    let mut keys = |variable| {
        let parsed = reader.parsed(variable, |list| parse_patterns(list, TextPattern::parse));
        parsed.unwrap_or_default()
    };
    let attributes =
        AttributeFilter { dropped: keys(DROP_ATTRIBUTES), masked: keys(MASK_ATTRIBUTES) };
    let mut levels = LeastLevels::default();
    for (variable, destination) in LEVELS {
        let Some(level) = reader.get(variable) else { continue };
        if let Err(reason) = levels.add(destination, &level) {
            reader.reject(variable, reason);
        }
    }
    TelemetryFilter { spans, attributes, levels }
}
