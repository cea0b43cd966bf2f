//! What log lines say of spans.

use super::*;

#[tokio::test]
async fn without_the_sdk_there_are_lines_but_no_spans_and_no_warning() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let vars = [("OTEL_SDK_DISABLED", "true")];
    let function = Function::configured(silent.local_addr().unwrap(), &vars);

    let reply = function.invoke_with(&ROUTE, &[], Some(XRAY), || info!("Hello")).await;

    let lines = function.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["requestId"], "8476a536-e9f4-11e8-9739-2dfe598c3fcd");
    assert_eq!(lines[0]["trace_id"], Value::Null);
    assert_eq!(serde_json::to_value(reply).unwrap()["headers"]["traceparent"], Value::Null);
}

#[tokio::test]
async fn a_level_that_leaves_out_most_lines_takes_no_ids_from_the_others() {
    let extension = FakeExtension::start("200 OK");
    let function = Function::configured(extension.address, &[("AWS_LAMBDA_LOG_LEVEL", "WARN")]);

    let work = || {
        info!("left out");
        warn!("kept");
    };
    function.invoke_with(&ROUTE, &[], Some(XRAY), work).await;

    let (lines, spans) = (function.lines(), extension.spans());
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["trace_id"], ROOT);
    assert_eq!(lines[0]["span_id"], hex(&spans[0].span_id));
}

#[tokio::test]
async fn a_line_carries_the_ids_of_its_span_and_its_invocation() {
    let extension = FakeExtension::start("200 OK");
    let function = Function::reporting_to(extension.address);

    function.invoke(None, Some(XRAY)).await;
    warn!("between two invocations");

    let spans = extension.spans();
    let [inside, outside] = &function.lines()[..] else { panic!("{:?}", function.lines()) };
    assert_eq!(inside["message"], "Hello");
    assert_eq!(inside["level"], "INFO");
    assert_eq!(inside["answer"], 42);
    assert_eq!(inside["service"], "home-activities");
    assert_eq!(inside["requestId"], "8476a536-e9f4-11e8-9739-2dfe598c3fcd");
    assert_eq!(inside["xray_trace_id"], "1-5759e988-bd862e3fe1be46a994272793");
    assert_eq!(inside["trace_id"], ROOT);
    assert_eq!(inside["span_id"], hex(&spans[0].span_id));
    let timestamp = inside["timestamp"].as_str().unwrap();
    assert!(timestamp.ends_with('Z') && timestamp.len() == 24, "{timestamp}");
    assert!(timestamp.parse::<jiff::Timestamp>().is_ok());
    assert_eq!(outside["requestId"], Value::Null);
}
