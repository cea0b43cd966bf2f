//! What the tests of telemetry share: a function without a runtime, and readers of OTLP.

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
    endpoints::home_activities::ROUTE,
    http::{ApiError, Response},
    test_support::{FakeExtension, HOME_EVENT},
};

mod concurrent;
mod lines;
mod places;
mod sending;
mod spans;

const ROOT: &str = "5759e988bd862e3fe1be46a994272793";
const XRAY: &str =
    "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0;Lineage=a:1|b:2";
const CALLER: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLERS_SPAN: &str = "b7ad6b7169203331";

/// Telemetry of a function that reports to `address`, and its log lines.
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
    ) -> Response {
        let mut event: Value = serde_json::from_str(HOME_EVENT).unwrap();
        for (name, value) in headers {
            event["headers"][*name] = (*value).into();
        }
        let request = Request::from_event(&event.to_string()).unwrap();
        let invocation = async {
            self.telemetry.identify(&context(xray), route, Some(&request));
            async { work() }.instrument(info_span!("step")).await;
            let reply = self.telemetry.name_trace(Response::ok(&()).unwrap());
            self.telemetry.conclude(&reply, None);
            reply
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
        other => panic!("{key} is {other:?} instead of a text"),
    }
}
