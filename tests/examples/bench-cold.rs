//! The first reply of a sandbox beside its later ones, under the CPU quota of 256 MB: `make bench`
//! prints the table.
//!
//! Init has a whole core, as in Lambda. The store is on the other side of TLS and 5 ms away, and
//! answers from memory.

#![allow(clippy::print_stdout)] // the table is its purpose

use std::path::PathBuf;
use std::time::Duration;

use cruddur::domain::{Activity, Counters, Handle, Identity, MessageText, UserKey};
use cruddur::store::{threads, users};
use cruddur_tests::cpu_quota::CpuQuota;
use cruddur_tests::tls_store::TlsStore;
use cruddur_tests::usage::cpu_time;
use cruddur_tests::{
    Builder, EXTENSION, Honeycomb, Party, Program, Sandbox, Store, What, event, moto,
};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

type Failure = Box<dyn std::error::Error>;

const MEMORY_MB: u64 = 256;

/// The program of one function, and the deployed one that holds all of them.
const ONE: &str = "home-activities";
const ALL: &str = "functions";

/// Two directions of 2 ms, and the wait for a timer's tick in each: about 5 ms there and back.
const ONE_WAY: Duration = Duration::from_millis(2);

const SANDBOXES: usize = 21;

/// Later requests of each sandbox, ten a second.
const WARM: usize = 10;
const PAUSE: Duration = Duration::from_millis(100);

/// Most that the first reply may take longer, in milliseconds.
const BUDGET_MS: f64 = 3.0;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    if let Err(problem) = CpuQuota::of_memory(MEMORY_MB) {
        println!("NOT RUN: the cold reply under a CPU quota, for no cgroup can be made: {problem}");
        return Ok(());
    }
    let bench = Bench::new().await?;
    bench.run(ONE, false, 1).await?; // the store has seen each request after this
    println!(
        "{:<37}{:>10}{:>10}{:>10}{:>12}{:>10}",
        "home at 256 MB, ms (median)", "init", "cold", "warm", "cold - warm", "cold CPU"
    );
    let rows = [
        ("without the layer", ONE, false),
        ("with the layer", ONE, true),
        ("of all functions, without the layer", ALL, false),
        ("of all functions, with the layer", ALL, true),
    ];
    for (name, program, with_layer) in rows {
        let measured = bench.run(program, with_layer, SANDBOXES).await?;
        let [init, cold, warm, cpu] = measured.map(|times| median(&times));
        let verdict = if cold - warm <= BUDGET_MS { "" } else { "  over the budget of 3 ms" };
        println!(
            "{name:<37}{init:>10.1}{cold:>10.1}{warm:>10.1}{:>12.1}{cpu:>10.1}{verdict}",
            cold - warm
        );
    }
    Ok(())
}

struct Bench {
    release: PathBuf,
    honeycomb: Honeycomb,
    store: Store,
    tls: TlsStore,
}

impl Bench {
    async fn new() -> Result<Self, Failure> {
        let program = std::env::current_exe()?; // target/release/examples/bench-cold
        let release = program.ancestors().nth(2).ok_or("no target directory")?.to_owned();
        let store = Store::dynamodb().await;
        let now = Timestamp::now();
        for n in 0..10 {
            let handle = Handle::parse(&format!("user {n}"))?;
            let key = UserKey::local(&handle);
            let identity = Identity { key, handle, handle_is_chosen: false, name: None };
            users::get_or_create(store.table(), &identity, now).await?;
            threads::publish(store.table(), &activity(key, now)?, None, now).await?;
        }
        let tls = TlsStore::start(moto::url(), ONE_WAY).await;
        Ok(Self { release, honeycomb: Honeycomb::start().await, store, tls })
    }

    fn sandbox(&self, program: &str, with_layer: bool) -> Builder {
        let builder = Sandbox::builder("home-activities")
            .function(Program::Binary(self.release.join(program)))
            .freezing(false)
            .store(&self.store)
            .env("AWS_ENDPOINT_URL_DYNAMODB", &self.tls.url())
            .env("CRUDDUR_CA_BUNDLE", &self.tls.ca_bundle().display().to_string());
        match with_layer {
            false => builder.without_extension().env("OTEL_SDK_DISABLED", "true"),
            true => builder
                .extension(EXTENSION, Program::Binary(self.release.join(EXTENSION)))
                .honeycomb(&self.honeycomb),
        }
    }

    /// Init, the first reply, each later reply, and the CPU of the first request, in milliseconds.
    async fn run(
        &self,
        program: &str,
        with_layer: bool,
        sandboxes: usize,
    ) -> Result<[Vec<f64>; 4], Failure> {
        let mut measured = [const { Vec::new() }; 4];
        for _ in 0..sandboxes {
            let sandbox = self.sandbox(program, with_layer).start().await;
            let pid = sandbox.pid(Party::Runtime).await.ok_or("the function has ended")?;
            let quota = CpuQuota::of_memory(MEMORY_MB)?;
            quota.add(pid)?;
            if let Some(extension) = sandbox.pid(Party::Extension(EXTENSION.to_owned())).await {
                quota.add(extension)?;
            }
            let journal = sandbox.journal();
            let started = journal.first(|what| *what == What::Started(Party::Runtime));
            let next = journal.first(|what| *what == What::RuntimeNext);
            measured[0].push(millis(next.ok_or("no Next")? - started.ok_or("no start")?));
            let before = cpu_time(pid);
            measured[1].push(reply(&sandbox).await?);
            measured[3].push(millis(cpu_time(pid) - before));
            for _ in 0..WARM {
                tokio::time::sleep(PAUSE).await;
                measured[2].push(reply(&sandbox).await?);
            }
            drop(quota);
            sandbox.shutdown().await;
        }
        Ok(measured)
    }
}

/// The time until the reply, in milliseconds.
async fn reply(sandbox: &Sandbox) -> Result<f64, Failure> {
    let reply =
        sandbox.try_invoke(event("home-activities")).await.map_err(|error| format!("{error:?}"))?;
    sandbox.ended(&reply.request_id).await;
    match (reply.status, reply.json.as_array().map(Vec::len)) {
        (200, Some(10)) => Ok(millis(reply.latency)),
        (status, _) => Err(format!("{status} {}", reply.body).into()),
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn activity(author: UserKey, now: Timestamp) -> Result<Activity, Failure> {
    Ok(Activity {
        uuid: Uuid::new_v4(),
        author,
        message: MessageText::parse("Hello")?,
        created_at: now,
        expires_at: now + SignedDuration::from_hours(24),
        counters: Counters::default(),
    })
}
