use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{AnyValue, KeyValue, any_value::Value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span::SpanKind},
};
use prost::Message;

use super::*;
use crate::otlp::filter::pattern::{TextPattern, parse_patterns};
use crate::otlp::filter::spans::SpanPattern;
use crate::otlp::mask::{ReadRequest, read_masked};
use crate::scrub::Scrubber;

fn dropping(patterns: &str, at: FilteredAt) -> TelemetryFilter {
    let mut filter = TelemetryFilter::default();
    filter.spans.add(parse_patterns(patterns, SpanPattern::parse).unwrap(), at);
    filter
}

fn text(key: &str, text: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(text.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

/// A span with an id, below `parent`, or without a parent below 0.
fn span(name: &str, id: u8, parent: u8) -> Span {
    let parent_span_id = if parent == 0 { vec![] } else { vec![parent; 8] };
    let (trace_id, span_id) = (vec![1; 16], vec![id; 8]);
    Span { name: name.to_owned(), trace_id, span_id, parent_span_id, ..Span::default() }
}

fn server(method: &str, route: &str, id: u8, parent: u8) -> Span {
    let attributes = vec![
        text("http.request.method", method),
        text("http.route", route),
        text("faas.invocation_id", "r"),
    ];
    let kind = SpanKind::Server as i32;
    Span { kind, attributes, ..span(&format!("{method} {route}"), id, parent) }
}

fn failed(span: Span) -> Span {
    Span { status: Some(Status { code: 2, ..Status::default() }), ..span }
}

fn request(spans: &[Span]) -> bytes::Bytes {
    let scope_spans = vec![ScopeSpans { spans: spans.to_vec(), ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec().into()
}

fn names(payload: &Payload) -> Vec<String> {
    let request = ExportTraceServiceRequest::decode(&payload.bytes[..]).unwrap();
    let scopes = request.resource_spans.into_iter().flat_map(|it| it.scope_spans);
    let names: Vec<_> = scopes.flat_map(|it| it.spans).map(|span| span.name).collect();
    assert_eq!(names.len() as u64, payload.items);
    names
}

fn read(filter: &TelemetryFilter, kind: SignalKind, bytes: bytes::Bytes) -> ReadRequest {
    read_masked(kind, bytes, &Scrubber::new(&[]), filter).unwrap()
}

/// The names of the spans that stay, those that are left out, and whether the server span is marked.
fn filtered(filter: &TelemetryFilter, spans: &[Span]) -> (Vec<String>, Vec<String>, bool) {
    let ReadRequest { payload, mut servers, is_filtered } =
        read(filter, SignalKind::Traces, request(spans));
    assert!(is_filtered, "no span matches");
    let fates = filter.fates(&payload, &mut servers);
    let (mut kept, mut left_out) = (Vec::new(), Vec::new());
    for part in split(payload, &fates) {
        let spans = if part.filtered_at.is_nowhere() { &mut kept } else { &mut left_out };
        spans.extend(names(&part));
    }
    (kept, left_out, servers.iter().any(|server| !server.filtered_at.is_nowhere()))
}

#[test]
fn a_route_matches_server_spans_by_attribute_or_name_and_a_name_matches_all_spans() {
    let by_old_keys = Span {
        attributes: vec![text("http.method", "GET"), text("http.target", "/health?deep=1")],
        ..server("x", "y", 1, 0)
    };
    let by_name = Span { attributes: vec![], ..server("GET", "/health", 1, 0) };
    let client = |name: &str| Span { kind: SpanKind::Client as i32, ..span(name, 1, 0) };
    for (patterns, span, expected) in [
        ("/health", server("GET", "/health", 1, 0), true),
        ("/health", server("GET", "/healthy", 1, 0), false),
        ("*/health", server("GET", "/api/health", 1, 0), true),
        ("GET /health", server("GET", "/health", 1, 0), true),
        ("POST /health", server("GET", "/health", 1, 0), false),
        ("OPTIONS *", server("OPTIONS", "/any", 1, 0), true),
        ("OPTIONS *", Span { attributes: vec![], ..server("OPTIONS", "", 1, 0) }, true),
        ("/health", by_old_keys, true),
        ("*/health", by_name, true),
        ("*/health", client("GET /health"), false),
        ("cache.*", client("cache.get"), true),
        ("cache.*", client("my cache.get"), false),
    ] {
        let filter = dropping(patterns, FilteredAt::HONEYCOMB);
        let ReadRequest { payload, mut servers, is_filtered } =
            read(&filter, SignalKind::Traces, request(std::slice::from_ref(&span)));
        let fates = filter.fates(&payload, &mut servers);

        assert_eq!(
            (is_filtered, !fates[0].is_nowhere()),
            (expected, expected),
            "{patterns}: {span:?}"
        );
    }
}

#[test]
fn the_spans_below_a_span_go_with_it_in_any_order_and_others_stay() {
    let filter = dropping("/health", FilteredAt::HONEYCOMB);
    let spans = [
        span("deep", 3, 2),
        span("child", 2, 1),
        server("GET", "/health", 1, 9),
        server("GET", "/home", 4, 0),
        span("its child", 5, 4),
    ];

    let (kept, left_out, is_marked) = filtered(&filter, &spans);

    assert_eq!(kept, ["GET /home", "its child"]);
    assert_eq!(left_out, ["deep", "child", "GET /health"]);
    assert!(is_marked, "the platform spans of its invocation follow it");
}

#[test]
fn a_failure_keeps_the_spans_above_it_and_beside_it() {
    let filter = dropping("/health", FilteredAt::HONEYCOMB);
    let with_500 = |span: Span| {
        let value = Some(AnyValue { value: Some(Value::IntValue(500)) });
        let key = "http.response.status_code".to_owned();
        let status = KeyValue { key, value, ..KeyValue::default() };
        Span { attributes: [span.attributes, vec![status]].concat(), ..span }
    };
    for spans in [
        vec![failed(server("GET", "/health", 1, 0)), span("child", 2, 1)],
        vec![with_500(server("GET", "/health", 1, 0)), span("child", 2, 1)],
        vec![server("GET", "/health", 1, 0), failed(span("child", 2, 1)), span("beside", 3, 1)],
    ] {
        let (kept, left_out, is_marked) = filtered(&filter, &spans);

        assert_eq!((kept.len(), left_out.len(), is_marked), (spans.len(), 0, false), "{spans:?}");
    }
}

#[test]
fn parents_in_a_circle_or_in_a_long_chain_end() {
    let filter = dropping("/health", FilteredAt::HONEYCOMB);
    let circle = [server("GET", "/health", 1, 2), span("other", 2, 1), failed(span("own", 3, 3))];

    let (kept, left_out, _) = filtered(&filter, &circle);

    assert_eq!((kept.len(), left_out.len()), (1, 2));
}

#[test]
fn a_payload_without_a_match_or_with_one_fate_is_not_copied() {
    let filter = dropping("/health", FilteredAt::EVERYWHERE);
    let bytes = request(&[server("GET", "/home", 1, 0)]);
    let ReadRequest { payload, is_filtered, .. } = read(&filter, SignalKind::Traces, bytes.clone());
    assert!(!is_filtered && payload.bytes.as_ptr() == bytes.as_ptr());

    let bytes = request(&[server("GET", "/health", 1, 0), span("child", 2, 1)]);
    let ReadRequest { payload, mut servers, .. } = read(&filter, SignalKind::Traces, bytes.clone());
    let fates = filter.fates(&payload, &mut servers);
    let [part] = &split(payload, &fates)[..] else { panic!("not one") };
    assert_eq!(part.bytes.as_ptr(), bytes.as_ptr());
    assert!(part.filtered_at.includes("honeycomb") && part.filtered_at.includes("xray"));
}

#[test]
fn records_below_the_level_of_a_destination_are_split_off() {
    let mut filter = TelemetryFilter::default();
    filter.levels.add(FilteredAt::HONEYCOMB, "warn").unwrap();
    filter.levels.add(FilteredAt::CLOUDWATCH, "INFO").unwrap();
    assert!(filter.levels.add(FilteredAt::OTLP, "loud").is_err());
    let record = |severity_number| LogRecord { severity_number, ..LogRecord::default() };
    let log_records = [5, 9, 13, 17].map(record).to_vec();
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
    let bytes = ExportLogsServiceRequest { resource_logs }.encode_to_vec().into();

    let ReadRequest { payload, is_filtered, .. } = read(&filter, SignalKind::Logs, bytes);
    assert!(is_filtered);
    let fates = filter.fates(&payload, &mut []);
    let parts: Vec<_> = split(payload, &fates)
        .into_iter()
        .map(|part| {
            let at = ["honeycomb", "cloudwatch", "otlp"].map(|it| part.filtered_at.includes(it));
            (at, part.items, part.has_error)
        })
        .collect();

    let expected = [
        ([false, false, false], 2, true),
        ([true, false, false], 1, false),
        ([true, true, false], 1, false),
    ];
    assert_eq!(parts, expected);
}

#[test]
fn attributes_are_dropped_and_masked_by_their_whole_key_at_any_depth() {
    let patterns = |list| parse_patterns(list, TextPattern::parse).unwrap();
    let attributes = AttributeFilter { dropped: patterns("db.*"), masked: patterns("enduser.id") };
    let filter = TelemetryFilter { attributes, ..TelemetryFilter::default() };
    let with = |attributes| request(&[Span { attributes, ..span("s", 1, 0) }]);
    let bytes = with(vec![text("db.statement", "a"), text("enduser.id", "b"), text("mydb.x", "c")]);

    let payload = read(&filter, SignalKind::Traces, bytes).payload;

    let expected = with(vec![text("enduser.id", "***"), text("mydb.x", "c")]);
    assert_eq!(payload.bytes, expected);
    let untouched = with(vec![text("http.route", "/a")]);
    let same = read(&filter, SignalKind::Traces, untouched.clone()).payload;
    assert_eq!(same.bytes.as_ptr(), untouched.as_ptr());
}
