//! What home, create and search cost with more and more in the store: `make bench` prints the table.
//!
//! Each call goes through the runtime loop of the function's release build, one after the other, as
//! in one Lambda environment. CPU is the function's process alone. Requests and capacity units are
//! those that its store gets: by a proxy's record, in a run of its own, so that it slows nothing.
//!
//! moto answers queries of an index by looking at every item, so that times on it tell of moto: with
//! 10,000 activities it needs longer for the home feed than the adapter waits, and it is not filled with
//! 100,000, which would take an hour. Another endpoint (`DYNAMODB_TEST_ENDPOINT`) is.

use std::io::Write;
use std::time::{Duration, Instant};

use cruddur::domain::{Activity, Counters, Handle, Identity, MessageText, UserKey};
use cruddur::store::{threads, users};
use cruddur_tests::usage::cpu_time;
use cruddur_tests::{Event, Party, Program, Proxy, Sandbox, Store, Units, event};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

type Failure = Box<dyn std::error::Error>;

/// A line is measured for so long, or so many calls, whichever ends first.
const TIME: Duration = Duration::from_secs(4);
const CALLS: u32 = 2_000;

/// Calls before anything is measured.
const WARM_UP: u32 = 5;

const WORDS: [&str; 12] = [
    "cloud", "prune", "juice", "honour", "trace", "span", "latency", "warrior", "bridge",
    "captain", "engage", "lambda",
];

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut out = std::io::stdout();
    writeln!(
        out,
        "| store | activities | call | requests/s | CPU ms/request | store requests | units |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|")?;
    for activities in [10, 1_000, 100_000] {
        let store = Store::sqlite().await;
        fill(&store, activities).await?;
        for function in ["home-activities", "search-activities", "create-activity"] {
            let line = measure(&store, function).await?;
            writeln!(out, "| SQLite | {activities} | {function} | {line} | – | – |")?;
        }
    }
    let most = if std::env::var_os("DYNAMODB_TEST_ENDPOINT").is_some() { 100_000 } else { 10_000 };
    for activities in [10, 1_000, most] {
        let (store, behind_proxy, proxy) = Store::with_and_without_proxy().await;
        fill(&store, activities).await?;
        for function in ["home-activities", "search-activities", "create-activity"] {
            let none = |failure| format!("– | – ({failure})");
            let line = measure(&store, function).await.unwrap_or_else(none);
            let cost = cost(&behind_proxy, &proxy, function).await.unwrap_or_else(none);
            writeln!(out, "| DynamoDB | {activities} | {function} | {line} | {cost} |")?;
        }
    }
    Ok(())
}

/// Publishes activities of the last hour, a few words each, over some connections at once.
async fn fill(store: &Store, activities: u32) -> Result<(), Failure> {
    const WRITERS: u32 = 4;
    let now = Timestamp::now();
    for n in 0..50 {
        users::get_or_create(store.table(), &identity(n)?, now).await?;
    }
    let writers = (0..WRITERS).map(|writer| {
        let table = store.connect();
        tokio::spawn(async move {
            for n in (0..activities).filter(|n| n % WRITERS == writer) {
                let age =
                    SignedDuration::from_millis(i64::from(n) * 3_600_000 / i64::from(activities));
                let activity = activity(n, now - age).map_err(|error| error.to_string())?;
                let published = threads::publish(table.as_ref(), &activity, None, now).await;
                published.map_err(|error| error.to_string())?;
            }
            Ok::<_, String>(())
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await??;
    }
    Ok(())
}

/// One of 50 users.
fn identity(n: u32) -> Result<Identity, Failure> {
    let handle = Handle::parse(&format!("user {}", n % 50))?;
    let key = UserKey::local(&handle);
    Ok(Identity { key, handle, handle_is_chosen: false, name: None })
}

fn activity(n: u32, created_at: Timestamp) -> Result<Activity, Failure> {
    let word = |step: u32| WORDS[(n / step) as usize % WORDS.len()];
    let text = format!("{} {} {}", word(1), word(12), word(144));
    Ok(Activity {
        uuid: Uuid::new_v4(),
        author: identity(n)?.key,
        message: MessageText::parse(&text)?,
        created_at,
        expires_at: created_at + SignedDuration::from_hours(24),
        counters: Counters::default(),
    })
}

fn request(function: &str) -> Event {
    match function {
        "search-activities" => event(function).query("term", "juice"),
        _ => event(function),
    }
}

async fn start(store: &Store, function: &str) -> Result<Sandbox, Failure> {
    let program = std::env::current_exe()?; // target/release/examples/bench
    let release = program.ancestors().nth(2).ok_or("no target directory")?;
    let sandbox = Sandbox::builder(function)
        .function(Program::Binary(release.join(function)))
        .without_extension()
        .freezing(false)
        .store(store)
        .start()
        .await;
    for _ in 0..WARM_UP {
        call(&sandbox, function).await?;
    }
    Ok(sandbox)
}

async fn call(sandbox: &Sandbox, function: &str) -> Result<(), Failure> {
    let reply =
        sandbox.try_invoke(request(function)).await.map_err(|error| format!("{error:?}"))?;
    match reply.status {
        200 => Ok(()),
        status => Err(format!("{status} {}", reply.body).into()),
    }
}

/// Requests per second, and milliseconds of CPU per request.
async fn measure(store: &Store, function: &str) -> Result<String, Failure> {
    let sandbox = start(store, function).await?;
    let pid = sandbox.pid(Party::Runtime).await.ok_or("the function has ended")?;
    let (started, cpu_before) = (Instant::now(), cpu_time(pid));
    let mut calls = 0;
    while calls < CALLS && started.elapsed() < TIME {
        call(&sandbox, function).await?;
        calls += 1;
    }
    let per_second = f64::from(calls) / started.elapsed().as_secs_f64();
    let cpu = (cpu_time(pid) - cpu_before).as_secs_f64() * 1000.0 / f64::from(calls);
    Ok(format!("{per_second:.0} | {cpu:.2}"))
}

/// Store requests and capacity units per call.
async fn cost(store: &Store, proxy: &Proxy, function: &str) -> Result<String, Failure> {
    const COUNTED: usize = 3;
    let sandbox = start(store, function).await?;
    let before = (proxy.requests().len(), proxy.consumed().len());
    for _ in 0..COUNTED {
        call(&sandbox, function).await?;
    }
    let requests = (proxy.requests().len() - before.0) as f64 / COUNTED as f64;
    let units: Units = proxy.consumed().into_iter().skip(before.1).sum();
    let units = units.total() / COUNTED as f64;
    Ok(format!("{requests:.1} | {units:.1}"))
}
