//! The parameters of an address, and the filter of traces.

use http::StatusCode;
use memchr::memmem;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::KeyValue,
};
use percent_encoding::percent_decode_str;
use prost::Message;

use crate::exporter::page::store::StoredTrace;
use crate::otlp::any_value::text;
use crate::otlp::payload::SignalKind;

/// An answer other than success: its status, and a sentence.
#[derive(Debug)]
pub struct PageRefusal(pub StatusCode, pub String);

/// The decoded parameters, without empty ones.
#[derive(Debug, Default)]
pub struct PageQuery(Vec<(String, String)>);

impl PageQuery {
    /// Non-UTF-8 texts are decoded lossily.
    pub fn parse(query: &str) -> Self {
        let decoded = |text: &str| {
            let text = text.replace('+', " ");
            percent_decode_str(&text).decode_utf8_lossy().into_owned()
        };
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let pairs = pairs.map(|(key, value)| (decoded(key), decoded(value)));
        Self(pairs.filter(|(_, value)| !value.is_empty()).collect())
    }

    pub fn text(&self, key: &str) -> Option<&str> {
        self.all(key).next()
    }

    fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    pub fn number(&self, key: &str) -> Result<Option<f64>, PageRefusal> {
        let Some(text) = self.text(key) else { return Ok(None) };
        let number = text.parse().ok().filter(|number: &f64| number.is_finite());
        number.map(Some).ok_or_else(|| invalid(key, "a number"))
    }

    /// At most `most`.
    pub fn limit(&self, default: usize, most: usize) -> Result<usize, PageRefusal> {
        let Some(text) = self.text("limit") else { return Ok(default) };
        let limit: usize = text.parse().map_err(|_| invalid("limit", "a whole number"))?;
        Ok(limit.min(most))
    }

    fn is_set(&self, key: &str) -> Result<bool, PageRefusal> {
        match self.text(key) {
            None | Some("0" | "false") => Ok(false),
            Some("1" | "true") => Ok(true),
            Some(_) => Err(invalid(key, "1 or 0")),
        }
    }
}

pub fn invalid(key: &str, expected: &str) -> PageRefusal {
    PageRefusal(StatusCode::BAD_REQUEST, format!("{key} is not {expected}"))
}

/// Which traces are listed.
#[derive(Debug, Default)]
pub struct TraceFilter {
    route: Option<String>,
    method: Option<String>,
    status: Option<StatusFilter>,
    failed_only: bool,
    cold_only: bool,
    user: Option<String>,
    durations_ms: (Option<f64>, Option<f64>),
    starts_ms: (Option<f64>, Option<f64>),
    text: Option<String>,
    /// Keys, and the texts of their values.
    attributes: Vec<(String, Option<String>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StatusFilter {
    Exact(u16),
    /// The first digit.
    Class(u16),
}

impl TraceFilter {
    pub fn read(query: &PageQuery) -> Result<Self, PageRefusal> {
        let owned = |key: &str| query.text(key).map(str::to_owned);
        let attribute = |text: &str| match text.split_once(':') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (text.to_owned(), None),
        };
        Ok(Self {
            route: owned("route"),
            method: owned("method"),
            status: query.text("status").map(parse_status).transpose()?,
            failed_only: query.is_set("error")?,
            cold_only: query.is_set("cold")?,
            user: owned("user"),
            durations_ms: (query.number("min_ms")?, query.number("max_ms")?),
            starts_ms: (query.number("since_ms")?, query.number("until_ms")?),
            text: query.text("text").map(str::to_ascii_lowercase),
            attributes: query.all("attr").map(attribute).collect(),
        })
    }

    /// Looks into the spans only if all else matches.
    pub fn matches(
        &self,
        trace: &StoredTrace,
        start_ms: f64,
        duration_ms: f64,
        failed: bool,
    ) -> bool {
        let entry = trace.entry.as_ref();
        let route = entry.and_then(|it| it.route.as_deref().or(Some(&it.name)));
        let method = entry.and_then(|entry| entry.method.as_deref());
        let user = entry.and_then(|entry| entry.user.as_deref());
        self.route.as_deref().is_none_or(|wanted| route == Some(wanted))
            && self.method.as_deref().is_none_or(|wanted| method == Some(wanted))
            && self.status.is_none_or(|wanted| wanted.matches(entry.and_then(|it| it.status)))
            && (failed || !self.failed_only)
            && (!self.cold_only || entry.is_some_and(|entry| entry.is_cold))
            && self.user.as_deref().is_none_or(|part| user.is_some_and(|user| user.contains(part)))
            && is_within(self.durations_ms, duration_ms)
            && is_within(self.starts_ms, start_ms)
            && self.text.as_deref().is_none_or(|text| has_text(trace, text))
            && (self.attributes.is_empty() || self.has_attributes(trace))
    }

    fn has_attributes(&self, trace: &StoredTrace) -> bool {
        let mut missing: Vec<_> = self.attributes.iter().collect();
        for part in trace.parts.iter().filter(|part| part.kind == SignalKind::Traces) {
            let may_hold = |key: &str| memmem::find(&part.bytes, key.as_bytes()).is_some();
            if !missing.iter().any(|(key, _)| may_hold(key)) {
                continue;
            }
            let request = ExportTraceServiceRequest::decode(&part.bytes[..]).unwrap_or_default();
            for resource in request.resource_spans {
                let own = resource.resource.unwrap_or_default().attributes;
                missing.retain(|wanted| !has_attribute(&own, wanted));
                for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                    missing.retain(|wanted| !has_attribute(&span.attributes, wanted));
                }
            }
        }
        missing.is_empty()
    }
}

fn is_within((least, most): (Option<f64>, Option<f64>), value: f64) -> bool {
    least.is_none_or(|least| value >= least) && most.is_none_or(|most| value <= most)
}

fn has_attribute(attributes: &[KeyValue], (key, value): &(String, Option<String>)) -> bool {
    let mut own = attributes.iter().filter(|attribute| attribute.key == *key);
    own.any(|it| value.as_ref().is_none_or(|value| text(it.value.as_ref()) == value.as_str()))
}

/// `text` is in lower case.
fn has_text(trace: &StoredTrace, text: &str) -> bool {
    let holds = |bytes: &[u8]| memmem::find(&bytes.to_ascii_lowercase(), text.as_bytes()).is_some();
    trace.id.to_string().contains(text) || trace.parts.iter().any(|part| holds(&part.bytes))
}

fn parse_status(text: &str) -> Result<StatusFilter, PageRefusal> {
    let class = text.strip_suffix("xx").and_then(|digit| digit.parse().ok());
    let class = class.filter(|digit| (1..=5).contains(digit)).map(StatusFilter::Class);
    let exact = || text.parse().ok().map(StatusFilter::Exact);
    class.or_else(exact).ok_or_else(|| invalid("status", "a status or a class such as 5xx"))
}

impl StatusFilter {
    fn matches(self, status: Option<u16>) -> bool {
        status.is_some_and(|status| match self {
            Self::Exact(wanted) => status == wanted,
            Self::Class(digit) => status / 100 == digit,
        })
    }
}
