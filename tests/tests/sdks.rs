//! OpenTelemetry's own SDKs, unmodified, send a span, a log record and two metrics through the extension.
//! The destination decodes the values that each SDK was given. Run by `make test-slow`.

mod arrived;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use cruddur_tests::{Builder, Honeycomb, Sandbox, raw_event};
use serde_json::json;
use tokio::process::Command;
use tokio::time::timeout;

use self::arrived::{assert_log, assert_metrics, assert_trace};
use crate::puppet::echo;

/// A program of `tests/sdk`, as `tests/sdk/install` leaves it in `target/sdk`.
struct Sdk {
    /// Its folder, and the service that it reports.
    language: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
}

const PYTHON: Sdk = Sdk {
    language: "python",
    program: "python/bin/opentelemetry-instrument",
    arguments: &["python/bin/python3", "../../tests/sdk/python/app.py"],
};
const JAVASCRIPT: Sdk =
    Sdk { language: "javascript", program: "", arguments: &["javascript/app.mjs"] };
const RUST: Sdk = Sdk { language: "rust", program: "rust/debug/cruddur-sdk-test", arguments: &[] };

impl Sdk {
    /// `None`, with a line on stderr, if `tests/sdk/install` could not install it.
    fn command(&self) -> Option<Command> {
        let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/sdk");
        if !sdk.join(self.language).join("installed").exists() {
            eprintln!("NOT RUN: the SDK for {} is not installed", self.language);
            return None;
        }
        let program = match self.program {
            "" => PathBuf::from("node"),
            program => sdk.join(program),
        };
        let mut command = Command::new(program);
        command
            .args(self.arguments)
            .current_dir(&sdk)
            .env("OTEL_SERVICE_NAME", self.language)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        Some(command)
    }

    /// Runs the program beside the extension. `variables` choose the protocol.
    async fn assert_arrives(&self, sandbox: Builder, variables: &[(&str, String)]) {
        let Some(mut command) = self.command() else { return };
        let honeycomb = Honeycomb::start().await;
        let sandbox = sandbox.function(echo()).honeycomb(&honeycomb).freezing(false).start().await;
        command.envs(variables.iter().map(|(name, value)| (name, value)));

        let output = timeout(Duration::from_secs(120), command.output()).await;
        sandbox.invoke(raw_event(json!({}))).await;
        sandbox.shutdown().await;

        let output = output.expect("the program ends").expect("the program starts");
        let printed = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{printed}");
        assert_trace(&honeycomb, self.language);
        assert_log(&honeycomb, self.language);
        assert_metrics(&honeycomb, self.language);
    }

    async fn assert_arrives_over(&self, protocol: &str) {
        let sandbox = builder();
        let endpoint = match protocol {
            "grpc" => format!("http://{}", sandbox.otlp_grpc_address()),
            _ => format!("http://{}", sandbox.otlp_address()),
        };
        let variables = [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_owned()),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
            // JavaScript's default is traces alone.
            ("OTEL_LOGS_EXPORTER", "otlp".to_owned()),
            ("OTEL_METRICS_EXPORTER", "otlp".to_owned()),
        ];
        self.assert_arrives(sandbox, &variables).await;
    }
}

fn builder() -> Builder {
    Sandbox::builder("echo")
}

#[tokio::test]
#[ignore = "needs the SDKs that `make test-slow` installs"]
async fn python_by_opentelemetry_instrument_with_its_defaults() {
    // The default is localhost:4317, for SDK and extension.
    let sandbox = builder().env("CRUDDUR_OTLP_GRPC_LISTEN", "127.0.0.1:4317");

    PYTHON.assert_arrives(sandbox, &[]).await;
}

#[tokio::test]
#[ignore = "needs the SDKs that `make test-slow` installs"]
async fn python_over_http_and_compressed_over_grpc() {
    PYTHON.assert_arrives_over("http/protobuf").await;
    let sandbox = builder();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", sandbox.otlp_grpc_address())),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip".to_owned()),
    ];
    PYTHON.assert_arrives(sandbox, &variables).await;
}

#[tokio::test]
#[ignore = "needs the SDKs that `make test-slow` installs"]
async fn javascript_over_grpc_http_with_json_and_http_with_protobuf() {
    for protocol in ["grpc", "http/json", "http/protobuf"] {
        JAVASCRIPT.assert_arrives_over(protocol).await;
    }
}

#[tokio::test]
#[ignore = "needs the SDKs that `make test-slow` installs"]
async fn rust_over_tonic_plain_and_compressed() {
    RUST.assert_arrives_over("grpc").await;
    let sandbox = builder();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", sandbox.otlp_grpc_address())),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip".to_owned()),
    ];
    RUST.assert_arrives(sandbox, &variables).await;
}
