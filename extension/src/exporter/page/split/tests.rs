use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{AnyValue, KeyValue, any_value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use prost::Message;

use super::*;

fn text(key: &str, text: &str) -> KeyValue {
    let value = Some(any_value::Value::StringValue(text.to_owned()));
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value }), ..KeyValue::default() }
}

fn span(trace: u8, id: u8) -> Span {
    let name = format!("{trace}/{id}");
    Span { trace_id: vec![trace; 16], span_id: vec![id; 8], name, ..Span::default() }
}

fn resource(service: &str, spans: Vec<Span>) -> ResourceSpans {
    let attributes = vec![text("service.name", service)];
    ResourceSpans {
        resource: Some(Resource { attributes, ..Resource::default() }),
        scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    }
}

fn traces(resource_spans: Vec<ResourceSpans>) -> SplitPayload {
    split(SignalKind::Traces, &ExportTraceServiceRequest { resource_spans }.encode_to_vec())
}

fn id(byte: u8) -> Option<TraceId> {
    TraceId::from_bytes([byte; 16])
}

#[test]
fn each_trace_gets_its_spans_with_their_resources_in_the_order_of_arrival() {
    let made = traces(vec![
        resource("a", vec![span(1, 1), span(2, 2), span(1, 3)]),
        resource("b", vec![span(2, 4), span(1, 5)]),
    ]);

    assert_eq!(made.dropped, 0);
    let found: Vec<_> = made.parts.iter().map(|part| (part.trace_id, part.payload.items)).collect();
    assert_eq!(found, [(id(1), 3), (id(2), 2)]);
    let of_first = ExportTraceServiceRequest::decode(&made.parts[0].payload.bytes[..]).unwrap();
    assert_eq!(
        of_first.resource_spans,
        [resource("a", vec![span(1, 1), span(1, 3)]), resource("b", vec![span(1, 5)])]
    );
    let ids: Vec<u8> = made.parts[0].spans.iter().map(|facts| facts.id[0]).collect();
    assert_eq!(ids, [1, 3, 5]);
}

#[test]
fn a_span_without_a_valid_trace_id_is_counted_and_spans_beyond_the_limit_are_too() {
    let unset = Span { trace_id: vec![0; 16], ..span(1, 1) };
    let short = Span { trace_id: vec![1; 8], ..span(1, 1) };
    let many = std::iter::repeat_n(span(1, 1), MAX_SPANS + 7);
    let made = traces(vec![resource("a", [unset, short].into_iter().chain(many).collect())]);

    assert_eq!(made.dropped, 2);
    assert_eq!(made.parts[0].dropped, 7);
    assert_eq!(made.parts[0].payload.items, MAX_SPANS as u64);
    assert_eq!(made.parts[0].spans.len(), MAX_SPANS);
}

#[test]
fn a_value_of_a_megabyte_is_cut_and_its_span_is_marked() {
    let large = Span { attributes: vec![text("k", &"é".repeat(500_000))], ..span(1, 1) };
    let made = traces(vec![resource("a", vec![large, span(1, 2)])]);

    let part = &made.parts[0];
    assert_eq!(part.spans.iter().map(|span| span.is_cut).collect::<Vec<_>>(), [true, false]);
    assert!(part.payload.bytes.len() < 33 << 10, "{}", part.payload.bytes.len());
}

#[test]
fn log_records_and_lines_go_to_their_trace_and_others_have_none() {
    let record = |trace: u8| LogRecord { trace_id: vec![trace; 16], ..LogRecord::default() };
    let log_records = vec![record(1), record(0), record(1)];
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
    let request = ExportLogsServiceRequest { resource_logs }.encode_to_vec();
    let hex = "01".repeat(16);
    let lines =
        format!("5 {{\"trace_id\":\"{hex}\"}}\n6 {{\"message\":\"m\"}}\n7 {{\"trace_id\":7}}\n");

    let records = split(SignalKind::Logs, &request).parts;
    let lines = split(SignalKind::Lines, lines.as_bytes()).parts;

    let owners = |parts: &[TracePart]| -> Vec<_> {
        parts.iter().map(|part| (part.trace_id, part.payload.items)).collect()
    };
    assert_eq!(owners(&records), [(id(1), 2), (None, 1)]);
    assert_eq!(owners(&lines), [(id(1), 1), (None, 1), (None, 1)]);
}

#[test]
fn a_long_line_keeps_its_ids_and_the_beginning_of_its_texts() {
    let ids = format!("\"trace_id\":\"{}\"", "01".repeat(16));
    let many: Vec<String> = (0..10_000).map(|n| format!("\"k{n}\":\"value\"")).collect();
    for long in [format!("\"x\":\"{}\"", "é".repeat(100_000)), many.join(",")] {
        let line = format!("5 {{\"message\":\"m\",{ids},{long}}}\n");

        let parts = split(SignalKind::Lines, line.as_bytes()).parts;

        assert_eq!(parts[0].trace_id, id(1));
        let text = std::str::from_utf8(&parts[0].payload.bytes).unwrap();
        assert!(text.len() <= (32 << 10) + 3, "{}", text.len());
        assert!(text.contains("\"message\":\"m\""), "{text}");
    }
}

#[test]
fn a_failure_goes_to_the_trace_of_its_item() {
    let hex = "01".repeat(16);
    let item = format!("{{\"data\":{{\"custom\":{{\"trace_id\":\"{hex}\"}}}}}}");
    let lines = format!("id 3 {item}\nid 1 {{}}\n");

    let parts = split(SignalKind::Failures, lines.as_bytes()).parts;

    let found: Vec<_> = parts.iter().map(|part| (part.trace_id, part.payload.items)).collect();
    assert_eq!(found, [(id(1), 3), (None, 1)]);
}
