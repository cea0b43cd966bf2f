use std::{
    io::Write,
    net::TcpListener,
    sync::{Arc, Mutex},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use lambda_runtime::Context;
use opentelemetry::baggage::BaggageExt;
use opentelemetry_proto::tonic::{
    common::v1::{KeyValue, any_value::Value as OtlpValue},
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use serde_json::Value;
use tracing::{Instrument, info, info_span, subscriber::DefaultGuard, warn};

use super::*;
use crate::{
    api::{ApiError, Reply},
    endpoints::home_activities::ROUTE,
    test_support::{FakeExtension, HOME_EVENT},
};

const ROOT: &str = "5759e988bd862e3fe1be46a994272793";
const XRAY: &str =
    "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0;Lineage=a:1|b:2";
const CALLER: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLERS_SPAN: &str = "b7ad6b7169203331";

/// Telemetry of a function, reporting to `address`, with what it logged.
struct Function {
    telemetry: Telemetry,
    log: Log,
    _subscriber: DefaultGuard,
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Function {
    fn reporting_to(address: std::net::SocketAddr) -> Self {
        Self::configured(address, &[])
    }

    fn configured(address: std::net::SocketAddr, vars: &[(&str, &str)]) -> Self {
        let config = Config::from_vars(|name| match name {
            "AWS_LAMBDA_FUNCTION_NAME" => Some("home-activities".to_owned()),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE" => Some("256".to_owned()),
            "AWS_LAMBDA_LOG_STREAM_NAME" => Some("2026/01/01/[$LATEST]0123".to_owned()),
            "AWS_REGION" => Some("ca-central-1".to_owned()),
            "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(format!("http://{address}")),
            _ => vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()),
        });
        let log = Log::default();
        let out = log.clone();
        let (telemetry, subscriber) = Telemetry::build(&config, move || out.clone());
        let _subscriber = tracing::subscriber::set_default(subscriber);
        Self { telemetry, log, _subscriber }
    }

    /// An invocation with one step, which logs one line.
    async fn invoke(&self, traceparent: Option<&str>, xray: Option<&str>) {
        let headers: Vec<_> = traceparent.map(|value| ("traceparent", value)).into_iter().collect();
        self.invoke_with(&ROUTE, &headers, xray, || info!(answer = 42, "Hello")).await;
    }

    /// An invocation with these headers and one step, which does `work`.
    async fn invoke_with(
        &self,
        route: &Route,
        headers: &[(&str, &str)],
        xray: Option<&str>,
        work: impl FnOnce(),
    ) -> Reply {
        let mut event: Value = serde_json::from_str(HOME_EVENT).unwrap();
        for (name, value) in headers {
            event["headers"][*name] = (*value).into();
        }
        let request = Request::from_event(&event.to_string()).unwrap();
        let invocation = async {
            self.telemetry.identify(&context(xray), route, Some(&request));
            async { work() }.instrument(info_span!("step")).await;
            self.telemetry.conclude(Reply::ok(&()).unwrap(), None)
        };
        self.telemetry.around(invocation).await
    }

    fn lines(&self) -> Vec<Value> {
        let text = String::from_utf8(self.log.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn context(xray: Option<&str>) -> Context {
    let mut context = Context::default();
    context.request_id = "8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned();
    context.invoked_function_arn =
        "arn:aws:lambda:ca-central-1:123456789012:function:home:live".to_owned();
    Arc::make_mut(&mut context.env_config).version = "7".to_owned();
    context.xray_trace_id = xray.map(str::to_owned);
    context
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attribute(attributes: &[KeyValue], key: &str) -> Option<OtlpValue> {
    attributes.iter().find(|pair| pair.key == key)?.value.clone()?.value
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    match attribute(attributes, key)? {
        OtlpValue::StringValue(text) => Some(text),
        other => panic!("{key} is no text but {other:?}"),
    }
}

#[tokio::test]
async fn trace_id_parent_and_flag_come_from_traceparent_else_from_root_else_from_the_clock() {
    let extension = FakeExtension::start("200 OK");
    let function = Function::reporting_to(extension.address);
    let sampled = format!("00-{CALLER}-{CALLERS_SPAN}-01");
    let unsampled = format!("00-{CALLER}-{CALLERS_SPAN}-00");
    let root_only = format!("Root=1-{}-{}", &ROOT[..8], &ROOT[8..]);
    // traceparent, the runtime's header, trace id, parent, flag
    let table = [
        (Some(&*sampled), Some(XRAY), Some(CALLER), CALLERS_SPAN, 1),
        (Some(&*sampled), None, Some(CALLER), CALLERS_SPAN, 1),
        (Some(&*unsampled), Some(XRAY), Some(CALLER), CALLERS_SPAN, 0),
        (Some("00-no-traceparent-01"), Some(XRAY), Some(ROOT), "", 1),
        (None, Some(XRAY), Some(ROOT), "", 1),
        (None, Some(&*root_only), Some(ROOT), "", 1),
        (None, Some("Root=1-no-root"), None, "", 1),
        (None, None, None, "", 1),
    ];
    for (traceparent, xray, trace_id, parent, flag) in table {
        function.invoke(traceparent, xray).await;

        let spans = extension.spans();
        let [step, server] = &spans[..] else { panic!("{spans:?}") };
        let case = format!("{traceparent:?} {xray:?}");
        match trace_id {
            Some(trace_id) => assert_eq!(hex(&server.trace_id), trace_id, "{case}"),
            None => assert_starts_with_the_time(server),
        }
        assert_eq!(hex(&server.parent_span_id), parent, "{case}");
        assert_eq!((server.flags & 1, step.flags & 1), (flag, flag), "{case}");
        assert_eq!(step.trace_id, server.trace_id, "{case}");
        assert_eq!(step.parent_span_id, server.span_id, "{case}");
    }
}

fn assert_starts_with_the_time(span: &Span) {
    let seconds = u32::from_be_bytes(span.trace_id[..4].try_into().unwrap());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!(now.abs_diff(u64::from(seconds)) < 60, "{seconds}");
}

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
async fn tracestate_and_baggage_come_along_unless_they_are_too_long_or_malformed() {
    let extension = FakeExtension::start("200 OK");
    let function = Function::reporting_to(extension.address);
    let traceparent = format!("00-{CALLER}-{CALLERS_SPAN}-01");
    let (long, longer) = (format!("a={}", "b".repeat(511)), format!("a={}", "b".repeat(8191)));
    for (tracestate, baggage, expected_state, expected_baggage) in [
        (
            "rojo=00f067aa0ba902b7,congo=t61",
            "tenant=a%20b",
            "rojo=00f067aa0ba902b7,congo=t61",
            "a b",
        ),
        (&long, &longer, "", ""),
        ("no state", "no baggage", "", ""),
        ("", "", "", ""),
    ] {
        let headers =
            [("traceparent", &*traceparent), ("tracestate", tracestate), ("baggage", baggage)];
        let mut tenant = String::new();
        function
            .invoke_with(&ROUTE, &headers, None, || {
                let context = tracing::Span::current().context();
                tenant =
                    context.baggage().get("tenant").map(ToString::to_string).unwrap_or_default();
            })
            .await;

        let spans = extension.spans();
        assert_eq!(hex(&spans[1].trace_id), CALLER, "{tracestate:.40}");
        assert_eq!(spans[1].trace_state, expected_state);
        assert_eq!(spans[0].trace_state, expected_state);
        assert_eq!(tenant, expected_baggage, "{baggage:.40}");
    }
}

#[tokio::test]
async fn health_checks_and_what_the_sampler_leaves_out_are_recorded_with_the_unsampled_flag() {
    let extension = FakeExtension::start("200 OK");
    let sampled = format!("00-{CALLER}-{CALLERS_SPAN}-01");
    let unsampled = format!("00-{CALLER}-{CALLERS_SPAN}-00");
    let health = health_check::ROUTE;
    for (sampler, ratio, route, traceparent, flag) in [
        ("parentbased_always_on", "", &health, None, 0),
        ("always_on", "", &health, Some(&sampled), 0),
        ("always_on", "", &ROUTE, Some(&unsampled), 1),
        ("always_off", "", &ROUTE, Some(&sampled), 0),
        ("parentbased_always_off", "", &ROUTE, Some(&sampled), 1),
        ("parentbased_always_off", "", &ROUTE, None, 0),
        ("traceidratio", "0", &ROUTE, None, 0),
        ("traceidratio", "1", &ROUTE, None, 1),
    ] {
        let vars = [("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", ratio)];
        let function = Function::configured(extension.address, &vars);
        let headers: Vec<_> =
            traceparent.map(|value| ("traceparent", &**value)).into_iter().collect();
        function.invoke_with(route, &headers, None, || {}).await;

        let spans = extension.spans();
        let flags: Vec<u32> = spans.iter().map(|span| span.flags & 1).collect();
        assert_eq!(flags, [flag, flag], "{sampler} {ratio} {} {traceparent:?}", route.path);
    }
}

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
async fn the_reply_names_the_trace_and_xrays_root() {
    let extension = FakeExtension::start("200 OK");
    let function = Function::reporting_to(extension.address);
    let traceparent = format!("00-{CALLER}-{CALLERS_SPAN}-00");

    let reply =
        function.invoke_with(&ROUTE, &[("traceparent", &traceparent)], Some(XRAY), || {}).await;

    let server = extension.spans().remove(1);
    let headers = serde_json::to_value(reply).unwrap()["headers"].take();
    assert_eq!(headers["traceparent"], format!("00-{CALLER}-{}-00", hex(&server.span_id)));
    let root = format!("Root=1-{}-{};Sampled=0", &ROOT[..8], &ROOT[8..]);
    assert_eq!(headers["x-amzn-trace-id"], root);
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
            function.telemetry.conclude(error.reply(), Some(error));
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
