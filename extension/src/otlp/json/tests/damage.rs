//! Requests with malformed parts.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::otlp::wire;

fn error(json: &str) -> String {
    to_protobuf(&TRACES_REQUEST, json.as_bytes()).unwrap_err().to_string()
}

const BAD_SPANS: [&str; 12] = [
    r#"{"name":7}"#,
    r#"{"traceId":"xyz"}"#,
    r#"{"spanId":"abc"}"#,
    r#"{"startTimeUnixNano":-1}"#,
    r#"{"startTimeUnixNano":1.5}"#,
    r#"{"droppedEventsCount":4294967296}"#,
    r#"{"kind":{}}"#,
    r#"{"attributes":{}}"#,
    r#"{"attributes":[{"value":{"boolValue":"true"}}]}"#,
    r#"{"attributes":[{"value":{"bytesValue":"*"}}]}"#,
    r#"{"name":undefined,"kind" 2}"#,
    "42",
];

#[test]
fn a_malformed_span_is_left_out_and_counted_and_its_neighbours_live() {
    for bad in BAD_SPANS {
        let json = with_spans(&format!(r#"[{{"name":"a"}}, {bad}, {{"name":"b"}},{bad}]"#));

        let request = to_protobuf(&TRACES_REQUEST, json.as_bytes()).unwrap();

        let names: Vec<_> = spans_of(&request.bytes).into_iter().map(|it| it.name).collect();
        assert_eq!((names, request.dropped), (vec!["a".into(), "b".into()], 2), "{bad}");
        let reason = request.reason.unwrap().to_string();
        assert!(reason.starts_with("resourceSpans[0].scopeSpans[0].spans[1]"), "{bad}: {reason}");
        assert!(error(&with_spans(&format!("[{bad}]"))).contains("spans[0]"), "{bad}");
    }
}

#[test]
fn a_reason_names_the_field_and_never_the_value() {
    let json = with_spans(
        r#"[{"name":"a"},{"attributes":[{"key":"k"},{"value":{"kvlistValue":{"values":[{"value":{"intValue":"secret"}}]}}}]}]"#,
    );

    let reason = to_protobuf(&TRACES_REQUEST, json.as_bytes()).unwrap().reason.unwrap();

    let path = "resourceSpans[0].scopeSpans[0].spans[1].attributes[1].value.kvlistValue.values[0].value.intValue";
    let at = json.find("\"secret\"").unwrap() + "\"secret\"".len();
    assert_eq!(reason.to_string(), format!("{path}: is not a number (byte {at})"));
}

#[test]
fn a_malformed_data_point_costs_itself_and_a_metric_without_any_other_point() {
    let (values, dropped) = points(r#"[{"asInt":"1"},{"asInt":"x"},{"asDouble":"NaN"}]"#);
    assert_eq!((values.len(), dropped), (2, 1));
    assert_eq!(values[0], Some(number_data_point::Value::AsInt(1)));

    let json = with_points(r#"[{"asInt":"x"}]"#);
    let emptied = to_protobuf(&METRICS_REQUEST, json.as_bytes()).unwrap_err().to_string();
    assert!(emptied.contains("metrics[0].gauge.dataPoints[0].asInt: is not a number"), "{emptied}");
    let json = json.replace(r#"{"gauge""#, r#"{"name":"good"},{"gauge""#);
    let request = to_protobuf(&METRICS_REQUEST, json.as_bytes()).unwrap();
    let decoded = ExportMetricsServiceRequest::decode(&request.bytes[..]).unwrap();
    assert_eq!(decoded.resource_metrics[0].scope_metrics[0].metrics.len(), 1);
    assert_eq!(request.dropped, 1);
}

#[test]
fn damage_outside_of_the_items_refuses_the_request_with_its_place() {
    for (json, expected) in [
        ("", "the request: is not an object (byte 0)"),
        ("[]", "the request: is not an object (byte 0)"),
        ("{} {}", "the request: more follows after the request (byte 3)"),
        (r#"{"resourceSpans":7}"#, "resourceSpans: is not a list (byte 17)"),
        (r#"{"resourceSpans":[}"#, "resourceSpans[0]: is not an object (byte 18)"),
        (r#"{"resourceSpans":["#, "resourceSpans[0]: is not an object (byte 18)"),
        (r#"{"resourceSpans":[],}"#, "the request: is not a text (byte 20)"),
        (r#"{"x":[}"#, "the request: a value is missing (byte 6)"),
        (r#"{"x":"#, "the request: the end is missing (byte 5)"),
        (r#"{"x":"\"#, "the request: the end of a text is missing (byte 8)"),
        (
            r#"{"resourceSpans":[{"resource":{"attributes":[{"key":1}]}}]}"#,
            "resourceSpans[0].resource.attributes[0].key: is not a text (byte 52)",
        ),
        (
            r#"{"resourceSpans":[{"instrumentationLibrarySpans":[]}]}"#,
            "resourceSpans[0]: has a field of OTLP before 0.16: update the sender (byte 49)",
        ),
    ] {
        assert_eq!(error(json), expected, "{json}");
    }
    let whole = with_spans(r#"[{"name":"a\n","kind":2,"attributes":[{"key":"b"},null]}]"#);
    for end in 0..whole.len() {
        error(&whole[..end]);
    }
}

#[test]
fn nesting_to_protobufs_limit_is_accepted_and_a_deeper_item_is_left_out() {
    let nested = |levels: usize| {
        let open = r#"{"arrayValue":{"values":["#.repeat(levels);
        let close = "]}}".repeat(levels);
        format!(r#"{{"attributes":[{{"value":{open}{{"intValue":1}}{close}}}]}}"#)
    };
    // The span is at level 3 and the outermost value at level 5; each list adds two.
    let limit = (MAX_DEPTH as usize - 5) / 2;
    let json = with_spans(&format!("[{},{}]", nested(limit), nested(limit + 1)));

    let request = to_protobuf(&TRACES_REQUEST, json.as_bytes()).unwrap();

    assert_eq!(wire::check(&TRACES_REQUEST, &request.bytes), Ok(()));
    assert_eq!(request.dropped, 1);
    assert!(request.reason.unwrap().to_string().contains("is nested too deeply"));
    let json = with_spans(&format!("[{}]", nested(500_000)));
    assert!(error(&json).contains("is nested too deeply"));
}

#[test]
fn the_time_is_linear_in_the_size() {
    let megabytes = |text: &str, count: usize| {
        let items = vec![text; count].join(",");
        let json = with_spans(&format!("[{{}},{items}]"));
        let begun = Instant::now();
        let _ = to_protobuf(&TRACES_REQUEST, json.as_bytes());
        begun.elapsed()
    };
    for text in
        [r#"{"name":7,"attributes":[{"key":"aaaaaaaaaaaaaaaa"}]}"#, "{}", r#"{"name":"\u0061\""}"#]
    {
        let (small, large) = (megabytes(text, 10_000), megabytes(text, 100_000));

        // Ten times the size; quadratic time would be a hundred times as long.
        assert!(large < small * 40 + Duration::from_millis(50), "{text}: {small:?}, {large:?}");
    }
}

/// Pieces of OTLP/JSON, which a random sequence often joins to something almost legal.
fn token() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(
            &["{", "}", "[", "]", ",", ":", "\"", "\\", "\\u", "d83d", "null", "1", "-", "é"][..]
        )
        .prop_map(str::to_owned),
        prop::sample::select(
            &[
                "spans",
                "name",
                "attributes",
                "value",
                "arrayValue",
                "values",
                "kind",
                "events",
                "flags",
                "x"
            ][..]
        )
        .prop_map(|name| format!("\"{name}\":")),
    ]
}

/// A JSON value that is seldom one that OTLP has at its place.
fn value_of_any_shape() -> impl Strategy<Value = String> {
    let scalars = [
        "null",
        "true",
        "0",
        "-1.5e3",
        "\"\"",
        "\"SPAN_KIND_SERVER\"",
        "\"\\ud83d{\"",
        "undefined",
    ];
    let scalar = prop::sample::select(scalars.to_vec()).prop_map(str::to_owned);
    let names = ["key", "value", "attributes", "arrayValue", "values", "code", "x"];
    scalar.prop_recursive(6, 40, 4, move |inner| {
        let entry = (prop::sample::select(names.to_vec()), inner.clone());
        let entry = entry.prop_map(|(name, value)| format!("\"{name}\":{value}"));
        let list = prop::collection::vec(inner, 0..4).prop_map(|it| format!("[{}]", it.join(",")));
        let object =
            prop::collection::vec(entry, 0..4).prop_map(|it| format!("{{{}}}", it.join(",")));
        prop_oneof![list, object]
    })
}

proptest! {
    #[test]
    fn whatever_follows_in_a_request_the_translation_passes_the_check(
        tokens in prop::collection::vec(token(), 0..40)
    ) {
        let json = with_spans(&format!("[{{\"name\":\"a\",{}", tokens.concat()));

        if let Ok(request) = to_protobuf(&TRACES_REQUEST, json.as_bytes()) {
            prop_assert_eq!(wire::check(&TRACES_REQUEST, &request.bytes), Ok(()));
        }
    }

    #[test]
    fn whatever_value_a_field_has_the_neighbours_of_its_span_live(
        field in prop::sample::select(&["name", "kind", "flags", "events", "status", "attributes"][..]),
        value in value_of_any_shape(),
    ) {
        let json =
            with_spans(&format!("[{{\"name\":\"a\"}},{{\"{field}\":{value}}},{{\"name\":\"b\"}}]"));

        let request = to_protobuf(&TRACES_REQUEST, json.as_bytes()).unwrap();

        let spans = spans_of(&request.bytes);
        prop_assert_eq!(spans.len() as u64 + request.dropped, 3);
        prop_assert_eq!((&*spans[0].name, &*spans.last().unwrap().name), ("a", "b"));
    }
}
