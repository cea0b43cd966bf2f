use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use prost::Message;

use super::*;
use crate::exporter::page::split::split;

fn id(number: u32) -> TraceId {
    let mut bytes = [1; 16];
    bytes[12..].copy_from_slice(&number.to_be_bytes());
    TraceId::from_bytes(bytes).unwrap()
}

/// Spans of one trace, each with a name of so many bytes.
fn spans(trace: u32, count: usize, bytes: usize) -> SplitPayload {
    let name = "x".repeat(bytes);
    let span = Span { trace_id: id(trace).to_bytes().to_vec(), name, ..Span::default() };
    let spans = vec![span; count];
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    split(SignalKind::Traces, &ExportTraceServiceRequest { resource_spans }.encode_to_vec())
}

fn lines(count: usize) -> SplitPayload {
    split(SignalKind::Lines, "5 {\"message\":\"m\"}\n".repeat(count).as_bytes())
}

/// The estimate of the store's bytes, made anew.
fn bytes(content: &Content) -> usize {
    let parts = |parts: &[Payload]| -> usize {
        parts.iter().map(|part| part.bytes.len() + PART_BYTES).sum()
    };
    let traces = content.traces.values().map(|trace| {
        parts(&trace.parts) + trace.spans.len() * size_of::<SpanFacts>() + TRACE_BYTES
    });
    let loose: Vec<_> = content.loose.iter().map(|(_, payload)| payload.clone()).collect();
    traces.sum::<usize>() + parts(&loose)
}

#[test]
fn the_oldest_traces_and_lines_make_room_and_the_count_of_bytes_is_exact() {
    let store = PageStore::default();
    store.append(lines(10));
    for number in 0..6_000 {
        store.append(spans(number, 1, 8_000));
        if number % 10 == 0 {
            store.append(lines(1));
            store.append(spans(number / 2, 1, 100)); // an old trace may be new again
        }
    }

    let content = store.content();
    assert_eq!(content.bytes, bytes(&content));
    assert!(content.bytes <= MAX_BYTES && content.bytes > MAX_BYTES - 20_000, "{}", content.bytes);
    assert!(content.traces.contains_key(&id(5_999)) && !content.traces.contains_key(&id(0)));
    assert_eq!(content.order.len(), content.traces.len());
    assert!(content.loose.len() < 500, "{} lines", content.loose.len());
    assert!(content.traces_evicted > 1_000, "{}", content.traces_evicted);
}

#[test]
fn one_trace_leaves_room_for_others_in_spans_and_in_bytes() {
    let store = PageStore::default();
    for _ in 0..20 {
        store.append(spans(1, 1_000, 10)); // 20,000 spans
        store.append(spans(2, 1_000, 2_000)); // 40 MB
    }

    let [many, large] = [1, 2].map(|number| store.get(id(number)).unwrap());
    assert_eq!((many.spans.len(), many.dropped), (MAX_SPANS, 15_000));
    assert!(large.bytes <= MAX_TRACE_BYTES, "{}", large.bytes);
    assert_eq!(large.spans.len() as u64 + large.dropped, 20_000);
    let content = store.content();
    assert_eq!(content.bytes, bytes(&content));
    assert_eq!(content.spans_dropped, many.dropped + large.dropped);
}

#[test]
fn a_part_beyond_the_limit_keeps_its_first_spans_and_facts() {
    let store = PageStore::default();
    store.append(spans(1, MAX_SPANS - 2, 10));
    store.append(spans(1, 5, 20));

    let trace = store.get(id(1)).unwrap();

    assert_eq!((trace.spans.len(), trace.dropped), (MAX_SPANS, 3));
    let payload = trace.payload(SignalKind::Traces).unwrap();
    assert_eq!(payload.items, MAX_SPANS as u64);
    assert_eq!(crate::otlp::payload::items(&payload.bytes).count(), MAX_SPANS);
}

#[test]
fn a_reader_gets_each_changed_trace_once_and_learns_of_a_clearance() {
    let store = PageStore::default();
    store.append(spans(1, 1, 10));
    let since = store.news_since(0).until;
    store.append(spans(2, 1, 10));
    store.append(spans(1, 1, 10));
    store.append(spans(2, 1, 10));

    let news = store.news_since(since);

    let changed: Vec<_> = news.traces.iter().map(|trace| (trace.id, trace.spans.len())).collect();
    assert_eq!(changed, [(id(2), 2), (id(1), 2)]);
    assert!(!news.is_cleared && store.news_since(news.until).traces.is_empty());
    store.clear();
    let cleared = store.news_since(news.until);
    assert!(cleared.is_cleared && cleared.traces.is_empty() && store.snapshot().traces.is_empty());
}
