//! Every span gives a document that X-Ray accepts.

use std::{sync::LazyLock, time::SystemTime};

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList, any_value::Value},
    trace::v1::{
        Span, Status,
        span::{Event, Link},
    },
};
use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::exporter::xray::{
    annotations::AnnotationFilter,
    attributes::NAMES,
    limits::MAX_ANNOTATIONS,
    serialize::to_bounded_json,
    tests::{schema::Schema, span_id, trace_id},
    translate::{SegmentPlace, translate},
};

static SCHEMA: LazyLock<Schema> = LazyLock::new(Schema::new);

/// Text of every kind, long ones included.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => ".{0,40}",
        2 => "[a-zA-Z0-9./: ]{0,60}",
        1 => select(vec!["\u{0}".repeat(400), "é".repeat(20_000), "\"".repeat(70_000)]),
    ]
}

fn value() -> impl Strategy<Value = AnyValue> {
    let leaf = prop_oneof![
        6 => text().prop_map(Value::StringValue),
        1 => any::<bool>().prop_map(Value::BoolValue),
        2 => any::<i64>().prop_map(Value::IntValue),
        1 => any::<f64>().prop_map(Value::DoubleValue),
        1 => vec(any::<u8>(), 0..40).prop_map(Value::BytesValue),
    ];
    let nested = leaf.prop_recursive(8, 40, 6, |inner| {
        let inner = option::of(inner).prop_map(|value| AnyValue { value }).boxed();
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(|values| Value::ArrayValue(ArrayValue { values })),
            vec((".{0,9}", inner), 0..6).prop_map(|pairs| Value::KvlistValue(KeyValueList {
                values: pairs.into_iter().map(|(key, value)| key_value(key, value)).collect(),
            })),
        ]
    });
    option::weighted(0.98, nested).prop_map(|value| AnyValue { value })
}

/// Names with a meaning, and any other.
fn attribute() -> impl Strategy<Value = KeyValue> {
    let known: Vec<&str> = NAMES.iter().map(|(name, ..)| *name).collect();
    let others = [
        "app.x",
        "app.y",
        "http.route",
        "exception.message",
        "exception.type",
        "exception.stacktrace",
        "service.name",
        "service.version",
        "aws.log.group.names",
        "telemetry.sdk.name",
        "telemetry.sdk.language",
        "aws.xray.metadata.x",
        "aws.xray.metadata.AWS.x",
    ];
    let key = prop_oneof![
        3 => select(known).prop_map(str::to_owned),
        2 => select(others.to_vec()).prop_map(str::to_owned),
        2 => "(app\\.)?.{0,30}",
        1 => text(),
    ];
    let systems =
        ["aws-api", "aws.dynamodb", "mysql", "redis", "[1,2]", "404", "ThrottlingException"];
    let word = select(systems.to_vec())
        .prop_map(|word| AnyValue { value: Some(Value::StringValue(word.to_owned())) });
    (key, prop_oneof![3 => value(), 1 => word]).prop_map(|(key, value)| key_value(key, value))
}

fn key_value(key: String, value: AnyValue) -> KeyValue {
    KeyValue { key, value: Some(value), ..KeyValue::default() }
}

fn event() -> impl Strategy<Value = Event> {
    let name = prop_oneof![2 => Just("exception".to_owned()), 1 => text()];
    (name, any::<u64>(), vec(attribute(), 0..6)).prop_map(|(name, time_unix_nano, attributes)| {
        Event { name, time_unix_nano, attributes, ..Event::default() }
    })
}

prop_compose! {
    fn span()(
        name in text(),
        kind in -1..7,
        times in any::<(u64, u64)>(),
        attributes in vec(attribute(), 0..40),
        events in vec(event(), 0..6),
        links in vec(vec(any::<u8>(), 0..20), 0..3),
        status in option::of((0..4, text())),
    ) -> Span {
        Span {
            name,
            kind,
            start_time_unix_nano: times.0,
            end_time_unix_nano: times.1,
            attributes,
            events,
            links: links.into_iter().map(|id| Link { span_id: id, ..Link::default() }).collect(),
            status: status.map(|(code, message)| Status { code, message }),
            ..Span::default()
        }
    }
}

#[track_caller]
fn complaints(span: &Span, resource: &[KeyValue], place: &SegmentPlace) -> Vec<String> {
    let filter = AnnotationFilter::default();
    let document = translate(span, resource, place, &filter, MAX_ANNOTATIONS, SystemTime::now());
    SCHEMA.complaints(&to_bounded_json(document).0)
}

