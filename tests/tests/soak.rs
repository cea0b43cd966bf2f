//! What only time shows: `make soak`, not part of `make test`.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use cruddur_tests::usage::{descriptors, rss_bytes};
use cruddur_tests::{Answer, Burst, EXTENSION, Exit, Honeycomb, Load, Party, Sandbox};

const INVOCATIONS: usize = 10_000;
const OUTAGE: Duration = Duration::from_secs(120);

/// By then all must have arrived: the breaker lets a probe through after a minute at most.
const RECOVERY: Duration = Duration::from_secs(180);

/// What a process may gain after its first thousand invocations: freed memory comes back in pieces.
const SLACK_KIB: usize = 2_048;

async fn start(honeycomb: &Honeycomb, load: &Load) -> (Sandbox, i32) {
    let sandbox = Sandbox::builder("load")
        .function(load.function())
        .honeycomb(honeycomb)
        .env("CRUDDUR_LOG", "info")
        .start()
        .await;
    let pid = sandbox.pid(Party::Extension(EXTENSION.to_owned())).await.expect("a process");
    (sandbox, pid)
}

async fn invoke(sandbox: &Sandbox) {
    let reply = sandbox.invoke(Burst::SMALL.event()).await;
    sandbox.ended(&reply.request_id).await;
}

#[tokio::test]
#[ignore = "minutes; see `make soak`"]
async fn ten_thousand_invocations_leave_memory_and_descriptors_as_they_were() {
    let (honeycomb, load) = (Honeycomb::start().await, Load::default());
    let (sandbox, pid) = start(&honeycomb, &load).await;

    let mut measured = Vec::new();
    for number in 1..=INVOCATIONS {
        invoke(&sandbox).await;
        if number % 1_000 == 0 {
            measured.push((rss_kib(pid), descriptors(pid)));
        }
    }
    let ended = sandbox.shutdown().await;

    eprintln!("memory in KiB and descriptors, every 1,000 invocations: {measured:?}");
    let (memory, open) = measured[0];
    assert!(measured.iter().all(|now| now.0 <= memory + SLACK_KIB), "{measured:?}");
    assert!(measured.iter().all(|now| now.1 <= open + 2), "{measured:?}");
    assert_eq!(ended.extension, Some(Exit::Code(0)));
    assert_all_arrived(&honeycomb, &load);
}

#[tokio::test]
#[ignore = "minutes; see `make soak`"]
async fn after_two_minutes_of_outage_everything_arrives() {
    let (honeycomb, load) = (Honeycomb::start().await, Load::default());
    let (sandbox, pid) = start(&honeycomb, &load).await;
    honeycomb.always(Answer::status(503));

    let began = Instant::now();
    while began.elapsed() < OUTAGE {
        invoke(&sandbox).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let memory = rss_kib(pid);
    assert!(honeycomb.requests().len() > 1 && honeycomb.spans().is_empty());
    honeycomb.always(Answer::Proper);
    // SHUTDOWN alone has a second for hundreds of files.
    let recovered = Instant::now();
    while !missing(&honeycomb, &load).is_empty() && recovered.elapsed() < RECOVERY {
        for _ in 0..20 {
            invoke(&sandbox).await;
        }
    }
    let ended = sandbox.shutdown().await;

    eprintln!(
        "memory at the end of the outage: {memory} KiB, requests: {}",
        honeycomb.requests().len()
    );
    assert_eq!(ended.extension, Some(Exit::Code(0)));
    assert_all_arrived(&honeycomb, &load);
}

fn missing(honeycomb: &Honeycomb, load: &Load) -> HashSet<String> {
    let mut missing = load.sent();
    for span in honeycomb.spans() {
        missing.remove(&span.span_id);
    }
    missing
}

fn assert_all_arrived(honeycomb: &Honeycomb, load: &Load) {
    let missing = missing(honeycomb, load);
    assert!(missing.is_empty(), "{} of {} are missing", missing.len(), load.sent().len());
    assert_eq!(load.not_taken(), 0);
}

fn rss_kib(pid: i32) -> usize {
    rss_bytes(pid) >> 10
}
