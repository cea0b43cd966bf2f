//! Splits a payload into one for each trace, with values cut to a limit.

mod cut;

use std::collections::HashMap;

use serde::Deserialize;
use trace_context::TraceId;

use self::cut::{cut_item, cut_json};
use crate::exporter::page::facts::{EntryFacts, SpanFacts, trace_id};
use crate::otlp::edit::{head, push_item, push_scope};
use crate::otlp::filter::destinations::FilteredAt;
use crate::otlp::payload::{Payload, SignalKind};
use crate::otlp::wire::nested;
use crate::otlp::{failure_codec, line_codec};

/// Most spans of a trace: more are counted, since no picture of them helps.
pub const MAX_SPANS: usize = 5_000;

/// The items of one trace in a payload.
#[derive(Debug)]
pub struct TracePart {
    /// `None` for lines and failures without a trace.
    pub trace_id: Option<TraceId>,
    pub payload: Payload,
    /// Of each span in the payload, in its order.
    pub spans: Vec<SpanFacts>,
    pub entry: Option<EntryFacts>,
    /// Items that were left out.
    pub dropped: u64,
}

/// The parts of a payload, and the number of items that no trace can show.
#[derive(Debug)]
pub struct SplitPayload {
    pub kind: SignalKind,
    pub parts: Vec<TracePart>,
    pub dropped: u64,
}

/// Splits the bytes of a payload or batch.
pub fn split(kind: SignalKind, bytes: &[u8]) -> SplitPayload {
    match kind {
        SignalKind::Traces | SignalKind::Logs => split_otlp(kind, bytes),
        SignalKind::Lines => split_lines(bytes),
        SignalKind::Failures => split_failures(bytes),
        SignalKind::Metrics | SignalKind::Posts => collect(kind, std::iter::empty()),
    }
}

/// A resource and a scope, which items repeat.
struct ScopeHeads {
    resource: Vec<u8>,
    scope: Vec<u8>,
}

#[derive(Default)]
struct PartBuilder {
    request: Vec<u8>,
    /// Encoded items of the scope in progress, the last of the heads that the part has seen.
    items: Vec<u8>,
    scope: usize,
    count: u64,
    spans: Vec<SpanFacts>,
    entry: Option<EntryFacts>,
    dropped: u64,
}

impl PartBuilder {
    fn push(&mut self, scopes: &[ScopeHeads], item: &[u8]) {
        if self.scope + 1 != scopes.len() {
            self.end_scope(scopes);
            self.scope = scopes.len() - 1;
        }
        push_item(&mut self.items, item);
        self.count += 1;
    }

    fn push_span(&mut self, scopes: &[ScopeHeads], span: &[u8]) {
        if self.spans.len() >= MAX_SPANS {
            self.dropped += 1;
            return;
        }
        let Some((span, is_cut)) = cut_item(SignalKind::Traces, span) else {
            self.dropped += 1;
            return;
        };
        self.push(scopes, &span);
        let facts = SpanFacts::of(&span, is_cut);
        self.spans.push(facts);
        if facts.is_entry
            && let Some(entry) = EntryFacts::of(&span, &scopes[scopes.len() - 1].resource)
            && self.entry.as_ref().is_none_or(|known| entry.precedes(known))
        {
            self.entry = Some(entry);
        }
    }

    fn end_scope(&mut self, scopes: &[ScopeHeads]) {
        if let Some(ScopeHeads { resource, scope }) = scopes.get(self.scope) {
            push_scope(&mut self.request, resource, scope, &self.items);
        }
        self.items.clear();
    }

    fn finish(
        mut self,
        kind: SignalKind,
        trace_id: Option<TraceId>,
        scopes: &[ScopeHeads],
    ) -> TracePart {
        self.end_scope(scopes);
        let has_error = self.spans.iter().any(|span| span.has_failed);
        let payload = payload(kind, self.request, self.count, has_error);
        let Self { spans, entry, dropped, .. } = self;
        TracePart { trace_id, payload, spans, entry, dropped }
    }
}

