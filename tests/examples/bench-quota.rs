//! What the layer adds to a warm reply under Lambda's CPU quotas, as `make bench-extension` prints it.
//!
//! `bench-quota BARE EXTENSION`: the function of `lines-function`, ten times a second, with no extension, with a
//! bare one, which only asks for events, and with the layer, which has all four exporters. Function and extension
//! share the quota. Init has a whole core, as in Lambda.

#![allow(clippy::print_stdout)] // its table is what it is for

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cruddur_tests::cpu_quota::CpuQuota;
use cruddur_tests::{Answer, Honeycomb, Party, Program, Proxy, Rollbar, Sandbox, event};
use serde_json::json;

type Failure = Box<dyn std::error::Error>;

const MEMORY_MB: [u64; 3] = [128, 256, 512];

const GAP: Duration = Duration::from_millis(100);

/// Invocations of a sandbox, and those before them that make connections and settle the credit.
const COUNTED: usize = 200;
const SETTLING: usize = 30;

/// Sandboxes with the layer and without it, in turn.
const ROUNDS: usize = 3;

/// How far away the destinations are.
const ROUND_TRIP: Duration = Duration::from_millis(50);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut paths = std::env::args_os().skip(1).map(PathBuf::from);
    let mut path = || paths.next().ok_or("the paths of a bare extension and of the layer's");
    let (bare, layer) = (path()?, path()?);
    if let Err(problem) = CpuQuota::of_memory(MEMORY_MB[0]) {
        println!("NOT RUN: replies under a CPU quota, for no cgroup can be made: {problem}");
        return Ok(());
    }
    println!(
        "{:<12}{:<12}{:>10}{:>10}{:>10}{:>10}",
        "memory, MB", "", "p50, ms", "added", "p99, ms", "added"
    );
    for memory_mb in MEMORY_MB {
        let mut times = [const { Vec::new() }; 3];
        for _ in 0..ROUNDS {
            for (times, extension) in times.iter_mut().zip([None, Some(&bare), Some(&layer)]) {
                times.extend(replies(memory_mb, extension.map(PathBuf::as_path)).await?);
            }
        }
        let [p50, p99] = [0.5, 0.99].map(|share| times.each_ref().map(|it| percentile(it, share)));
        for (at, with) in ["none", "bare", "layer"].into_iter().enumerate() {
            println!(
                "{memory_mb:<12}{with:<12}{:>10.2}{:>10.2}{:>10.2}{:>10.2}",
                p50[at],
                p50[at] - p50[0],
                p99[at],
                p99[at] - p99[0]
            );
        }
    }
    Ok(())
}

/// The times until the replies of a sandbox, in milliseconds.
async fn replies(memory_mb: u64, extension: Option<&Path>) -> Result<Vec<f64>, Failure> {
    let program = std::env::current_exe()?.with_file_name("lines-function");
    let (honeycomb, rollbar) = (Honeycomb::start().await, Rollbar::start().await);
    honeycomb.always(Answer::late(ROUND_TRIP));
    let aws = Proxy::start("http://127.0.0.1:1").await;
    aws.always(Answer::Late(ROUND_TRIP, Box::new(Answer::json(200, &json!({})))));
    let mut builder = Sandbox::builder("lines")
        .function(Program::Binary(program))
        .without_extension()
        .memory(memory_mb)
        .function_timeout(Duration::from_secs(30));
    let name = extension.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    if let (Some(extension), Some(name)) = (extension, &name) {
        builder = builder
            .extension(name, Program::Binary(extension.to_owned()))
            .four_exporters(&honeycomb, &rollbar, &aws)
            .env("CRUDDUR_HOLD_BANK_MS", "1000");
    }
    let sandbox = builder.start().await;
    let quota = CpuQuota::of_memory(memory_mb)?;
    for party in [Some(Party::Runtime), name.map(Party::Extension)].into_iter().flatten() {
        if let Some(pid) = sandbox.pid(party).await {
            quota.add(pid)?;
        }
    }
    let mut times = Vec::new();
    for invocation in 0..SETTLING + COUNTED {
        let next = Instant::now() + GAP;
        let reply = sandbox.invoke(event("home-activities")).await;
        sandbox.ended(&reply.request_id).await;
        if invocation >= SETTLING {
            times.push(reply.latency.as_secs_f64() * 1e3);
        }
        tokio::time::sleep(next.saturating_duration_since(Instant::now())).await;
    }
    drop(quota);
    sandbox.shutdown().await;
    Ok(times)
}

fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() as f64 * share) as usize).min(sorted.len() - 1)]
}
