//! What spans say.

use super::*;

#[tokio::test]
async fn the_server_span_says_what_was_asked_and_where() {
    let extension = FakeExtension::start("200 OK");
    let function = Function::reporting_to(extension.address);

    function.invoke(None, Some(XRAY)).await;

    let (_, sent) = extension.received();
    let resource = sent.resource.unwrap().attributes;
    for (key, value) in [
        ("service.name", "home-activities"),
        ("faas.name", "home-activities"),
        ("cloud.provider", "aws"),
        ("cloud.platform", "aws_lambda"),
        ("cloud.region", "ca-central-1"),
        ("telemetry.sdk.language", "rust"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("telemetry.distro.name", "cruddur-telemetry"),
        ("telemetry.distro.version", env!("CARGO_PKG_VERSION")),
        ("faas.instance", "2026/01/01/[$LATEST]0123"),
    ] {
        assert_eq!(text(&resource, key).as_deref(), Some(value), "{key}");
    }
    let memory = attribute(&resource, "faas.max_memory");
    assert_eq!(memory, Some(OtlpValue::IntValue(256 * 1024 * 1024)));
    let server = sent.scope_spans[0].spans.last().unwrap();
    assert_eq!(server.name, "GET /api/activities/home");
    assert_eq!(server.kind(), SpanKind::Server);
    assert_eq!(server.status.as_ref().unwrap().code(), StatusCode::Unset);
    for (key, value) in [
        ("app.name", "cruddur"),
        ("cruddur.xray_header", XRAY),
        ("faas.invocation_id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd"),
        ("faas.trigger", "http"),
        ("http.request.method", "GET"),
        ("http.route", "/api/activities/home"),
        ("url.path", "/api/activities/home"),
        ("url.scheme", "https"),
        ("network.protocol.name", "http"),
        ("network.protocol.version", "1.1"),
        ("client.address", "203.0.113.57"),
        ("server.address", "x4k2m9q7ab.execute-api.ca-central-1.amazonaws.com"),
        ("aws.lambda.invoked_arn", "arn:aws:lambda:ca-central-1:123456789012:function:home:live"),
        ("cloud.resource_id", "arn:aws:lambda:ca-central-1:123456789012:function:home:7"),
        ("cloud.account.id", "123456789012"),
    ] {
        assert_eq!(text(&server.attributes, key).as_deref(), Some(value), "{key}");
    }
    let agent = text(&server.attributes, "user_agent.original").unwrap();
    assert!(agent.starts_with("Mozilla/5.0"), "{agent}");
    for (key, value) in [
        ("http.response.status_code", 200),
        ("http.request.body.size", 0),
        ("http.response.body.size", 4),
        ("server.port", 443),
    ] {
        let found = attribute(&server.attributes, key);
        assert_eq!(found, Some(OtlpValue::IntValue(value)), "{key}");
    }
    assert_eq!(server.attributes.len(), 21, "{:?}", server.attributes); // and faas.coldstart
}

#[tokio::test]
async fn an_invocation_that_makes_too_many_spans_keeps_its_server_span_and_says_how_many_are_lost()
{
    let extension = FakeExtension::start("200 OK");
    let function = Function::reporting_to(extension.address);

    function
        .invoke_with(&ROUTE, &[], None, || (0..3_000).for_each(|_| drop(info_span!("one"))))
        .await;

    let spans = extension.spans();
    assert_eq!(spans.len(), 2048 + 1);
    assert_eq!(spans.last().unwrap().kind(), SpanKind::Server);
    assert_eq!(function.lines()[0]["dropped"], 3_000 + 1 - 2048); // the step itself, too
    function.invoke(None, None).await;
    assert_eq!(extension.spans().len(), 2);
}

#[tokio::test]
async fn an_attribute_that_is_set_twice_has_its_last_value() {
    let extension = FakeExtension::start("200 OK");
    let function = Function::reporting_to(extension.address);

    let work = || {
        let span = tracing::Span::current();
        span.set_attribute("aws.request_id", "first");
        span.set_attribute("app.other", true);
        span.set_attribute("aws.request_id", "second");
    };
    function.invoke_with(&ROUTE, &[], None, work).await;

    let step = extension.spans().remove(0);
    assert_eq!(text(&step.attributes, "aws.request_id").as_deref(), Some("second"));
    assert_eq!(step.attributes.len(), 2, "{:?}", step.attributes);
}

#[tokio::test]
async fn only_the_first_invocation_is_a_cold_start_and_all_use_one_connection() {
    let extension = FakeExtension::start("200 OK");
    let function = Function::reporting_to(extension.address);
    for (cold_start, expected_connection) in [(true, 0), (false, 0), (false, 0)] {
        function.invoke(None, None).await;

        let (connection, sent) = extension.received();
        let server = sent.scope_spans[0].spans.last().unwrap();
        let flag = attribute(&server.attributes, "faas.coldstart");
        assert_eq!(flag, Some(OtlpValue::BoolValue(cold_start)));
        assert_eq!(connection, expected_connection);
    }
}

#[tokio::test]
async fn a_failure_of_ours_is_an_error_with_an_exception_and_a_clients_is_only_a_code() {
    let extension = FakeExtension::start("200 OK");
    let function = Function::reporting_to(extension.address);
    let ours: Result<(), _> = crate::panics::catch(|| panic!("index out of bounds"));
    let ours = ApiError::Panicked(ours.unwrap_err());
    let clients = ApiError::MalformedEvent("no request".to_owned());
    for error in [&ours, &clients] {
        let invocation = async {
            function.telemetry.identify(&context(None), &ROUTE, None);
            function.telemetry.conclude(&error.reply(), Some(error));
        };
        function.telemetry.around(invocation).await;
    }

    let server = extension.spans().remove(0);
    assert_eq!(server.name, "HTTP /api/activities/home"); // no request, no method
    assert_eq!(server.status.unwrap().code(), StatusCode::Error);
    assert_eq!(text(&server.attributes, "error.type").as_deref(), Some("500"));
    let [exception] = &server.events[..] else { panic!("{:?}", server.events) };
    assert_eq!(exception.name, "exception");
    let message = text(&exception.attributes, "exception.message").unwrap();
    assert!(message.starts_with("the handler panicked: index out of bounds"), "{message}");

    let server = extension.spans().remove(0);
    assert_eq!(server.status.unwrap().code(), StatusCode::Unset);
    assert_eq!(text(&server.attributes, "app.error_code").as_deref(), Some("malformed_event"));
    assert!(server.events.is_empty());
}
