//! The local page: everything that arrived at the extension is at the address of OTLP/HTTP, for this
//! machine alone.

mod access;
mod bounds;
mod lambda;
mod stream;
mod views;

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime},
};

use cruddur_tests::{binaries, eventually, http_client, otlp};
use http::Method;
use opentelemetry_proto::tonic::{
    collector::logs::v1::ExportLogsServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    trace::v1::{Span, Status, span::Event},
};
use prost::Message;
use serde_json::Value;
use tempfile::TempDir;

/// The extension as a person starts it, without Lambda. Each test has another address.
struct LocalExtension {
    process: Child,
    listen: &'static str,
    _spool: TempDir,
}

impl LocalExtension {
    async fn start(listen: &'static str) -> Self {
        Self::with(listen, &[]).await
    }

    async fn with(listen: &'static str, variables: &[(&str, &str)]) -> Self {
        let spool = tempfile::tempdir().expect("a directory");
        let mut command = Command::new(binaries().path("cruddur-telemetry"));
        command
            .env_clear()
            .env("CRUDDUR_OTLP_LISTEN", listen)
            .env("CRUDDUR_OTLP_GRPC_LISTEN", "off")
            .env("CRUDDUR_CONSOLE", "off")
            .env("CRUDDUR_SPOOL_DIR", spool.path())
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut process = command.spawn().expect("the extension starts");
        let log = process.stderr.take().expect("a pipe");
        let listens = tokio::task::spawn_blocking(move || {
            let mut lines = BufReader::new(log).lines().map_while(Result::ok);
            let found = lines.any(|line| line.contains("OTLP is received at"));
            std::thread::spawn(move || lines.for_each(drop)); // the pipe stays open
            found
        });
        assert!(listens.await.expect("its log"), "it does not listen");
        Self { process, listen, _spool: spool }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.listen)
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.process.id()).expect("a process id")
    }

    async fn get(&self, path: &str) -> http_client::HttpReply {
        http_client::get(&self.url(path), &[]).await.expect("an answer")
    }

    async fn json(&self, path: &str) -> Value {
        let reply = self.get(path).await;
        assert_eq!(reply.status, 200, "{path}: {:?}", reply.body);
        reply.json()
    }

    /// The JSON of a path, once it fits.
    async fn shows(&self, path: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let shown = eventually(|| self.json(path), &fits).await;
        assert!(fits(&shown), "{path}: {shown:#}");
        shown
    }

    async fn send(&self, spans: Vec<Span>) {
        self.post("/v1/traces", otlp::request_of(spans.into_iter())).await;
    }

    async fn send_lines(&self, log_records: Vec<LogRecord>) {
        let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
        let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
        self.post("/v1/logs", ExportLogsServiceRequest { resource_logs }.encode_to_vec()).await;
    }

    async fn post(&self, path: &str, body: Vec<u8>) {
        let headers = [("content-type", "application/x-protobuf")];
        let reply = http_client::post(&self.url(path), &headers, body).await.expect("an answer");
        assert_eq!(reply.status, 200, "{:?}", reply.body);
    }

    async fn send_with(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> u16 {
        let reply = http_client::send(method, &self.url(path), headers, Vec::new()).await;
        reply.expect("an answer").status.as_u16()
    }
}

impl Drop for LocalExtension {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn text(key: &str, text: &str) -> KeyValue {
    attribute(key, any_value::Value::StringValue(text.to_owned()))
}

fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

/// The server span of a request that took so many milliseconds.
fn request(route: &str, status: i64, millis: u64) -> Span {
    let mut span = otlp::root_span(&format!("GET {route}"), SystemTime::now());
    span.kind = otlp::kind::SERVER;
    span.start_time_unix_nano = span.end_time_unix_nano - millis * 1_000_000;
    span.attributes = vec![
        text("http.request.method", "GET"),
        text("http.route", route),
        attribute("http.response.status_code", any_value::Value::IntValue(status)),
        text("faas.invocation_id", &format!("request-{}", span.trace_id[0])),
        text("app.user_id", "andrew"),
    ];
    span
}

/// A request that ended with this exception.
fn failed_request(route: &str, kind: &str, message: &str) -> Span {
    let stack = "   0: cruddur::home::handle\n             at ./functions/src/home.rs:12:3\n";
    let exception = Event {
        name: "exception".to_owned(),
        attributes: vec![
            text("exception.type", kind),
            text("exception.message", message),
            text("exception.stacktrace", stack),
        ],
        ..Event::default()
    };
    let status = Status { code: otlp::STATUS_ERROR, message: "status text".to_owned() };
    Span { events: vec![exception], status: Some(status), ..request(route, 500, 3) }
}

/// A span below another, which took as long.
fn child(parent: &Span, id: u8, name: &str) -> Span {
    Span {
        span_id: vec![id; 8],
        parent_span_id: parent.span_id.clone(),
        name: name.to_owned(),
        kind: otlp::kind::INTERNAL,
        attributes: Vec::new(),
        events: Vec::new(),
        status: None,
        ..parent.clone()
    }
}

/// A log record inside a span.
fn line(span: &Span, severity_number: i32, message: &str) -> LogRecord {
    let body = any_value::Value::StringValue(message.to_owned());
    LogRecord {
        time_unix_nano: span.end_time_unix_nano,
        severity_number,
        body: Some(AnyValue { value: Some(body) }),
        trace_id: span.trace_id.clone(),
        span_id: span.span_id.clone(),
        ..LogRecord::default()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How soon everything that arrives is shown.
const SOON: Duration = Duration::from_secs(1);