fn place(parent: Option<u64>, is_entry: bool) -> SegmentPlace {
    let entry = is_entry.then_some(trace_id(7));
    SegmentPlace { trace_id: trace_id(1), id: span_id(2), parent: parent.map(span_id), entry }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))] // large spans, and a schema without haste

    #[test]
    fn any_span_gives_an_accepted_document(
        span in span(),
        resource in vec(attribute(), 0..8),
        parent in option::of(1..u64::MAX),
        is_entry: bool,
    ) {
        let found = complaints(&span, &resource, &place(parent, is_entry));
        prop_assert!(found.is_empty(), "{found:#?}");
    }
}

#[test]
fn large_spans_are_trimmed_to_what_fits() {
    let text = |text: String| AnyValue { value: Some(Value::StringValue(text)) };
    let of = |attributes: Vec<KeyValue>| Span { attributes, ..Span::default() };
    let spans = [
        of(vec![key_value("a".into(), text("x".repeat(1 << 20)))]),
        of((0..10_000).map(|n| key_value(format!("key {n}"), text("value".into()))).collect()),
        of((0..10_000).map(|n| key_value(format!("app.{n}"), text("\u{1}".repeat(250)))).collect()),
        of(vec![key_value("x".repeat(1 << 20), text("y".into()))]),
    ];
    for span in spans {
        for place in [place(Some(3), false), place(None, true)] {
            let document = translate(
                &span,
                &[],
                &place,
                &AnnotationFilter::default(),
                MAX_ANNOTATIONS,
                SystemTime::now(),
            );
            let (json, trimmed) = to_bounded_json(document);
            assert_eq!(SCHEMA.complaints(&json), Vec::<String>::new());
            assert_ne!(trimmed, 0);
            let json: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert_eq!(json["metadata"]["cruddur"]["trimmed_values"], trimmed);
        }
    }
}

/// Fields within their own limits.
#[test]
fn fields_that_are_too_large_together_are_given_up_and_counted() {
    let text = |text: &str| AnyValue { value: Some(Value::StringValue(text.to_owned())) };
    let widest = text(&"\u{1}".repeat(250));
    let list = |count| {
        let values = vec![widest.clone(); count];
        AnyValue { value: Some(Value::ArrayValue(ArrayValue { values })) }
    };
    let stack: String = (0..60)
        .map(|n| format!("{n}: {}\n at {}:1:1\n", "f".repeat(250), "p".repeat(250)))
        .collect();
    let exception = Event {
        name: "exception".to_owned(),
        attributes: vec![
            key_value("exception.message".into(), widest.clone()),
            key_value("exception.type".into(), widest.clone()),
            key_value("exception.stacktrace".into(), text(&stack)),
        ],
        ..Event::default()
    };
    let names = NAMES.iter().map(|(name, ..)| key_value((*name).to_owned(), widest.clone()));
    let names = names.filter(|it| !["db.system", "db.system.name"].contains(&it.key.as_str()));
    let mut attributes: Vec<KeyValue> = names.collect();
    let tables = attributes.iter_mut().find(|it| it.key == "aws.dynamodb.table_names");
    tables.unwrap().value = Some(list(25));
    attributes.push(key_value("db.system.name".into(), text("aws.dynamodb")));
    attributes.extend((0..50).map(|n| key_value(format!("app.{n}"), widest.clone())));
    let span = Span { attributes, events: vec![exception; 4], ..Span::default() };
    let resource = ["service.version", "telemetry.sdk.name", "telemetry.sdk.language"];
    let resource = resource.map(|key| key_value(key.to_owned(), widest.clone()));
    let groups = key_value("aws.log.group.names".into(), list(10));
    let resource: Vec<_> = resource.into_iter().chain([groups]).collect();

    for place in [place(Some(3), false), place(None, true)] {
        let now = SystemTime::now();
        let document =
            translate(&span, &resource, &place, &AnnotationFilter::default(), MAX_ANNOTATIONS, now);
        let (json, trimmed) = to_bounded_json(document);

        assert_eq!(SCHEMA.complaints(&json), Vec::<String>::new());
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["metadata"]["cruddur"]["trimmed_values"], trimmed);
        assert_eq!(json["cause"]["exceptions"][0]["truncated"], 60);
        assert_eq!(json["aws"]["table_names"], serde_json::Value::Null);
    }
}

#[test]
fn a_value_nested_as_deep_as_the_receiver_lets_it_is_accepted() {
    let mut value = AnyValue { value: Some(Value::BoolValue(true)) };
    for _ in 0..45 {
        value = AnyValue { value: Some(Value::ArrayValue(ArrayValue { values: vec![value] })) };
    }
    let span = Span { attributes: vec![key_value("a".into(), value)], ..Span::default() };

    assert_eq!(complaints(&span, &[], &place(Some(3), false)), Vec::<String>::new());
}
