//! Whole documents of spans whose fields repeat each other.

use std::time::SystemTime;

use opentelemetry_proto::tonic::{
    common::v1::KeyValue,
    trace::v1::{
        Span, Status,
        span::{Event, SpanKind},
        status::StatusCode,
    },
};
use serde_json::{Value, json};

use crate::exporter::xray::{
    annotations::AnnotationFilter,
    limits::MAX_ANNOTATIONS,
    serialize::to_bounded_json,
    tests::{attributes, span_id, trace_id},
    translate::{SegmentPlace, translate},
};

fn document(span: &Span, resource: &[KeyValue], is_entry: bool) -> Value {
    let entry = is_entry.then_some(trace_id(7));
    let place =
        SegmentPlace { trace_id: trace_id(1), id: span_id(2), parent: Some(span_id(3)), entry };
    let filter = AnnotationFilter::default();
    let now = SystemTime::now();
    let document = translate(span, resource, &place, &filter, MAX_ANNOTATIONS, now);
    serde_json::from_str(&to_bounded_json(document).0).unwrap()
}

fn failed(message: &str, given: Value, events: Vec<Event>) -> Span {
    Span {
        kind: SpanKind::Client as i32,
        attributes: attributes(given),
        events,
        status: Some(Status { message: message.to_owned(), code: StatusCode::Error as i32 }),
        ..Span::default()
    }
}

fn event(name: &str, given: Value) -> Event {
    Event { name: name.to_owned(), attributes: attributes(given), ..Event::default() }
}

#[test]
fn the_message_of_the_status_is_never_lost() {
    let long = "x".repeat(300);
    let other = || event("exception", json!({ "exception.message": "another" }));
    let same = || event("exception", json!({ "exception.message": "gone" }));
    for (span, expected) in [
        (failed("gone", json!({}), vec![]), Value::Null),
        (failed("gone", json!({}), vec![same()]), Value::Null),
        (failed("gone", json!({}), vec![other()]), json!("gone")),
        (failed(&long, json!({}), vec![]), json!(long)),
    ] {
        let document = document(&span, &[], false);
        assert_eq!(document["metadata"]["default"]["otel.status.message"], expected);
    }
}

#[test]
fn a_call_of_ours_that_dynamodb_throttled_says_so() {
    let dynamodb = json!({
        "db.system.name": "aws.dynamodb", "error.type": "busy",
        "db.response.status_code": "ProvisionedThroughputExceededException",
    });
    let by_exception = event("exception", json!({ "exception.type": "ThrottlingException" }));
    for span in [failed("", dynamodb, vec![]), failed("", json!({}), vec![by_exception])] {
        let document = document(&span, &[], false);
        assert_eq!((&document["throttle"], &document["error"]), (&json!(true), &json!(true)));
        assert_eq!(document["fault"], Value::Null);
    }
}

#[test]
fn an_own_call_is_in_the_functions_region() {
    let resource = attributes(json!({ "cloud.region": "eu-central-1" }));
    let call = json!({ "db.system.name": "aws.dynamodb" });

    let document = document(&failed("", call, vec![]), &resource, false);

    assert_eq!(document["aws"]["region"], "eu-central-1");
}

#[test]
fn an_entry_spans_resource_is_annotated_too() {
    let resource = attributes(json!({ "app.name": "cruddur", "app.x": "less" }));
    let span = failed("", json!({ "app.x": "more" }), vec![]);

    let annotations = |is_entry| document(&span, &resource, is_entry)["annotations"].take();

    let expected =
        json!({ "app": "cruddur", "app_x": "more", "w3c_trace_id": "0".repeat(31) + "7" });
    assert_eq!(annotations(true), expected);
    assert_eq!(annotations(false), json!({ "app_x": "more" }));
}

#[test]
fn of_large_events_each_is_cut_alone() {
    let events = (0..9).map(|n| event(&format!("{n}"), json!({ "body": "x".repeat(20_000) })));

    let document = document(&failed("", json!({}), events.collect()), &[], false);

    for n in 0..9 {
        let event = &document["metadata"]["default"][format!("otel.events.{n}")];
        assert_eq!(event["name"], n.to_string());
        assert_eq!(event["attributes"]["body"].as_str().unwrap().len(), 1_000);
    }
    assert_eq!(document["metadata"]["cruddur"]["trimmed_values"], 9);
}
