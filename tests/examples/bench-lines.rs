//! What a function's lines cost the extension: hold of Next for 100 of them, memory and CPU for
//! 100,000. For `make bench-extension`.
//!
//! The function is a shell script that writes as many lines as its event says. CloudWatch Logs is
//! so far away as the destination is elsewhere, and takes everything.

#![allow(clippy::print_stdout)] // its table is what it is for

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use cruddur_tests::usage::{cpu_time, peak_rss_bytes};
use cruddur_tests::{
    Answer, Builder, EXTENSION, Party, Program, Proxy, Sandbox, eventually, raw_event,
};
use serde_json::json;
use tempfile::TempDir;

/// How far away the destination is where the hold is measured.
const ROUND_TRIP: Duration = Duration::from_millis(50);

const INVOCATIONS: usize = 15;

const MANY: usize = 100_000;

#[tokio::main]
async fn main() {
    let extension = std::env::args_os().nth(1).map(PathBuf::from).expect("the extension's path");
    let bench = Bench { extension, directory: tempfile::tempdir().expect("a directory") };
    bench.holds().await;
    bench.many().await;
}

struct Bench {
    extension: PathBuf,
    directory: TempDir,
}

impl Bench {
    /// Writes first, then replies: what is held for comes before the end.
    fn function(&self) -> Program {
        let script = self.directory.path().join("function");
        let text = r#"#!/bin/sh
base="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while headers=$(curl -s -D - -o "$TMPDIR/event" "$base/next"); do
  id=$(echo "$headers" | tr -d '\r' | sed -n 's/^lambda-runtime-aws-request-id: //Ip')
  seq -f 'line %.0f of an invocation, about as long as what a handler has to say' 1 "$(tr -dc 0-9 <"$TMPDIR/event")"
  curl -s -d '{}' "$base/$id/response" >/dev/null
done
"#;
        fs::write(&script, text).expect("a script");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("an executable");
        Program::Binary(script)
    }

    fn sandbox(&self, logs: Option<&Proxy>) -> Builder {
        let builder = Sandbox::builder("script")
            .function(self.function())
            .extension(EXTENSION, Program::Binary(self.extension.clone()))
            .function_timeout(Duration::from_secs(100));
        match logs {
            Some(logs) => builder
                .env("CRUDDUR_LOG_GROUP", "cruddur")
                .env("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", &logs.url()),
            None => builder.env("CRUDDUR_EXPORTERS", "console"),
        }
    }

    async fn holds(&self) {
        let logs = Proxy::start("http://127.0.0.1:1").await;
        let taken = Answer::json(200, &json!({}));
        logs.always(Answer::Late(ROUND_TRIP, Box::new(taken)));
        println!(
            "hold of Next, ms, sparse traffic, CloudWatch Logs 50 ms away (median of {INVOCATIONS})"
        );
        for (what, count, logs) in [
            ("  no exporter of lines, 1 line", 1, None),
            ("  1 line", 1, Some(&logs)),
            ("  100 lines", 100, Some(&logs)),
        ] {
            let sandbox = self.sandbox(logs).start().await;
            let mut holds = Vec::new();
            for round in 0..=INVOCATIONS {
                let reply = sandbox.invoke(raw_event(json!({ "lines": count }))).await;
                sandbox.ended(&reply.request_id).await;
                let journal = sandbox.journal();
                let hold = journal.hold_of_next(&reply.request_id).unwrap_or_default();
                let runtime = journal.runtime_overhead(&reply.request_id).unwrap_or_default();
                // The first one makes stream and connection.
                holds.extend((round > 0).then(|| millis(hold.saturating_sub(runtime))));
                tokio::time::sleep(Duration::from_millis(1_100)).await;
            }
            sandbox.shutdown().await;
            holds.sort_by(f64::total_cmp);
            println!("{what:<56}{:>12.2}", holds[holds.len() / 2]);
        }
    }

    async fn many(&self) {
        let logs = Proxy::start("http://127.0.0.1:1").await;
        logs.always(Answer::json(200, &json!({})));
        let sandbox = self.sandbox(Some(&logs)).freezing(false).start().await;
        let pid = sandbox.pid(Party::Extension(EXTENSION.to_owned())).await.expect("a process");
        let sent = async || {
            let requests = logs.bodies("PutLogEvents");
            requests.iter().filter_map(|it| Some(it["logEvents"].as_array()?.len())).sum::<usize>()
        };
        sandbox.invoke(raw_event(json!({ "lines": 1 }))).await;
        eventually(&sent, |sent: &usize| *sent > 0).await;
        let mib = || peak_rss_bytes(pid) as f64 / f64::from(1 << 20);
        let (before, cpu) = (mib(), cpu_time(pid));

        sandbox.invoke(raw_event(json!({ "lines": MANY }))).await;
        let arrived = eventually(&sent, |sent: &usize| *sent > MANY).await;
        let cpu = (cpu_time(pid) - cpu).as_secs_f64() * 1e6 / MANY as f64;
        let peak = mib();
        sandbox.shutdown().await;

        println!("100,000 lines in one invocation, {arrived} lines arrived with the platform's");
        println!("{:<56}{before:>12.2}", "  memory before, MiB");
        println!("{:<56}{peak:>12.2}", "  memory after, at its peak, MiB");
        println!("{:<56}{cpu:>12.2}", "  CPU per line, from the Telemetry API to the reply, µs");
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
