use std::{
    io::Write,
    net::TcpListener,
    sync::{Arc, Mutex},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use lambda_runtime::Context;
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
        let config = Config::from_vars(|name| match name {
            "AWS_LAMBDA_FUNCTION_NAME" => Some("home-activities".to_owned()),
            "AWS_REGION" => Some("ca-central-1".to_owned()),
            "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(format!("http://{address}")),
            _ => None,
        });
        let log = Log::default();
        let out = log.clone();
        let (telemetry, subscriber) = Telemetry::build(&config, move || out.clone());
        let _subscriber = tracing::subscriber::set_default(subscriber);
        Self { telemetry, log, _subscriber }
    }

    /// An invocation with one step, which logs one line.
    async fn invoke(&self, traceparent: Option<&str>, xray: Option<&str>) {
        let with_header = traceparent.map(|value| {
            HOME_EVENT.replace("\"host\":", &format!("\"traceparent\": \"{value}\", \"host\":"))
        });
        let request = Request::from_event(with_header.as_deref().unwrap_or(HOME_EVENT)).unwrap();
        let invocation = async {
            self.telemetry.identify(&context(xray), &ROUTE, Some(&request));
            async { info!(answer = 42, "Hello") }.instrument(info_span!("step")).await;
            server_span::record_outcome(&Reply::ok(&()).unwrap(), None);
        };
        self.telemetry.around(invocation).await;
    }

    fn lines(&self) -> Vec<Value> {
        let text = String::from_utf8(self.log.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn context(xray: Option<&str>) -> Context {
    let mut context = Context::default();
    context.request_id = "8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned();
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
    ] {
        assert_eq!(text(&resource, key).as_deref(), Some(value), "{key}");
    }
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
    ] {
        assert_eq!(text(&server.attributes, key).as_deref(), Some(value), "{key}");
    }
    let status = attribute(&server.attributes, "http.response.status_code");
    assert_eq!(status, Some(OtlpValue::IntValue(200)));
    assert_eq!(server.attributes.len(), 10, "{:?}", server.attributes); // and faas.coldstart
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
    let ours = ApiError::Panicked("index out of bounds".to_owned());
    let clients = ApiError::MalformedEvent("no request".to_owned());
    for error in [&ours, &clients] {
        let invocation = async {
            function.telemetry.identify(&context(None), &ROUTE, None);
            server_span::record_outcome(&error.reply(), Some(error));
        };
        function.telemetry.around(invocation).await;
    }

    let server = extension.spans().remove(0);
    assert_eq!(server.name, "HTTP /api/activities/home"); // no request, no method
    assert_eq!(server.status.unwrap().code(), StatusCode::Error);
    assert_eq!(text(&server.attributes, "error.type").as_deref(), Some("500"));
    let [exception] = &server.events[..] else { panic!("{:?}", server.events) };
    assert_eq!(exception.name, "exception");
    assert_eq!(
        text(&exception.attributes, "exception.message").as_deref(),
        Some("the handler panicked: index out of bounds")
    );

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
