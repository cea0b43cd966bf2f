mod damage;
mod differential;

use opentelemetry_proto::tonic::{
    collector::{metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::any_value::Value,
    metrics::v1::{metric::Data, number_data_point},
    trace::v1::Span,
};
use prost::Message;

use super::*;
use crate::otlp::schema::{METRICS_REQUEST, TRACES_REQUEST};

/// A request whose only scope has these spans.
fn with_spans(spans: &str) -> String {
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":{spans}}}]}}]}}"#)
}

fn with_points(points: &str) -> String {
    format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"gauge":{{"dataPoints":{points}}}}}]}}]}}]}}"#
    )
}

fn spans_of(protobuf: &[u8]) -> Vec<Span> {
    let request = ExportTraceServiceRequest::decode(protobuf).unwrap();
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).collect()
}

/// The only span of a request without damage.
fn span(fields: &str) -> Span {
    let json = with_spans(&format!("[{{{fields}}}]"));
    let request = to_protobuf(&TRACES_REQUEST, json.as_bytes()).unwrap();
    assert_eq!((request.dropped, request.reason), (0, None), "{fields}");
    spans_of(&request.bytes).swap_remove(0)
}

/// The value of an attribute.
fn value(json: &str) -> Option<Value> {
    let span = span(&format!(r#""attributes":[{{"key":"a","value":{json}}}]"#));
    span.attributes[0].value.clone().and_then(|it| it.value)
}

/// The values of a gauge, and the number of left out points.
fn points(json: &str) -> (Vec<Option<number_data_point::Value>>, u64) {
    let request = to_protobuf(&METRICS_REQUEST, with_points(json).as_bytes()).unwrap();
    let decoded = ExportMetricsServiceRequest::decode(&request.bytes[..]).unwrap();
    let metric = &decoded.resource_metrics[0].scope_metrics[0].metrics[0];
    let Some(Data::Gauge(gauge)) = &metric.data else { panic!("{metric:?}") };
    (gauge.data_points.iter().map(|point| point.value).collect(), request.dropped)
}

#[test]
fn a_number_may_be_a_text_an_integer_or_a_fraction_without_a_rest() {
    for (json, expected) in [
        ("42", 42),
        ("\"42\"", 42),
        ("42.0", 42),
        ("4.2e1", 42),
        ("\"-42.0\"", -42),
        ("9223372036854775807", i64::MAX),
        ("\"-9223372036854775808\"", i64::MIN),
        ("-0", 0),
    ] {
        let found = value(&format!(r#"{{"intValue":{json}}}"#));

        assert_eq!(found, Some(Value::IntValue(expected)), "{json}");
    }
}

#[test]
fn a_double_may_be_infinite_and_not_a_number_with_and_without_quotes() {
    for (json, expected) in [
        ("\"Infinity\"", f64::INFINITY),
        ("-Infinity", f64::NEG_INFINITY),
        ("\"1.5\"", 1.5),
        ("1", 1.0),
        ("0.1", 0.1),
        ("5e-324", 5e-324),
    ] {
        let found = value(&format!(r#"{{"doubleValue":{json}}}"#));

        assert_eq!(found, Some(Value::DoubleValue(expected)), "{json}");
    }
    for json in ["NaN", "\"NaN\""] {
        let found = value(&format!(r#"{{"doubleValue":{json}}}"#));

        assert!(matches!(found, Some(Value::DoubleValue(it)) if it.is_nan()), "{json}: {found:?}");
    }
}

#[test]
fn bytes_are_base64_of_either_alphabet_padded_or_not_and_ids_are_hex() {
    for json in ["+/8=", "-_8=", "+/8", "-_8"] {
        let found = value(&format!(r#"{{"bytesValue":"{json}"}}"#));

        assert_eq!(found, Some(Value::BytesValue(vec![0xfb, 0xff])), "{json}");
    }
    let span =
        span(r#""traceId":"0102030405060708090A0b0c0d0e0f10","spanId":"","parentSpanId":null"#);
    assert_eq!(span.trace_id, (1..=16).collect::<Vec<u8>>());
    assert_eq!((span.span_id, span.parent_span_id), (vec![], vec![]));
}

#[test]
fn empty_lists_maps_and_values_arrive() {
    let empty_list = value(r#"{"arrayValue":{}}"#);
    assert!(matches!(empty_list, Some(Value::ArrayValue(list)) if list.values.is_empty()));
    let empty_map = value(r#"{"kvlistValue":{"values":null}}"#);
    assert!(matches!(empty_map, Some(Value::KvlistValue(map)) if map.values.is_empty()));
    assert_eq!(value("{}"), None);
    assert_eq!(value("null"), None);
    let zero = value(r#"{"intValue":0}"#);
    assert_eq!(zero, Some(Value::IntValue(0)));
}

#[test]
fn null_is_an_absent_field_anywhere_and_an_empty_value_in_a_list_of_values() {
    let span = span(
        r#""name":null,"kind":null,"attributes":null,"events":null,"status":{"code":2,"message":null},"flags":null"#,
    );
    assert_eq!((span.name.as_str(), span.kind, span.flags), ("", 0, 0));
    assert_eq!(span.status.unwrap().code, 2);
    let list = value(r#"{"arrayValue":{"values":[{"intValue":1},null,{"intValue":2}]}}"#);
    let Some(Value::ArrayValue(list)) = list else { panic!("{list:?}") };
    let values: Vec<_> = list.values.into_iter().map(|it| it.value).collect();
    assert_eq!(values, [Some(Value::IntValue(1)), None, Some(Value::IntValue(2))]);
    let request = to_protobuf(&TRACES_REQUEST, with_spans("[null,{}]").as_bytes()).unwrap();
    assert_eq!((spans_of(&request.bytes).len(), request.dropped), (1, 0));
}

#[test]
fn an_enum_may_be_a_name_or_a_number_and_an_unknown_name_is_skipped() {
    for (json, expected) in [
        ("2", 2),
        ("\"2\"", 2),
        ("\"SPAN_KIND_SERVER\"", 2),
        ("99", 99),
        ("\"SPAN_KIND_OF_THE_FUTURE\"", 0),
    ] {
        assert_eq!(span(&format!(r#""kind":{json}"#)).kind, expected, "{json}");
    }
}

#[test]
fn a_field_may_be_in_snake_case_and_unknown_fields_are_skipped() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let span = span(&format!(
        r#""start_time_unix_nano":"7","Name":1,"endTime":{{"a":["}}",null,-1e5]}},"x":{deep},"name":"n""#
    ));

    assert_eq!((span.start_time_unix_nano, span.name.as_str()), (7, "n"));
}

#[test]
fn of_a_field_that_occurs_twice_the_last_scalar_counts_lists_concatenate_and_messages_merge() {
    let span = span(
        r#""name":"a","attributes":[{"key":"1"}],"status":{"code":2},"name":"","attributes":[{"key":"2"}],"status":{"message":"m"}"#,
    );

    assert_eq!((span.name.as_str(), span.attributes.len()), ("", 2));
    let status = span.status.unwrap();
    assert_eq!((status.code, status.message.as_str()), (2, "m"));
}

#[test]
fn escapes_are_decoded_and_half_a_pair_or_an_invalid_escape_becomes_the_replacement_character() {
    for (json, expected) in [
        (r#"a\"\\\/\b\f\n\r\t\u00e9"#, "a\"\\/\u{8}\u{c}\n\r\té"),
        (r"\ud83d\ude00", "😀"),
        (r"x\ud83d", "x\u{fffd}"),
        (r"\ud83dx", "\u{fffd}x"),
        (r"\ude00\ud83d", "\u{fffd}\u{fffd}"),
        (r"\ud83d\ud83d\ude00", "\u{fffd}😀"),
        (r"\ud83d\n", "\u{fffd}\n"),
        (r"\q\u12", "\u{fffd}\u{fffd}12"),
        ("tab\tin a text", "tab\tin a text"),
    ] {
        assert_eq!(span(&format!(r#""name":"{json}""#)).name, expected, "{json}");
    }
    let not_utf_8 = with_spans(r#"[{"name":"caf#"}]"#).replace('#', "\u{fffd}");
    let not_utf_8 = not_utf_8.into_bytes();
    let at = not_utf_8.windows(3).position(|it| it == "\u{fffd}".as_bytes()).unwrap();
    let not_utf_8 = [&not_utf_8[..at], b"\xe9", &not_utf_8[at + 3..]].concat();
    let request = to_protobuf(&TRACES_REQUEST, &not_utf_8).unwrap();
    assert_eq!(spans_of(&request.bytes)[0].name, "caf\u{fffd}");
}

#[test]
fn braces_in_a_text_and_many_small_objects_do_not_count_as_nesting() {
    let name = "{".repeat(200_000);
    let spans = with_spans(&format!(r#"[{{"name":"{name}"}}{}]"#, ",{}".repeat(150_000)));

    let request = to_protobuf(&TRACES_REQUEST, spans.as_bytes()).unwrap();

    assert_eq!(spans_of(&request.bytes).len(), 150_001);
}
