//! Splits received requests by the destinations that leave their items out.

use crate::otlp::edit;
use crate::otlp::filter::attributes::AttributeFilter;
use crate::otlp::filter::destinations::FilteredAt;
use crate::otlp::filter::levels::LeastLevels;
use crate::otlp::filter::spans::SpanFilter;
use crate::otlp::payload::{self, Payload, ServerSpan, SignalKind};
use crate::otlp::wire::nested;

/// All filters.
#[derive(Clone, Debug, Default)]
pub struct TelemetryFilter {
    pub spans: SpanFilter,
    pub attributes: AttributeFilter,
    pub levels: LeastLevels,
}

impl TelemetryFilter {
    /// The destinations that leave out each item of a request. Marks the server spans among them, since other
    /// spans of their invocations are left out too.
    pub fn fates(&self, payload: &Payload, servers: &mut [ServerSpan]) -> Vec<FilteredAt> {
        match payload.kind {
            SignalKind::Traces => {
                let fates = self.spans.fates(&payload.bytes);
                for server in servers {
                    let own = server.span_id.map(|id| id.to_bytes());
                    let is_it =
                        |span: &[u8]| nested(span, 2).last() == own.as_ref().map(|id| &id[..]);
                    let place = payload::items(&payload.bytes).position(is_it);
                    server.filtered_at = place.map(|place| fates[place]).unwrap_or_default();
                }
                fates
            }
            SignalKind::Logs => {
                let level = |record| self.levels.filtered_at(payload::level(record));
                payload::items(&payload.bytes).map(level).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// Splits a payload into one for each fate. With one fate for all, no byte is copied.
pub fn split(payload: Payload, fates: &[FilteredAt]) -> Vec<Payload> {
    let mut distinct = fates.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    if let [] | [_] = distinct[..] {
        let filtered_at = distinct.first().copied().unwrap_or_default();
        return vec![Payload { filtered_at, ..payload }];
    }
    let part = |fate: FilteredAt| {
        let (mut places, mut items, mut has_error) = (fates.iter(), 0, false);
        let parts = edit::regroup(&payload.bytes, usize::MAX, |item| {
            let is_its = places.next() == Some(&fate);
            items += u64::from(is_its);
            has_error |= is_its && payload::is_error(payload.kind, item);
            is_its
        });
        let bytes = parts.concat().into();
        Payload { bytes, items, has_error, filtered_at: fate, ..payload.clone() }
    };
    distinct.into_iter().map(part).collect()
}

#[cfg(test)]
mod tests;
