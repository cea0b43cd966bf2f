use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span::SpanKind},
};
use prost::Message;

use super::*;

fn request(spans: Vec<Span>) -> Bytes {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec().into()
}

fn span(trace: u8, flags: u32, code: i32) -> Span {
    let status = Some(Status { code, ..Status::default() });
    Span { trace_id: vec![trace; 16], flags, status, ..Span::default() }
}

fn unsampled(trace: u8, code: i32) -> Span {
    let value = Some(AnyValue { value: Some(any_value::Value::IntValue(0)) });
    let key = SAMPLING_PRIORITY.to_owned();
    let attributes = vec![KeyValue { key, value, ..KeyValue::default() }];
    Span { attributes, ..span(trace, 0x100, code) }
}

#[test]
fn unsampled_traces_are_left_out_unless_they_hold_an_error_or_their_sender_sets_no_flags() {
    let request = request(vec![
        span(1, 0x101, 0), // sampled
        unsampled(2, 0),
        unsampled(3, 0), // of a trace with an error
        unsampled(3, 2),
        span(4, 0, 0),     // of a sender that knows no flags
        span(5, 0x100, 0), // of one that knows all but this
    ]);
    assert!(Payload::read(SignalKind::Traces, request.clone()).unwrap().0.has_unsampled);

    let (kept, left_out) = only_sampled(&request).unwrap();

    let traces: Vec<u8> =
        items(&kept).filter_map(|span| nested(span, 1).next()).map(|id| id[0]).collect();
    assert_eq!((traces, left_out), (vec![1, 3, 3, 4, 5], 1));
}

#[test]
fn where_all_is_sampled_nothing_is_copied() {
    assert!(only_sampled(&request(vec![span(1, 0x101, 0)])).is_none());
}

fn attribute(key: &str, text: &str) -> KeyValue {
    let value = Some(any_value::Value::StringValue(text.to_owned()));
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value }), ..KeyValue::default() }
}

#[test]
fn a_server_span_names_its_invocation_in_either_convention_and_not_if_it_is_forwarded() {
    for (key, source, expected) in [
        ("faas.invocation_id", None, Some("r")),
        ("faas.execution", None, Some("r")),
        ("faas.other", None, None),
        ("faas.invocation_id", Some(attribute("cruddur.source", "page")), None),
    ] {
        let server = Span {
            kind: SpanKind::Server as i32,
            attributes: vec![attribute(key, "r")],
            end_time_unix_nano: 1_000_000_000,
            ..span(1, 0, 0)
        };
        let mut request = ExportTraceServiceRequest::decode(request(vec![server])).unwrap();
        let attributes = source.into_iter().collect();
        request.resource_spans[0].resource = Some(Resource { attributes, ..Resource::default() });

        let bytes = request.encode_to_vec().into();
        let (_, servers) = Payload::read(SignalKind::Traces, bytes).unwrap();

        let found = servers.first().map(|server| server.request_id.as_str());
        assert_eq!(found, expected, "{key}");
        let ended = servers.first().and_then(|server| server.ended);
        assert_eq!(ended, expected.and(time_at(1_000_000_000)));
    }
}
