use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, any_value::Value},
    trace::v1::span::Event,
};
use proptest::prelude::*;

use super::*;
use crate::exporter::drawing::text;
use crate::exporter::drawing::trace::ReceivedSpan;

fn sent(id: u8, parent: u8, name: &str, millis: std::ops::Range<u64>) -> ReceivedSpan {
    let span = Span {
        trace_id: vec![1; 16],
        span_id: vec![id; 8],
        parent_span_id: vec![parent; 8],
        name: name.to_owned(),
        start_time_unix_nano: (1_000 + millis.start) * 1_000_000,
        end_time_unix_nano: (1_000 + millis.end) * 1_000_000,
        ..Span::default()
    };
    ReceivedSpan { span, service: "home".into() }
}

fn text_value(text: &str) -> Option<AnyValue> {
    Some(AnyValue { value: Some(Value::StringValue(text.into())) })
}

fn pair(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.into(), value: text_value(value), ..KeyValue::default() }
}

fn trace(spans: impl IntoIterator<Item = ReceivedSpan>) -> ReceivedTrace {
    ReceivedTrace { spans: spans.into_iter().collect(), ..ReceivedTrace::default() }
}

fn plain(trace: &ReceivedTrace, width: usize, shows_all: bool) -> String {
    let screen = Screen { width: Some(width), trace_url: None };
    anstream::adapter::strip_str(&draw(trace, &screen, shows_all)).to_string()
}

#[test]
fn children_stand_below_their_parent_in_the_order_of_their_start() {
    let trace = trace([
        sent(3, 1, "later", 6..8),
        sent(2, 1, "sooner", 2..6),
        sent(4, 2, "inner", 3..4),
        sent(1, 9, "GET /", 0..10),
    ]);

    let expected = "\
trace 01010101010101010101010101010101 home
GET /       ▕█████████████████████████████████████▏  10.0 ms
├─ sooner   ▕       ███████████████               ▏  4.00 ms
│  └─ inner ▕           ███                       ▏  1.00 ms
└─ later    ▕                      ███████        ▏  2.00 ms

";
    assert_eq!(plain(&trace, 60, false), expected);
}

#[test]
fn a_span_without_a_time_does_not_stretch_the_scale() {
    let mut timeless = sent(2, 1, "timeless", 0..0);
    (timeless.span.start_time_unix_nano, timeless.span.end_time_unix_nano) = (0, 0);
    let trace = trace([sent(1, 9, "GET /", 0..10), sent(3, 1, "half", 5..10), timeless]);

    let drawing = plain(&trace, 60, false);

    let bar = |name: &str| {
        let row = drawing.lines().find(|row| row.contains(name)).expect("a row");
        row.matches('█').count()
    };
    assert_eq!(bar("half"), bar("GET /") / 2 + 1, "{drawing}");
    assert_eq!(bar("timeless"), 1, "{drawing}");
}

#[test]
fn spans_that_are_each_others_parents_are_drawn_once_each() {
    let drawing = plain(&trace([sent(1, 2, "egg", 0..1), sent(2, 1, "hen", 0..1)]), 80, false);

    assert_eq!(drawing.matches("egg").count(), 1);
    assert_eq!(drawing.matches("hen").count(), 1);
}

#[test]
fn control_characters_of_a_span_do_not_reach_the_terminal() {
    let drawing = plain(&trace([sent(1, 0, "a\u{1b}[2Jb\nc\u{202e}d", 0..1)]), 80, false);

    assert!(drawing.contains(r"a\u{1b}[2Jb\nc\u{202e}d"), "{drawing}");
}

#[test]
fn attributes_that_every_request_has_are_shown_only_with_all() {
    let mut sent = sent(1, 9, "GET /", 0..1);
    let attributes =
        [("app.name", "cruddur"), ("faas.trigger", "http"), ("app.result_length", "5")];
    sent.span.attributes.extend(attributes.map(|(key, value)| pair(key, value)));
    let trace = trace([sent]);

    let few = plain(&trace, 80, false);
    let all = plain(&trace, 80, true);

    assert!(few.contains("app.result_length=5") && !few.contains("cruddur"), "{few}");
    assert!(all.contains("app.name=cruddur  faas.trigger=http  app.result_length=5"), "{all}");
}

#[test]
fn a_log_line_stands_below_its_span() {
    let mut trace = trace([sent(1, 9, "GET /", 0..3), sent(2, 1, "handler", 1..2)]);
    trace.lines.push(LogRecord {
        span_id: vec![1; 8],
        severity_number: 13,
        body: text_value("The feed is empty"),
        ..LogRecord::default()
    });

    let drawing = plain(&trace, 80, false);

    let rows: Vec<_> = drawing.lines().collect();
    assert_eq!(rows[2], "│  WARN The feed is empty", "{drawing}");
}

proptest! {
    #[test]
    fn every_row_of_any_trace_fits_the_terminal(
        spans in prop::collection::vec(
            (any::<u8>(), any::<u8>(), any::<u64>(), any::<u64>(), "\\PC{0,60}"), 1..20),
        width in 0..160_usize,
        shows_all: bool,
    ) {
        let trace = trace(spans.into_iter().map(|(id, parent, start, end, word)| {
            let mut sent = sent(id, parent, &word, 0..0);
            let span = &mut sent.span;
            (span.start_time_unix_nano, span.end_time_unix_nano) = (start, end.min(start.saturating_add(1 << 40)));
            span.attributes.push(pair("key", &word));
            let stack = format!("0: {word}\n at ./functions/src/a.rs:1:1");
            let attributes = vec![pair("exception.message", &word), pair("exception.stacktrace", &stack)];
            span.events.push(Event { name: "exception".into(), attributes, ..Event::default() });
            sent
        }));

        let drawing = plain(&trace, width, shows_all);

        for row in drawing.lines() {
            prop_assert!(text::columns(row) <= width.max(MIN_WIDTH), "{row}");
        }
    }
}
