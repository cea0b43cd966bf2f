//! What is sent, and an extension that is not there, refuses, or hangs.

use super::*;

#[tokio::test]
async fn without_an_extension_there_is_one_warning_and_one_that_comes_later_is_used() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let function = Function::reporting_to(free);
    let warnings = || function.lines().iter().filter(|line| line["level"] == "WARN").count();

    let started = Instant::now();
    for _ in 0..3 {
        function.invoke(None, None).await;
    }

    assert!(started.elapsed().as_millis() < 150, "{:?}", started.elapsed());
    assert_eq!(warnings(), 1);

    let extension = FakeExtension::listen(TcpListener::bind(free).unwrap(), "200 OK");
    function.invoke(None, None).await;
    assert_eq!(extension.spans().len(), 2);
    assert_eq!(warnings(), 1);
}

#[tokio::test]
async fn an_extension_that_refuses_is_one_warning_as_well() {
    let extension = FakeExtension::start("503 Service Unavailable");
    let function = Function::reporting_to(extension.address);

    function.invoke(None, None).await;
    function.invoke(None, None).await;

    let warnings: Vec<_> =
        function.lines().into_iter().filter(|line| line["level"] == "WARN").collect();
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0]["error"], "refused with status 503 Service Unavailable");
}

#[tokio::test(start_paused = true)]
async fn an_extension_that_never_answers_is_given_up() {
    // It listens, so that connecting works, and never accepts.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let function = Function::reporting_to(silent.local_addr().unwrap());
    let started = tokio::time::Instant::now();

    function.invoke(None, None).await;

    assert_eq!(started.elapsed().as_millis(), 200);
    assert_eq!(function.lines()[1]["error"], "no answer within 200 ms");
}

const LINES_TOO: (&str, &str) = ("OTEL_LOGS_EXPORTER", "otlp");

#[tokio::test]
async fn a_line_is_sent_with_all_that_it_says_before_the_spans_of_its_invocation() {
    let extension = FakeExtension::start("200 OK");
    let function = Function::configured(extension.address, &[LINES_TOO]);

    function.invoke(None, Some(XRAY)).await;

    let spans = extension.spans();
    let sent = extension.logs().expect("lines before the spans");
    assert_eq!(
        text(&sent.resource.unwrap().attributes, "service.name").as_deref(),
        Some("home-activities")
    );
    let [record] = &sent.scope_logs[0].log_records[..] else { panic!("{:?}", sent.scope_logs) };
    let line = function.lines().remove(0);
    assert_eq!((record.severity_number, record.severity_text.as_str()), (9, "INFO"));
    let body = record.body.clone().unwrap().value;
    assert_eq!(body, Some(OtlpValue::StringValue("Hello".to_owned())));
    assert_eq!(line["trace_id"], hex(&record.trace_id));
    assert_eq!(line["span_id"], hex(&record.span_id));
    assert_eq!(record.span_id, spans[0].span_id);
    let written: jiff::Timestamp = line["timestamp"].as_str().unwrap().parse().unwrap();
    assert_eq!(record.time_unix_nano / 1_000_000, written.as_millisecond() as u64);
    let request_id = text(&record.attributes, "faas.invocation_id");
    assert_eq!(request_id.as_deref(), line["requestId"].as_str());
    let xray = text(&record.attributes, "xray_trace_id");
    assert_eq!(xray.as_deref(), line["xray_trace_id"].as_str());
    assert_eq!(attribute(&record.attributes, "answer"), Some(OtlpValue::IntValue(42)));
    assert_eq!(record.attributes.len(), 3, "{:?}", record.attributes);
}

#[tokio::test]
async fn lines_between_two_invocations_are_sent_with_the_next_and_each_once() {
    let extension = FakeExtension::start("200 OK");
    let function = Function::configured(extension.address, &[LINES_TOO]);
    let count = || {
        extension.spans();
        extension.logs().map_or(0, |sent| sent.scope_logs[0].log_records.len())
    };

    warn!("before the first");
    function.invoke(None, None).await;
    assert_eq!(count(), 2);
    function.invoke_with(&ROUTE, &[], None, || {}).await;
    assert_eq!(count(), 0, "no empty request");
}

#[tokio::test]
async fn nobody_who_has_not_asked_for_it_has_lines_sent() {
    let extension = FakeExtension::start("200 OK");
    let function = Function::reporting_to(extension.address);

    function.invoke(None, None).await;

    extension.spans();
    assert!(extension.logs().is_none());
}

#[tokio::test]
async fn where_lines_are_lost_with_the_spans_there_is_still_one_warning() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let function = Function::configured(free, &[LINES_TOO]);
    function.invoke(None, None).await;
    function.invoke(None, None).await;

    let extension = FakeExtension::listen(TcpListener::bind(free).unwrap(), "200 OK");
    function.invoke(None, None).await;

    let lines = function.lines();
    assert_eq!(lines.iter().filter(|line| line["level"] == "WARN").count(), 1, "{lines:#?}");
    let lost = |signal: &str| {
        let again = format!("takes {signal} again");
        lines.iter().find(|line| line["message"].as_str().unwrap().contains(&again)).unwrap()
    };
    assert_eq!(lost("spans")["lost"], 4);
    assert_eq!(lost("lines")["lost"], 3, "the warning, too");
    extension.spans();
    assert_eq!(extension.logs().unwrap().scope_logs[0].log_records.len(), 1);
}

#[tokio::test]
async fn an_extension_that_refuses_lines_is_one_warning_more_and_still_gets_spans() {
    let extension = FakeExtension::start("404 Not Found");
    let function = Function::configured(extension.address, &[LINES_TOO]);

    function.invoke(None, None).await;
    function.invoke(None, None).await;

    let warnings = function.lines().iter().filter(|line| line["level"] == "WARN").count();
    assert_eq!(warnings, 2, "{:#?}", function.lines());
    assert_eq!((extension.spans().len(), extension.spans().len()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn an_extension_that_never_answers_is_waited_for_no_longer_for_lines_and_spans() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let function = Function::configured(silent.local_addr().unwrap(), &[LINES_TOO]);
    let started = tokio::time::Instant::now();

    function.invoke(None, None).await;
    function.invoke(None, None).await;

    assert_eq!(started.elapsed().as_millis(), 200, "the second does not even ask");
    assert_eq!(function.lines()[1]["error"], "no answer within 200 ms");
}

#[tokio::test]
async fn of_too_many_lines_the_last_are_sent_and_the_others_counted() {
    let extension = FakeExtension::start("200 OK");
    let function = Function::configured(extension.address, &[LINES_TOO]);
    let long = "x".repeat(10_000);

    let work = || (0..200).for_each(|number| info!(number, long));
    function.invoke_with(&ROUTE, &[], None, work).await;

    extension.spans();
    let sent = extension.logs().unwrap().scope_logs.remove(0).log_records;
    let (last, before) = sent.split_last().unwrap();
    let dropped = attribute(&last.attributes, "dropped");
    assert_eq!(dropped, Some(OtlpValue::IntValue(200 - before.len() as i64)));
    let number = |record: &LogRecord| attribute(&record.attributes, "number");
    assert_eq!(before.last().and_then(number), Some(OtlpValue::IntValue(199)));
    assert!((90..110).contains(&before.len()), "{}", before.len());
}
