//! What is deployed, started: release builds, without the local store, as `sam build` left them.
//! `.dev/check-dist` runs it, and says by variables what and how.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cruddur_tests::{EXTENSION, Exit, Honeycomb, Program, Sandbox, Store, event};
use tempfile::TempDir;

use crate::api::samples;
use crate::template::resource_of;

/// What `sam build` made.
struct Build {
    directory: PathBuf,
    /// What stands before a program that this machine cannot run by itself.
    emulator: Option<String>,
    /// Where the programs lie that run it so.
    started_by: TempDir,
}

impl Build {
    fn of_variables() -> Build {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let directory = variable("CRUDDUR_DIST").expect("CRUDDUR_DIST: what `sam build` made");
        Build {
            directory: Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(directory),
            emulator: variable("CRUDDUR_DIST_EMULATOR"),
            started_by: tempfile::tempdir().expect("a directory"),
        }
    }

    fn program(&self, path: &str) -> Option<Program> {
        let program = self.directory.join(path);
        let emulator = match &self.emulator {
            _ if !program.exists() => return None,
            None => return Some(Program::Binary(program)),
            Some(emulator) => emulator,
        };
        // Its file has the program's name: Lambda knows extensions by it.
        let own = self.started_by.path().join(path);
        fs::create_dir_all(own.parent().expect("a directory")).expect("a directory");
        let script = format!("#!/bin/sh\nexec {emulator} '{}' \"$@\"\n", program.display());
        fs::write(&own, script).expect("a program");
        fs::set_permissions(&own, fs::Permissions::from_mode(0o755)).expect("a program");
        Some(Program::Binary(own))
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "of release builds; see `make dist`"]
async fn every_function_that_was_built_answers_and_the_layer_tells_honeycomb() {
    let (build, honeycomb, store) =
        (Build::of_variables(), Honeycomb::start().await, Store::dynamodb().await);
    store.seed();
    let layer = build.program("TelemetryLayer/extensions/cruddur-telemetry").expect("the layer");

    let mut answered = 0;
    // One sample each, named as the function is.
    for name in samples::table().into_iter().map(|row| row.0) {
        let Some(function) = build.program(&format!("{}/bootstrap", resource_of(name))) else {
            continue;
        };
        let sandbox = Sandbox::builder(name)
            .function(function)
            .extension(EXTENSION, layer.clone())
            .honeycomb(&honeycomb)
            .store(&store)
            .env("FRONTEND_URL", "http://localhost:3000")
            .freezing(false)
            .start()
            .await;
        let reply = sandbox.invoke(event(name)).await;
        assert_eq!(reply.status, 200, "{name}: {}", reply.body);
        // Load balancers' questions are nobody's traces.
        if name != "health-check" {
            let server = honeycomb.server_span(&reply.request_id).await;
            assert_eq!(server.attribute("http.response.status_code"), 200);
        }
        let ended = sandbox.shutdown().await;
        assert_eq!(ended.extension, Some(Exit::Code(0)), "{}", sandbox.story());
        answered += 1;
    }
    let built = fs::read_dir(&build.directory).expect("what was built").flatten();
    let built = built.filter(|it| it.path().join("bootstrap").exists()).count();
    assert!(built > 0 && answered == built, "{answered} of {built} functions answered");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "of release builds; see `make dist`"]
async fn a_failure_shows_the_functions_that_led_to_it() {
    let (build, honeycomb) = (Build::of_variables(), Honeycomb::start().await);
    let function = build.program("HomeActivitiesFunction/bootstrap").expect("a function");
    let layer = build.program("TelemetryLayer/extensions/cruddur-telemetry").expect("the layer");
    let sandbox = Sandbox::builder("home-activities")
        .function(function)
        .extension(EXTENSION, layer)
        .honeycomb(&honeycomb)
        .freezing(false)
        .start()
        .await;

    // It has no store.
    let reply = sandbox.invoke(event("home-activities")).await;

    assert_eq!(reply.status, 500, "{}", reply.body);
    let server = honeycomb.server_span(&reply.request_id).await;
    let stack = server.event_attribute("exception", "exception.stacktrace");
    assert!(stack.as_str().is_some_and(|stack| stack.contains("cruddur::")), "{server:#?}");
}
