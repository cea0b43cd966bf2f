//! The page's store: traces, and lines and failures without one, bounded in bytes; the oldest make room.
//!
//! Its lock covers look-ups and appends of made parts only. Readers take a snapshot, and read it without the
//! lock.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    mem::size_of,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;
use trace_context::TraceId;

use crate::exporter::page::facts::{EntryFacts, SpanFacts};
use crate::exporter::page::split::{MAX_SPANS, SplitPayload, TracePart};
use crate::otlp::edit::regroup;
use crate::otlp::payload::{Payload, SignalKind};

/// Most bytes of everything: some 30,000 spans, an hour of a person's work.
const MAX_BYTES: usize = 32 << 20;

/// Most bytes of one trace, so that it leaves room for others.
const MAX_TRACE_BYTES: usize = MAX_BYTES / 4;

/// Most lines and failures of one trace.
const MAX_LINES: u64 = 5_000;

/// Bytes of the structures around a part, a trace and their places in maps; an estimate.
const PART_BYTES: usize = 160;
const TRACE_BYTES: usize = 640;

/// Most changes that a reader can be behind before it misses some.
const MAX_CHANGES: usize = 1_000;

/// Clones share the content.
#[derive(Clone, Debug)]
pub struct PageStore(Arc<SharedStore>);

#[derive(Debug)]
struct SharedStore {
    content: Mutex<Content>,
    /// The number of the last change.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Content {
    traces: HashMap<TraceId, Arc<StoredTrace>>,
    /// The traces, the oldest first, with the number of the change that brought them.
    order: VecDeque<(u64, TraceId)>,
    /// Lines and failures without a trace.
    loose: VecDeque<(u64, Payload)>,
    /// The last changes of traces.
    changed: VecDeque<(u64, TraceId)>,
    bytes: usize,
    last_change: u64,
    /// The number of the change that cleared the store.
    cleared: u64,
    spans_dropped: u64,
    /// Log lines and failures.
    lines_dropped: u64,
    traces_evicted: u64,
}

/// Everything that arrived of one trace.
#[derive(Clone, Debug)]
pub struct StoredTrace {
    pub id: TraceId,
    /// In the order of their arrival.
    pub parts: Vec<Payload>,
    /// Of each span, in the order of the parts.
    pub spans: Vec<SpanFacts>,
    pub entry: Option<EntryFacts>,
    pub lines: u64,
    pub failures: u64,
    /// Items that were left out.
    pub dropped: u64,
    bytes: usize,
}

/// The content at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// The latest first.
    pub traces: Vec<Arc<StoredTrace>>,
    pub loose: Vec<Payload>,
    pub spans_dropped: u64,
    /// Log lines and failures.
    pub lines_dropped: u64,
    pub traces_evicted: u64,
}

/// The changes since an earlier moment.
#[derive(Debug)]
pub struct StoreNews {
    /// The number of the last change, for the next call.
    pub until: u64,
    /// The latest first, each once.
    pub traces: Vec<Arc<StoredTrace>>,
    pub is_cleared: bool,
}

impl Default for PageStore {
    fn default() -> Self {
        Self(Arc::new(SharedStore { content: Mutex::default(), changes: watch::Sender::new(0) }))
    }
}

impl PageStore {
    pub fn append(&self, split: SplitPayload) {
        let mut content = self.content();
        content.count_dropped(split.kind, split.dropped);
        for part in split.parts {
            content.append(part);
        }
        let last = content.last_change;
        drop(content);
        self.0.changes.send_replace(last);
    }

    pub fn clear(&self) {
        let mut content = self.content();
        let last_change = content.last_change + 1;
        *content = Content { last_change, cleared: last_change, ..Content::default() };
        drop(content);
        self.0.changes.send_replace(last_change);
    }

    pub fn get(&self, id: TraceId) -> Option<Arc<StoredTrace>> {
        self.content().traces.get(&id).cloned()
    }

    pub fn snapshot(&self) -> Snapshot {
        let content = self.content();
        let traces = content.order.iter().rev().filter_map(|(_, id)| content.traces.get(id));
        Snapshot {
            traces: traces.cloned().collect(),
            loose: content.loose.iter().map(|(_, payload)| payload.clone()).collect(),
            spans_dropped: content.spans_dropped,
            lines_dropped: content.lines_dropped,
            traces_evicted: content.traces_evicted,
        }
    }

