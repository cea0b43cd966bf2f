//! The scripts in `.dev/` that a person starts: the local run, and its walks without an account.
//!
//! Each run takes free ports. `.dev/build` finds the programs built by [`binaries`].

use std::{
    fs::Permissions, net::TcpListener, os::unix::fs::PermissionsExt, path::Path, process::Output,
    time::Duration,
};

use cruddur_tests::{Honeycomb, binaries, eventually, http_client, remove_package_variables};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

/// A first build of the local run takes minutes beside other tests.
const LIMIT: Duration = Duration::from_secs(600);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests is a folder of the project")
}

fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port().to_string()
}

/// A script whose store and spool are in `directory`.
fn script(name: &str, directory: &TempDir) -> Command {
    binaries();
    let tools = root().join(".venv/bin");
    let path = std::env::var("PATH").expect("a PATH");
    let mut command = Command::new(root().join(".dev").join(name));
    command
        .env("PATH", format!("{}:{path}", tools.display()))
        .env("PORT", free_port())
        .env("CRUDDUR_OTLP_LISTEN", format!("127.0.0.1:{}", free_port()))
        .env("CRUDDUR_SQLITE", directory.path().join("cruddur.db"))
        .env("CRUDDUR_SPOOL_DIR", directory.path().join("spool"))
        .env_remove("CRUDDUR_EXPORTERS")
        .env_remove("HONEYCOMB_API_KEY")
        .stdin(std::process::Stdio::null())
        .process_group(0)
        .kill_on_drop(true);
    remove_package_variables(command.as_std_mut());
    command
}

