use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::{Status, span::Event, status::StatusCode},
};
use proptest::prelude::*;

use super::*;

const ID: &str = "6b0cdc7aacf6aa76a19968e50f15de40";

fn pair(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.into())) });
    KeyValue { key: key.into(), value, ..KeyValue::default() }
}

/// A request at 13:45:01 that took 5.31 ms.
fn request(route: &str, status: &str) -> Span {
    let attributes = [
        ("http.request.method", "GET"),
        ("http.route", route),
        ("http.response.status_code", status),
        ("faas.coldstart", "true"),
        ("app.user_id", "1f3c9a2b-0000-4000-8000-000000000000"),
    ];
    let start = 1_796_046_301_000_000_000;
    Span {
        trace_id: u128::from_str_radix(ID, 16).expect("hex").to_be_bytes().to_vec(),
        span_id: vec![1; 8],
        start_time_unix_nano: start,
        end_time_unix_nano: start + 5_310_000,
        attributes: attributes.map(|(key, value)| pair(key, value)).to_vec(),
        ..Span::default()
    }
}

fn failed_request() -> Span {
    let stack = "0: cruddur::store::read::{{closure}}\n at ./functions/src/store/mod.rs:12:5\n\
                 1: {async_fn#0}<fn(&cruddur::App) -> B>\n at ./functions/src/runtime/mod.rs:97:42\n\
                 2: core::future::poll\n at /rustc/0/core/future.rs:1:1";
    let attributes = vec![
        pair("exception.type", "Panic"),
        pair("exception.message", "the store\nis empty"),
        pair("exception.stacktrace", stack),
    ];
    Span {
        status: Some(Status { code: StatusCode::Error as i32, ..Status::default() }),
        events: vec![Event { name: "exception".into(), attributes, ..Event::default() }],
        ..request("/api/activities/home", "500")
    }
}

fn drawn(spans: Vec<Span>, screen: &Screen) -> String {
    let spans = spans.into_iter().map(|span| ReceivedSpan { span, service: "home".into() });
    draw(&ReceivedTrace { spans: spans.collect(), ..ReceivedTrace::default() }, screen)
}

fn plain(span: Span, width: Option<usize>) -> String {
    let drawing = drawn(vec![span], &Screen { width, trace_url: None });
    anstream::adapter::strip_str(&drawing).to_string()
}

#[test]
fn a_request_is_a_row_and_its_least_important_parts_are_left_out_of_a_narrow_terminal() {
    let request = || request("/api/activities/home", "200");

    for (width, expected) in [
        (
            Some(120),
            "13:45:01 GET /api/activities/home       200  5.31 ms cold user 1f3c9a2b \
             6b0cdc7aacf6aa76a19968e50f15de40",
        ),
        (
            Some(80),
            "13:45:01 GET /api/activities/home       200  5.31 ms cold user 1f3c9a2b 0f15de40",
        ),
        (Some(60), "13:45:01 GET /api/activities/home 200  5.31 ms cold 0f15de40"),
        (Some(40), "13:45:01 GET /api/activiti… 200  5.31 ms"),
    ] {
        assert_eq!(plain(request(), width), format!("{expected}\n"));
    }
}

#[test]
fn a_failure_shows_its_cause_and_frames_of_the_programs_own_code() {
    let expected = "\
13:45:01 GET /api/activities/home       500  5.31 ms cold user 1f3c9a2b 0f15de40
  Panic: the store\\nis empty
    functions/src/store/mod.rs:12  store::read
    functions/src/runtime/mod.rs:97
";
    assert_eq!(plain(failed_request(), Some(80)), expected);
}

#[test]
fn in_a_pipe_a_request_and_its_cause_are_one_row() {
    let row = plain(failed_request(), None);

    assert_eq!(row.lines().count(), 1, "{row}");
    let cause = r"Panic: the store\nis empty at functions/src/store/mod.rs:12  store::read";
    assert!(row.trim_end().ends_with(&format!("{ID} {cause}")), "{row}");
}

#[test]
fn a_refused_request_is_yellow_and_names_its_code() {
    let mut refused = request("/api/activities", "422");
    refused.attributes.push(pair("app.error_code", "message_blank"));

    let row = drawn(vec![refused], &Screen { width: Some(80), trace_url: None });

    assert!(row.contains(&format!("{WARNING}message_blank{WARNING:#}")), "{row}");
    assert!(row.contains(&format!("{WARNING} ")) && row.contains(" 422"), "{row}");
}

#[test]
fn the_id_is_a_link_where_an_address_is_known() {
    let url = Some("https://traces/{trace_id}".to_owned());
    let request = || vec![request("/api/activities/home", "200")];

    let in_terminal = drawn(request(), &Screen { width: Some(80), trace_url: url.clone() });
    let in_pipe = drawn(request(), &Screen { width: None, trace_url: url });

    let link = format!("\x1b]8;;https://traces/{ID}\x1b\\");
    assert!(in_terminal.contains(&link), "{in_terminal:?}");
    assert!(in_pipe.contains(&format!("https://traces/{ID}")), "{in_pipe}");
    assert!(!in_pipe.contains("\x1b]8"), "{in_pipe:?}");
}

#[test]
fn a_warning_follows_its_request_and_lines_of_lower_levels_do_not() {
    let line = |severity_number, text: &str| LogRecord {
        trace_id: vec![1; 16],
        severity_number,
        body: pair("", text).value,
        ..LogRecord::default()
    };
    let mut access = line(13, "GET 404");
    access.attributes = ["route", "status", "duration_ms"].map(|key| pair(key, "x")).to_vec();
    let lines = vec![line(9, "Published a crud"), line(13, "The store was slow"), access];
    let span = request("/api/activities/home", "200");
    let spans = vec![ReceivedSpan { span, service: String::new() }];
    let trace = ReceivedTrace { spans, lines, is_late: false };

    let drawing = draw(&trace, &Screen { width: Some(80), trace_url: None });

    let drawing = anstream::adapter::strip_str(&drawing).to_string();
    let rows: Vec<_> = drawing.lines().skip(1).collect();
    assert_eq!(rows, ["00:00:00 WARN  The store was slow"]);
}

#[test]
fn late_spans_below_a_drawn_request_have_no_row() {
    let mut late = request("/", "200");
    late.parent_span_id = vec![9; 8];
    let spans = vec![ReceivedSpan { span: late, service: String::new() }];

    let trace = ReceivedTrace { spans, is_late: true, ..ReceivedTrace::default() };

    assert_eq!(draw(&trace, &Screen::default()), "");
}

proptest! {
    #[test]
    fn every_row_fits_the_terminal(word in "\\PC{0,90}", width in 40..160_usize, code: bool) {
        let mut span = request(&word, "500");
        span.status = Some(Status { code: StatusCode::Error as i32, message: word.clone() });
        let more = [("app.error_code", &word), ("user.name", &word)];
        span.attributes.extend(more.iter().filter(|_| code).map(|(key, value)| pair(key, value)));

        for row in plain(span, Some(width)).lines() {
            prop_assert!(columns(row) <= width, "{row}");
        }
    }
}