    /// Receives the number of each change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    pub fn news_since(&self, since: u64) -> StoreNews {
        let content = self.content();
        let mut seen = HashSet::new();
        let recent = content.changed.iter().rev().take_while(|(number, _)| *number > since);
        let recent = recent.filter(|(_, id)| seen.insert(*id));
        let traces = recent.filter_map(|(_, id)| content.traces.get(id).cloned()).collect();
        let is_cleared = content.cleared > since;
        StoreNews { until: content.last_change, traces, is_cleared }
    }

    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.content().bytes
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    fn count_dropped(&mut self, kind: SignalKind, items: u64) {
        match kind {
            SignalKind::Traces => self.spans_dropped += items,
            _ => self.lines_dropped += items,
        }
    }

    fn append(&mut self, part: TracePart) {
        let kind = part.payload.kind;
        self.last_change += 1;
        let number = self.last_change;
        let Some(id) = part.trace_id else {
            self.bytes += part.payload.bytes.len() + PART_BYTES;
            self.loose.push_back((number, part.payload));
            return self.make_room();
        };
        let trace = self.traces.entry(id).or_insert_with(|| {
            self.order.push_back((number, id));
            self.bytes += TRACE_BYTES;
            Arc::new(StoredTrace::new(id))
        });
        let before = (trace.bytes, trace.dropped);
        Arc::make_mut(trace).append(part);
        let dropped = trace.dropped - before.1;
        self.bytes += trace.bytes - before.0;
        self.count_dropped(kind, dropped);
        self.changed.push_back((number, id));
        if self.changed.len() > MAX_CHANGES {
            self.changed.pop_front();
        }
        self.make_room();
    }

    fn make_room(&mut self) {
        while self.bytes > MAX_BYTES {
            let [trace, loose] =
                [self.order.front().map(|it| it.0), self.loose.front().map(|it| it.0)];
            if loose.is_some_and(|loose| trace.is_none_or(|trace| loose < trace)) {
                let payload = self.loose.pop_front();
                self.bytes -= payload.map_or(0, |(_, it)| it.bytes.len() + PART_BYTES);
            } else if let Some((_, id)) = self.order.pop_front() {
                let trace = self.traces.remove(&id);
                self.bytes -= trace.map_or(0, |trace| trace.bytes) + TRACE_BYTES;
                self.traces_evicted += 1;
            } else {
                return;
            }
        }
    }
}

impl StoredTrace {
    fn new(id: TraceId) -> Self {
        Self {
            id,
            parts: Vec::new(),
            spans: Vec::new(),
            entry: None,
            lines: 0,
            failures: 0,
            dropped: 0,
            bytes: 0,
        }
    }

    /// Appends as many items as there is room for, and counts the others.
    fn append(&mut self, part: TracePart) {
        let TracePart { mut payload, mut spans, entry, dropped, .. } = part;
        self.dropped += dropped;
        let (kind, items) = (payload.kind, payload.items);
        let room = match kind {
            _ if self.bytes + payload.bytes.len() > MAX_TRACE_BYTES => 0,
            SignalKind::Traces => (MAX_SPANS - self.spans.len()) as u64,
            _ => MAX_LINES.saturating_sub(self.lines + self.failures),
        };
        if let Some(entry) = entry
            && self.entry.as_ref().is_none_or(|known| entry.precedes(known))
        {
            self.entry = Some(entry);
        }
        if items > room && kind != SignalKind::Failures {
            self.dropped += items - room;
            spans.truncate(usize::try_from(room).unwrap_or(usize::MAX));
            payload = first_items(payload, room);
        }
        if payload.bytes.is_empty() {
            return;
        }
        match kind {
            SignalKind::Traces => {
                self.bytes += spans.len() * size_of::<SpanFacts>();
                self.spans.append(&mut spans);
            }
            SignalKind::Failures => self.failures += payload.items,
            _ => self.lines += payload.items,
        }
        self.bytes += payload.bytes.len() + PART_BYTES;
        self.parts.push(payload);
    }

    /// The bytes of all parts of a signal as one payload; `None` without any.
    pub fn payload(&self, kind: SignalKind) -> Option<Payload> {
        let parts: Vec<_> = self.parts.iter().filter(|part| part.kind == kind).collect();
        let first = parts.first()?;
        let bytes: Vec<&[u8]> = parts.iter().map(|part| &part.bytes[..]).collect();
        Some(Payload {
            bytes: bytes.concat().into(),
            items: parts.iter().map(|part| part.items).sum(),
            has_error: parts.iter().any(|part| part.has_error),
            ..(*first).clone()
        })
    }
}

/// The payload with its first items only.
pub fn first_items(payload: Payload, most: u64) -> Payload {
    if payload.items <= most {
        return payload;
    }
    let bytes = match payload.kind {
        SignalKind::Traces | SignalKind::Logs => {
            let mut count = 0;
            let keep = |_: &[u8]| {
                count += 1;
                count <= most
            };
            regroup(&payload.bytes, usize::MAX, keep).concat()
        }
        _ => {
            let lines = payload.bytes.split_inclusive(|byte| *byte == b'\n');
            lines.take(usize::try_from(most).unwrap_or(usize::MAX)).flatten().copied().collect()
        }
    };
    Payload { bytes: bytes.into(), items: most, ..payload }
}

#[cfg(test)]
mod tests;