async fn output(mut command: Command) -> Output {
    let output = timeout(LIMIT, command.output()).await.expect("it ends in time");
    output.expect("it starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn the_start_message_fits_its_commands_work_and_ctrl_c_ends_in_silence() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = script("run", &directory);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut run = command.spawn().expect("it starts");
    let mut rows = BufReader::new(run.stdout.take().expect("a pipe")).lines();

    let mut message = Vec::new();
    let read = async {
        while let Some(row) = rows.next_line().await.expect("UTF-8")
            && !row.is_empty()
        {
            message.push(row);
        }
    };
    timeout(LIMIT, read).await.expect("it starts in time");
    let commands = message.join("\n");
    let commands = commands.split_once("  curl").map(|(_, rest)| format!("curl{rest}"));
    let commands = commands.expect("commands");
    let commands = commands.split("\nEach").next().expect("text").replace("curl ", "curl -f ");
    let answers = Command::new("bash").args(["-ec", &commands]).output().await.expect("bash");

    assert!(message.len() <= 12, "{message:#?}");
    assert!(message.iter().all(|row| row.chars().count() <= 80), "{message:#?}");
    assert!(answers.status.success(), "{commands}\n{answers:?}");
    assert!(text(&answers.stdout).contains("\"message\":\"hi\""), "{answers:?}");
    let page =
        message.iter().find_map(|row| row.strip_prefix("Traces, latencies, lines and failures: "));
    let page = page.unwrap_or_else(|| panic!("no address of the page: {message:#?}"));
    for route in ["GET /api/activities/home", "POST /api/activities"] {
        let row = timeout(LIMIT, rows.next_line()).await.expect("a row").expect("UTF-8");
        assert!(row.as_ref().is_some_and(|row| row.contains(route)), "{row:?}");
        let (_, trace) = row.as_ref().and_then(|row| row.split_once(page)).expect("a link");
        let id = trace.split(' ').next().and_then(|it| it.strip_prefix("traces/")).expect("an id");
        let url = format!("{page}api/traces/{id}");
        let ask = || async { http_client::get(&url, &[]).await.expect("an answer").json() };
        let shown = eventually(ask, |shown| shown["summary"]["id"] == id).await;
        assert_eq!(shown["summary"]["id"], id, "{shown}");
    }
    let (printed, code) = interrupted(run).await;
    assert!(printed.starts_with("OTLP is received at http://"), "{printed}");
    assert_eq!((printed.lines().count(), code), (1, Some(0)), "{printed}");
}

/// What the run prints to standard error, and its exit code, after the signal that Ctrl-C sends.
async fn interrupted(run: Child) -> (String, Option<i32>) {
    let group = i32::try_from(run.id().expect("it runs")).expect("a process id");
    killpg(Pid::from_raw(group), Signal::SIGINT).expect("the group of the run");
    let ended = timeout(LIMIT, run.wait_with_output()).await.expect("it ends").expect("its output");
    (text(&ended.stderr), ended.status.code())
}

#[tokio::test]
async fn a_destination_is_a_row_with_its_team_or_with_the_reason_of_its_refusal() {
    let directory = tempfile::tempdir().expect("a directory");
    let honeycomb = Honeycomb::start().await;
    let row = async |key: &str| {
        let mut command = script("destinations", &directory);
        command.arg(binaries().path("cruddur-telemetry"));
        command.env("HONEYCOMB_API_KEY", key).env("HONEYCOMB_API_ENDPOINT", honeycomb.url());
        text(&output(command).await.stdout)
    };

    let (right, wrong) = (row(honeycomb.key()).await, row("another").await);
    let blank = row("  ").await;

    assert_eq!(blank, "! honeycomb: HONEYCOMB_API_KEY is blank, so Honeycomb receives nothing\n");
    assert_eq!(right, "✓ honeycomb: team Cruddur, environment Production\n");
    assert!(wrong.starts_with("✗ honeycomb: does not know the key"), "{wrong}");
    assert!(wrong.lines().count() == 1 && wrong.trim_end().chars().count() <= 80, "{wrong}");
}

#[tokio::test]
async fn a_bad_environment_is_one_sentence_with_its_remedy() {
    let directory = tempfile::tempdir().expect("a directory");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("an address").port().to_string();
    let no_venv = directory.path().join("python3");
    std::fs::write(&no_venv, "#!/bin/sh\necho No module named venv\nexit 1\n").expect("a file");
    std::fs::set_permissions(&no_venv, Permissions::from_mode(0o755)).expect("permissions");
    let path = format!("{}:/usr/bin:/bin", directory.path().display());
    for (name, variables, arguments, expected) in [
        ("run", [("PORT", "99999")], &[][..], "PORT must be a number from 1 to 65535"),
        ("run", [("PORT", taken.as_str())], &[], "is in use"),
        ("venv", [("PATH", path.as_str())], &[], "apt install python3-venv"),
        ("build", [("X", "")], &["/dev/full", "--bin", "seed"], "/dev/full cannot be written"),
    ] {
        let mut command = script(name, &directory);
        command.args(arguments).envs(variables).current_dir(root());

        let refused = output(command).await;

        let printed = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{printed}");
        assert!(printed.contains(expected) && printed.lines().count() == 1, "{printed}");
    }
}

#[tokio::test]
async fn the_walk_without_aws_finds_the_trace_and_the_lines_of_a_request() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut walk = script("try-aws", &directory);
    walk.env("MOTO_PORT", free_port());

    let walked = output(walk).await;

    let shown = text(&walked.stdout);
    assert!(walked.status.success(), "{shown}\n{}", text(&walked.stderr));
    let root = shown.split("Root=").nth(1).and_then(|rest| rest.lines().next()).expect("a trace");
    let (_, rest) = shown.split_once("get-trace-summaries").expect("the question");
    let (summaries, segments) = rest.split_once("batch-get-traces").expect("the question");
    let (segments, lines) = segments.split_once("filter-log-events").expect("the question");
    assert!(summaries.lines().any(|row| row == root), "{shown}");
    assert!(segments.contains("home-activities"), "{shown}");
    let trace_id = root[2..].replace('-', "");
    assert!(lines.contains(&trace_id), "{shown}");
}

#[tokio::test]
async fn the_walk_without_rollbar_shows_a_message_and_a_panic() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut walk = script("try-rollbar", &directory);
    walk.env("ROLLBAR_PORT", free_port());

    let walked = output(walk).await;

    let shown = text(&walked.stdout);
    assert!(walked.status.success(), "{shown}\n{}", text(&walked.stderr));
    assert!(shown.contains("warning, environment development\n  Hello World!"), "{shown}");
    assert!(shown.contains("error, environment development\n  Panic: "), "{shown}");
    assert!(shown.contains("functions/src/runtime/faults.rs:"), "{shown}");
}
