//! What a function's telemetry costs: the same function with it and without (`OTEL_SDK_DISABLED`),
//! call by call in turn, so that both see the same machine. `make bench` prints the table.
//!
//! With telemetry the release build of the extension takes the spans, and a Honeycomb on loopback
//! takes them from there. CPU is the function's process alone.

#![allow(clippy::print_stdout)] // its table is what it is for

use std::path::{Path, PathBuf};
use std::time::Duration;

use cruddur::domain::{Activity, Counters, Handle, MessageText, UserKey};
use cruddur::store::threads;
use cruddur_tests::usage::cpu_time;
use cruddur_tests::{Builder, EXTENSION, Honeycomb, Party, Program, Sandbox, Store, What, event};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

type Failure = Box<dyn std::error::Error>;

/// Calls of each before anything is measured, and then.
const WARM_UP: usize = 50;
const CALLS: usize = 1_500;

/// Starts of each.
const STARTS: usize = 31;

/// Spans more in a request, to see what one takes.
const MORE_SPANS: usize = 100;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let bench = Bench::new().await?;
    println!("{:<52}{:>10}{:>10}{:>10}", "", "off", "on", "on/off");
    bench.home().await?;
    bench.one_more_span().await?;
    bench.init().await
}

struct Bench {
    release: PathBuf,
    honeycomb: Honeycomb,
    store: Store,
}

impl Bench {
    async fn new() -> Result<Self, Failure> {
        let program = std::env::current_exe()?; // target/release/examples/bench-telemetry
        let release = program.ancestors().nth(2).ok_or("no target directory")?.to_owned();
        let store = Store::sqlite().await;
        let now = Timestamp::now();
        for _ in 0..10 {
            threads::publish(store.table(), &activity(now)?, None, now).await?;
        }
        Ok(Self { release, honeycomb: Honeycomb::start().await, store })
    }

    fn off(&self, program: &Path) -> Builder {
        Sandbox::builder("home-activities")
            .function(Program::Binary(program.to_owned()))
            .without_extension()
            .env("OTEL_SDK_DISABLED", "true")
            .freezing(false)
            .store(&self.store)
    }

    fn on(&self, program: &Path) -> Builder {
        Sandbox::builder("home-activities")
            .function(Program::Binary(program.to_owned()))
            .extension(EXTENSION, Program::Binary(self.release.join(EXTENSION)))
            .honeycomb(&self.honeycomb)
            .freezing(false)
            .store(&self.store)
    }

    async fn home(&self) -> Result<(), Failure> {
        let program = self.release.join("home-activities");
        let (off, on) = (self.off(&program).start().await, self.on(&program).start().await);
        let [off, on] = in_turn([(&off, 40), (&on, 40)]).await?;
        let (p50_off, p50_on) = (percentile(&off.latencies, 0.5), percentile(&on.latencies, 0.5));
        row("home: reply, ms (p50)", p50_off, p50_on);
        row(
            "home: reply, ms (p99)",
            percentile(&off.latencies, 0.99),
            percentile(&on.latencies, 0.99),
        );
        println!(
            "{:<52}{:>20.3}",
            "home: what telemetry adds to a reply, ms (p50)",
            p50_on - p50_off
        );
        row("home: function's CPU per request, ms", off.cpu, on.cpu);
        Ok(())
    }

    async fn one_more_span(&self) -> Result<(), Failure> {
        let program = self.release.join("examples/steps-function");
        let (off, on) = (self.off(&program).start().await, self.on(&program).start().await);
        let pairs = [(&off, 0), (&off, MORE_SPANS), (&on, 0), (&on, MORE_SPANS)];
        let [off_none, off_more, on_none, on_more] = in_turn(pairs).await?;
        row("empty handler: reply, ms (p50)", p50(&off_none), p50(&on_none));
        row("empty handler: function's CPU per request, ms", off_none.cpu, on_none.cpu);
        let each =
            |none: &Measured, more: &Measured| (more.cpu - none.cpu) * 1e3 / MORE_SPANS as f64;
        row("one more span: CPU, µs", each(&off_none, &off_more), each(&on_none, &on_more));
        Ok(())
    }

    /// Spawn to first Next.
    async fn init(&self) -> Result<(), Failure> {
        let home = self.release.join("home-activities");
        let empty = self.release.join("examples/empty-function");
        let mut times = [const { Vec::new() }; 3];
        for _ in 0..STARTS {
            for (times, builder) in
                times.iter_mut().zip([self.off(&empty), self.off(&home), self.on(&home)])
            {
                let sandbox = builder.start().await;
                let journal = sandbox.journal();
                let started = journal.first(|what| *what == What::Started(Party::Runtime));
                let next = journal.first(|what| *what == What::RuntimeNext);
                times.push(millis(next.ok_or("no Next")? - started.ok_or("no start")?));
                sandbox.shutdown().await;
            }
        }
        let [empty, off, on] = times.map(|times| percentile(&times, 0.5));
        row("home: init, ms (median)", off, on);
        println!("{:<52}{empty:>10.3}", "an empty lambda_http function: init, ms (median)");
        println!("{:<52}{:>30.2}", "home's init with telemetry / the empty one's", on / empty);
        Ok(())
    }
}

#[derive(Default)]
struct Measured {
    /// In milliseconds, as the caller sees them.
    latencies: Vec<f64>,
    /// Per request, in milliseconds.
    cpu: f64,
}

/// Calls each sandbox with a `limit`, one after the other, each when all before have ended.
async fn in_turn<const N: usize>(calls: [(&Sandbox, usize); N]) -> Result<[Measured; N], Failure> {
    let mut measured = [const { Measured { latencies: Vec::new(), cpu: 0.0 } }; N];
    for round in 0..WARM_UP + CALLS {
        for ((sandbox, limit), measured) in calls.iter().zip(&mut measured) {
            let pid = sandbox.pid(Party::Runtime).await.ok_or("the function has ended")?;
            let before = cpu_time(pid);
            let call = event("home-activities").query("limit", &limit.to_string());
            let reply = sandbox.try_invoke(call).await.map_err(|error| format!("{error:?}"))?;
            sandbox.ended(&reply.request_id).await;
            if reply.status != 200 {
                return Err(format!("{} {}", reply.status, reply.body).into());
            }
            if round >= WARM_UP {
                measured.latencies.push(millis(reply.latency));
                measured.cpu += millis(cpu_time(pid) - before) / CALLS as f64;
            }
        }
    }
    Ok(measured)
}

fn row(what: &str, off: f64, on: f64) {
    println!("{what:<52}{off:>10.3}{on:>10.3}{:>9.2}×", on / off);
}

fn p50(measured: &Measured) -> f64 {
    percentile(&measured.latencies, 0.5)
}

fn percentile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * part).round() as usize]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn activity(now: Timestamp) -> Result<Activity, Failure> {
    Ok(Activity {
        uuid: Uuid::new_v4(),
        author: UserKey::local(&Handle::parse("andrew")?),
        message: MessageText::parse("Hello")?,
        created_at: now,
        expires_at: now + SignedDuration::from_hours(24),
        counters: Counters::default(),
    })
}
