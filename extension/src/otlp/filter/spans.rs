//! Spans that are left out by route or name.
//!
//! | pattern | spans |
//! |---|---|
//! | `METHOD route`, or with a `/`: a route | SERVER spans |
//! | any other: a name | all spans |
//!
//! The spans below one that is left out go with it, as far as they are in the same request. A failure in one
//! of them keeps all.

use std::collections::HashMap;

use crate::otlp::filter::destinations::FilteredAt;
use crate::otlp::filter::pattern::TextPattern;
use crate::otlp::item_facts::has_failed;
use crate::otlp::payload::{self, SERVER};
use crate::otlp::wire::{Value, fields, nested};

/// Most spans above one that are searched. Deeper ones stay, without their parents.
const MAX_DEPTH: usize = 128;

#[derive(Clone, Debug, Default)]
pub struct SpanFilter {
    rules: Vec<(SpanPattern, FilteredAt)>,
    /// Whether a rule names spans of all kinds.
    has_names: bool,
}

#[derive(Clone, Debug)]
pub enum SpanPattern {
    /// A method, if the pattern has one, and a path.
    Route(Option<String>, TextPattern),
    Name(TextPattern),
}

impl SpanPattern {
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let is_method = |word: &str| word.bytes().all(|byte| byte.is_ascii_uppercase());
        match text.split_once(' ').filter(|(method, _)| is_method(method)) {
            Some((method, "*")) => Ok(Self::Route(Some(method.to_owned()), TextPattern::any("*"))),
            Some((method, path)) => {
                Ok(Self::Route(Some(method.to_owned()), TextPattern::parse(path.trim())?))
            }
            None if text.contains('/') => Ok(Self::Route(None, TextPattern::parse(text)?)),
            None => Ok(Self::Name(TextPattern::parse(text)?)),
        }
    }
}

impl SpanFilter {
    pub fn add(&mut self, patterns: Vec<SpanPattern>, destinations: FilteredAt) {
        self.has_names |= patterns.iter().any(|pattern| matches!(pattern, SpanPattern::Name(_)));
        self.rules.extend(patterns.into_iter().map(|pattern| (pattern, destinations)));
    }

    /// The destinations with a pattern for the span.
    #[inline]
    pub(in crate::otlp) fn matches(&self, span: &[u8], kind: u64) -> FilteredAt {
        match kind == SERVER || self.has_names {
            true if !self.rules.is_empty() => self.search(span, kind),
            _ => FilteredAt::NOWHERE,
        }
    }

    fn search(&self, span: &[u8], kind: u64) -> FilteredAt {
        let (name, route) = if kind == SERVER {
            let (name, route) = Route::of(span);
            (name, Some(route))
        } else {
            (nested(span, 5).last().unwrap_or_default(), None)
        };
        let is_match = |pattern: &SpanPattern| match (pattern, &route) {
            (SpanPattern::Name(pattern), _) => pattern.matches(name),
            (SpanPattern::Route(method, path), Some(route)) => {
                method.as_ref().is_none_or(|method| method.as_bytes() == route.method)
                    && path.matches(route.path)
            }
            (SpanPattern::Route(..), None) => false,
        };
        let mut matched = FilteredAt::NOWHERE;
        for (_, destinations) in self.rules.iter().filter(|(pattern, _)| is_match(pattern)) {
            matched |= *destinations;
        }
        matched
    }

    /// The destinations that leave out each span of a request.
    pub(super) fn fates(&self, request: &[u8]) -> Vec<FilteredAt> {
        let mut spans: Vec<_> =
            payload::items(request).map(|span| FilteredSpan::of(span, self)).collect();
        let places: HashMap<_, _> =
            spans.iter().enumerate().map(|(place, span)| (span.id, place)).collect();
        let parent = |spans: &[FilteredSpan<'_>], place: usize| {
            let FilteredSpan { id: (trace_id, _), parent, .. } = spans[place];
            places.get(&(trace_id, parent)).copied()
        };
        let failed: Vec<_> = (0..spans.len()).filter(|place| spans[*place].has_failed).collect();
        for place in failed {
            let mut at = Some(place);
            for _ in 0..MAX_DEPTH {
                let Some(place) = at else { break };
                spans[place].matched = FilteredAt::NOWHERE;
                at = parent(&spans, place);
            }
        }
        let fate = |place: usize| {
            let (mut at, mut fate) = (Some(place), FilteredAt::NOWHERE);
            for _ in 0..MAX_DEPTH {
                let Some(place) = at else { break };
                fate |= spans[place].matched;
                at = parent(&spans, place);
            }
            fate
        };
        (0..spans.len()).map(fate).collect()
    }
}

/// The method and the path of a SERVER span.
struct Route<'a> {
    method: &'a [u8],
    path: &'a [u8],
}

impl<'a> Route<'a> {
    /// The name of the span, and its route: from its attributes, else from the name, which is a method and a
    /// route by convention.
    fn of(span: &'a [u8]) -> (&'a [u8], Self) {
        let mut name = &[][..];
        let (mut paths, mut methods) = ([None; 3], [None; 2]);
        for field in fields(span).flatten() {
            let pair = match field {
                (5, Value::Bytes(text)) => {
                    name = text;
                    continue;
                }
                (9, Value::Bytes(pair)) => pair,
                _ => continue,
            };
            let key = nested(pair, 1).next().unwrap_or_default();
            let text = || nested(pair, 2).last().and_then(|value| nested(value, 1).last());
            match key {
                b"http.route" => paths[0] = text(),
                b"url.path" => paths[1] = text(),
                b"http.target" => paths[2] = text(),
                b"http.request.method" => methods[0] = text(),
                b"http.method" => methods[1] = text(),
                _ => {}
            }
        }
        let (named, rest) = match name.iter().position(|byte| *byte == b' ') {
            Some(at) => (&name[..at], &name[at + 1..]),
            None => (name, &[][..]),
        };
        let path = paths.into_iter().flatten().next().unwrap_or(rest);
        let path = path.split(|byte| *byte == b'?').next().unwrap_or_default();
        (name, Self { method: methods.into_iter().flatten().next().unwrap_or(named), path })
    }
}

struct FilteredSpan<'a> {
    /// Trace id and span id.
    id: (&'a [u8], &'a [u8]),
    parent: &'a [u8],
    has_failed: bool,
    matched: FilteredAt,
}

impl<'a> FilteredSpan<'a> {
    fn of(span: &'a [u8], filter: &SpanFilter) -> Self {
        let (mut trace_id, mut span_id, mut parent, mut kind) = (&[][..], &[][..], &[][..], 0);
        for field in fields(span).flatten() {
            match field {
                (1, Value::Bytes(id)) => trace_id = id,
                (2, Value::Bytes(id)) => span_id = id,
                (4, Value::Bytes(id)) => parent = id,
                (6, Value::Varint(number)) => kind = number,
                _ => {}
            }
        }
        let (id, matched) = ((trace_id, span_id), filter.matches(span, kind));
        Self { id, parent, has_failed: has_failed(span), matched }
    }
}
