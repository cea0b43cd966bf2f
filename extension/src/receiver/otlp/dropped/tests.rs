//! Requests of which the decoder drops a part without an error.

use proptest::prelude::*;

use crate::otlp::payload::SignalKind;
use crate::receiver::otlp::http::to_protobuf;

fn metric(data: &str) -> String {
    format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[
            {{"name":"good","gauge":{{"dataPoints":[{{"asInt":"5"}}]}}}},{{"name":"m",{data}}}
        ]}}]}}]}}"#
    )
}

fn error(kind: SignalKind, json: &str) -> String {
    to_protobuf(kind, json.as_bytes()).map_or_else(|error| error.to_string(), |_| String::new())
}

#[test]
fn a_value_that_would_empty_a_metric_is_refused_with_its_name() {
    for (data, field) in [
        (r#""gauge":{"dataPoints":[{"asDouble":"NaN"}]}"#, "asDouble"),
        (r#""gauge":{"dataPoints":[{"asInt":"5","exemplars":null}]}"#, "gauge"),
        (r#""gauge":{"dataPoints":[{"asInt":"5","exemplars":[{"asInt":"x"}]}]}"#, "asInt"),
        (r#""sum":{"dataPoints":[{"asInt":1.5}]}"#, "asInt"),
        (r#""sum":{"aggregationTemporality":"AGGREGATION_TEMPORALITY_DELTA"}"#, "sum"),
        (r#""sum":{"dataPoints":[{"asInt":"5"},{"asInt":{}}]}"#, "asInt"),
        (r#""histogram":{"dataPoints":[{"sum":"Infinity"}]}"#, "histogram"),
        (r#""exponentialHistogram":{"dataPoints":[{"scale":"x"}]}"#, "exponentialHistogram"),
        (r#""summary":{"dataPoints":[{"quantileValues":null}]}"#, "summary"),
        (
            r#""gauge":{"dataPoints":[{"asInt":"5","attributes":[{"key":"a","value":{"doubleValue":"NaN"}}]}]}"#,
            "gauge",
        ),
    ] {
        let error = error(SignalKind::Metrics, &metric(data));

        assert!(error.starts_with(&format!("metric \"m\": {field}: ")), "{data}: {error}");
    }
}

#[test]
fn metrics_without_a_wrong_value_are_accepted() {
    for data in [
        r#""unit":"s""#,
        r#""futureData":{}"#,
        r#""gauge":{"dataPoints":[{"asDouble":1.5},{"asInt":5},{}]}"#,
        r#""gauge":{"dataPoints":[{"flags":1,"asInt":null}]}"#,
        r#""sum":{"aggregationTemporality":2,"dataPoints":[{"asInt":"5","exemplars":[{"asDouble":1}]}]}"#,
        r#""histogram":{"dataPoints":[{"sum":1,"count":"2","exemplars":[{"asDouble":1}]}]}"#,
    ] {
        assert_eq!(error(SignalKind::Metrics, &metric(data)), "", "{data}");
    }
}

#[test]
fn a_field_in_snake_case_is_refused_with_its_name() {
    for (kind, json, name) in [
        (SignalKind::Traces, r#"{"resource_spans":[]}"#, "resource_spans"),
        (
            SignalKind::Traces,
            r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"key":"a","value":{"string_value":"b"}}]}]}]}]}"#,
            "string_value",
        ),
        (
            SignalKind::Logs,
            r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"kvlist_value":{}}}]}]}]}"#,
            "kvlist_value",
        ),
        (SignalKind::Metrics, &metric(r#""exponential_histogram":{}"#), "exponential_histogram"),
        (SignalKind::Metrics, &metric(r#""gauge":{"dataPoints":[{"as_int":"5"}]}"#), "as_int"),
        (
            SignalKind::Traces,
            r#"{"resourceSpans":[{"instrumentationLibrarySpans":[]}]}"#,
            "instrumentationLibrarySpans",
        ),
    ] {
        let error = error(kind, json);

        assert!(error.contains(&format!("the field {name} ")), "{json}: {error}");
    }
}

#[test]
fn unknown_fields_and_underscores_in_values_are_accepted() {
    for json in [
        r#"{"resourceSpans":[{"newField":{"Other_field":1,"_comment":null,"x_1":[true]}}]}"#,
        r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service_name","value":{"stringValue":"a_b"}}]}}]}"#,
    ] {
        assert_eq!(error(SignalKind::Traces, json), "");
    }
}

proptest! {
    #[test]
    fn no_json_makes_the_check_panic(json in r#"[\[{]?("metrics"|"gauge"|"as_int"|[:,\[\]{}1n"]){0,12}"#) {
        let _ = to_protobuf(SignalKind::Metrics, json.as_bytes());
    }
}
