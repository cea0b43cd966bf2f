//! The local run: functions under an emulator that hands no lines to the extension beside it.

use std::process::{Child, Command, Stdio};

use cruddur_tests::{Sandbox, binaries, event, eventually, http_client};
use serde_json::Value;
use tempfile::TempDir;

use crate::straight_line::everywhere::Everywhere;

/// The extension, alone, at an address of its own.
struct Extension {
    process: Child,
    url: String,
    _directory: TempDir,
}

impl Extension {
    async fn start(listen: &str, everywhere: &Everywhere) -> Extension {
        let directory = tempfile::tempdir().expect("a directory");
        let process = Command::new(binaries().path("cruddur-telemetry"))
            .env_clear()
            .envs(everywhere.variables())
            .env("AWS_REGION", "eu-central-1") // the sandbox's
            .env("AWS_ACCESS_KEY_ID", "x")
            .env("AWS_SECRET_ACCESS_KEY", "x")
            .env("CRUDDUR_OTLP_LISTEN", listen)
            .env("CRUDDUR_OTLP_GRPC_LISTEN", "off")
            .env("CRUDDUR_SPOOL_DIR", directory.path())
            .stdin(Stdio::null())
            .spawn()
            .expect("the extension starts");
        let extension =
            Extension { process, url: format!("http://{listen}"), _directory: directory };
        let answers = || async { http_client::get(&extension.url, &[]).await.is_ok() };
        assert!(eventually(answers, |answers| *answers).await, "nobody listens");
        extension
    }
}

impl Drop for Extension {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn a_requests_lines_are_in_the_group_as_on_stdout_and_a_failure_is_one_item() {
    let everywhere = Everywhere::start().await;
    let extension = Extension::start("127.78.0.1:4318", &everywhere).await;
    let sandbox = Sandbox::builder("home-activities")
        .without_extension()
        .otlp_endpoint(&extension.url)
        .env("OTEL_LOGS_EXPORTER", "otlp") // the default where the Runtime API is an emulator's
        .demo_store()
        .start()
        .await;

    let fine = sandbox.invoke(event("home-activities")).await;
    let failing = event("home-activities").header("x-cruddur-fault", "panic");
    let failed = sandbox.invoke(failing).await;
    everywhere.rollbar.items_reach(1).await;

    for request_id in [&fine.request_id, &failed.request_id] {
        let server = everywhere.honeycomb.server_span(request_id).await;
        let on_stdout = sandbox.function_log_lines();
        let on_stdout = on_stdout.iter().map(|line| serde_json::from_str(line).expect("JSON"));
        let mut on_stdout: Vec<Value> = on_stdout.collect();
        on_stdout.retain(|line| line["requestId"] == request_id.as_str());
        assert!(!on_stdout.is_empty());
        let written = || everywhere.lines(request_id);
        let mut written = eventually(written, |lines| lines.len() == on_stdout.len()).await;
        let with_metrics = written.iter().filter(|line| line["_aws"].is_object()).count();
        assert_eq!(with_metrics, 1, "{written:#?}");
        for line in written.iter_mut().filter_map(Value::as_object_mut) {
            assert_eq!(line["trace_id"], server.trace_id.as_str());
            line.retain(|key, _| !ADDED.contains(&key.as_str()));
        }
        assert_eq!(written, on_stdout);
    }

    let item = everywhere.only_item();
    assert_eq!(item["custom"]["request_id"], failed.request_id);
    assert_eq!(item["body"]["trace"]["exception"]["class"], "Panic");
    let lines = item["body"]["telemetry"].as_array().expect("lines");
    assert!(lines.iter().any(|line| line["level"] == "error"), "{lines:#?}");
}

/// What the extension adds: metrics to an access line, and where it is from to each.
const ADDED: [&str; 7] =
    ["_aws", "Route", "StatusClass", "Requests", "Latency", "resource", "scope"];