fn payload(kind: SignalKind, bytes: Vec<u8>, items: u64, has_error: bool) -> Payload {
    // The flag makes exporters look for unsampled spans, as they do in previews.
    let has_unsampled = kind == SignalKind::Traces;
    let filtered_at = FilteredAt::NOWHERE;
    Payload { kind, bytes: bytes.into(), items, has_error, has_unsampled, filtered_at }
}

fn split_otlp(kind: SignalKind, request: &[u8]) -> SplitPayload {
    let id_field = if kind == SignalKind::Traces { 1 } else { 9 };
    let (mut scopes, mut dropped) = (Vec::new(), 0);
    let mut builders: Vec<(Option<TraceId>, PartBuilder)> = Vec::new();
    let mut places = HashMap::new();
    for resource in nested(request, 1) {
        for scope in nested(resource, 2) {
            scopes.push(ScopeHeads { resource: head(resource), scope: head(scope) });
            for item in nested(scope, 2) {
                let id = trace_id(item, id_field);
                if kind == SignalKind::Traces && id.is_none() {
                    dropped += 1;
                    continue;
                }
                let place = *places.entry(id).or_insert_with(|| {
                    builders.push((id, PartBuilder::default()));
                    builders.len() - 1
                });
                let builder = &mut builders[place].1;
                match kind {
                    SignalKind::Traces => builder.push_span(&scopes, item),
                    _ => match cut_item(kind, item) {
                        Some((item, _)) => builder.push(&scopes, &item),
                        None => builder.dropped += 1,
                    },
                }
            }
        }
    }
    let finish = |(id, builder): (_, PartBuilder)| builder.finish(kind, id, &scopes);
    SplitPayload { kind, parts: builders.into_iter().map(finish).collect(), dropped }
}

/// One part for each line.
fn split_lines(bytes: &[u8]) -> SplitPayload {
    #[derive(Deserialize)]
    struct Ids<'a> {
        #[serde(borrow)]
        trace_id: Option<std::borrow::Cow<'a, str>>,
    }
    let part = |line: line_codec::LogLine<'_>| {
        let ids = serde_json::from_str::<Ids<'_>>(line.json).ok();
        let trace_id = ids.and_then(|ids| TraceId::from_hex(&ids.trace_id?));
        let text = format!("{} {}\n", line.time_ms, cut_json(line.json)?);
        let payload = payload(SignalKind::Lines, text.into_bytes(), 1, false);
        Some(TracePart { trace_id, payload, spans: Vec::new(), entry: None, dropped: 0 })
    };
    collect(SignalKind::Lines, line_codec::read(bytes).map(part))
}

/// One part for each failure.
fn split_failures(bytes: &[u8]) -> SplitPayload {
    #[derive(Deserialize)]
    struct KeptItem {
        data: KeptData,
    }
    #[derive(Deserialize)]
    struct KeptData {
        #[serde(default)]
        custom: HashMap<String, serde_json::Value>,
    }
    let part = |item: failure_codec::EncodedItem<'_>| {
        let known = serde_json::from_str::<KeptItem>(item.json).ok();
        let trace_id =
            known.and_then(|it| TraceId::from_hex(it.data.custom.get("trace_id")?.as_str()?));
        let text = format!("{} {} {}\n", item.id, item.items, cut::cut_failure(item.json)?);
        let payload = payload(SignalKind::Failures, text.into_bytes(), item.items, true);
        Some(TracePart { trace_id, payload, spans: Vec::new(), entry: None, dropped: 0 })
    };
    collect(SignalKind::Failures, failure_codec::read(bytes).map(part))
}

fn collect(kind: SignalKind, parts: impl Iterator<Item = Option<TracePart>>) -> SplitPayload {
    let mut split = SplitPayload { kind, parts: Vec::new(), dropped: 0 };
    for part in parts {
        match part {
            Some(part) => split.parts.push(part),
            None => split.dropped += 1,
        }
    }
    split
}

#[cfg(test)]
mod tests;
