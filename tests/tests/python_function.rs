//! The layer at a function that is not ours: Python's own runtime client and OpenTelemetry SDK, as
//! README.md shows it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use cruddur_tests::otlp::STATUS_ERROR;
use cruddur_tests::{Builder, FailureKind, Honeycomb, Program, Sandbox, event};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What `Runtime: python3.13` and `Handler: function.handle` mean, where there is no such runtime.
pub(crate) fn bootstrap(directory: &TempDir) -> Program {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = directory.path().join("bootstrap");
    let (code, python) = (tests.join("python-function"), tests.join("../.venv/bin/python3"));
    let text = format!(
        "#!/bin/sh\ncd {} && exec {} -B -u -m awslambdaric function.handle\n",
        code.display(),
        python.display()
    );
    fs::write(&script, text).expect("a script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("an executable script");
    Program::Binary(script)
}

async fn start(honeycomb: &Honeycomb, directory: &TempDir) -> Sandbox {
    let builder = Sandbox::builder("greeter").function(bootstrap(directory));
    with_patience(builder.honeycomb(honeycomb)).start().await
}

/// Python takes its time to import the SDK where others use the processor, too.
pub(crate) fn with_patience(builder: Builder) -> Builder {
    builder.init_timeout(Duration::from_secs(120)).function_timeout(Duration::from_secs(60))
}

#[tokio::test]
async fn a_python_functions_spans_and_logs_arrive() {
    let (honeycomb, directory) = (Honeycomb::start().await, tempfile::tempdir().unwrap());
    let sandbox = start(&honeycomb, &directory).await;

    let reply = sandbox.invoke(event("home-activities").query("name", "Ada")).await;

    assert_eq!((reply.status, &reply.json), (200, &json!({"hello": "Ada"})));
    let server = honeycomb.server_span(&reply.request_id).await;
    assert_eq!(server.name, "GET /api/activities/home");
    assert_eq!(server.resource("service.name"), "greeter");
    assert_eq!(server.attribute("http.response.status_code"), 200);
    let greet = honeycomb.span("greet").await;
    assert_eq!(greet.trace_id, server.trace_id);
    assert_eq!(greet.parent_id, Some(server.span_id.clone()));
    honeycomb.log_line("Hello Ada", &server.trace_id).await;
    // What only the platform knows is part of the same trace, whenever it comes.
    sandbox.shutdown().await;
    let report = honeycomb.span("platform.report").await;
    assert_eq!((report.trace_id, report.parent_id), (server.trace_id, Some(server.span_id)));
}

#[tokio::test]
async fn a_python_functions_errors_arrive() {
    let (honeycomb, directory) = (Honeycomb::start().await, tempfile::tempdir().unwrap());
    let sandbox = start(&honeycomb, &directory).await;

    let failure = sandbox.try_invoke(event("home-activities").query("name", "nobody")).await;

    let failure = failure.expect_err("an exception");
    let FailureKind::Function(posted) = &failure.kind else { panic!("{:?}", failure.kind) };
    assert_eq!(posted["errorType"], Value::from("ValueError"));
    let server = honeycomb.server_span(&failure.request_id).await;
    assert_eq!((server.status, &server.events[..]), (STATUS_ERROR, &["exception".to_owned()][..]));
    assert_eq!(server.event_attribute("exception", "exception.type"), "ValueError");
    let message = server.event_attribute("exception", "exception.message");
    assert_eq!(message, "nobody is there to be greeted");
}
