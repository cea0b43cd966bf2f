//! The extension's costs beside those of a bare one and of the published peer, in one sandbox.
//!
//! `make bench-extension` builds all three and prints one table. The bare extension
//! (`tests/bench/bare_extension.c`) only registers and asks for events: what it takes, any takes.
//!
//! `bench-extension BARE OURS PEER [PART]`: a part is `init`, `large`, `small`, `holds` or `everywhere`.

#![allow(clippy::print_stdout)] // its table is what it is for

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cruddur_tests::otlp::spans_of;
use cruddur_tests::usage::{cpu_time, peak_rss_bytes};
use cruddur_tests::{
    Answer, Builder, Burst, EXTENSION, Honeycomb, Load, Party, Program, Proxy, Recorded, Rollbar,
    Sandbox, What,
};
use serde_json::json;

const PEER: &str = "opentelemetry-lambda-extension";
const BARE: &str = "bare-extension";

/// How far away the destination is where the hold is measured.
const ROUND_TRIP: Duration = Duration::from_millis(50);

/// 20,000 spans in requests of 100.
const LARGE: Burst = Burst { requests: 200, spans: 100, clients: 2, ..Burst::SMALL };

/// 20,000 spans as otel-arrow's published engine is measured with: of 806 bytes, in requests of 1,000.
const ARROW: Burst =
    Burst { requests: 20, spans: 1_000, span_bytes: 806, clients: 2, ..Burst::SMALL };

/// 1,000 spans.
const MEDIUM: Burst = Burst { requests: 10, spans: 100, ..Burst::SMALL };

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let mut candidate = |name| Candidate {
        name,
        path: arguments.next().expect("paths of the bare extension, of ours, and of the peer"),
    };
    let candidates = [candidate(BARE), candidate(EXTENSION), candidate(PEER)];
    let only = std::env::args().nth(4);
    let runs = |part: &str| only.as_ref().is_none_or(|only| only == part);
    println!("{:<56}{:>12}{:>12}{:>12}{:>10}", "", "bare", "ours", "peer", "ours/…");
    if runs("init") {
        init(&candidates).await;
        sizes(&candidates);
    }
    let [_, ours, peer] = &candidates;
    if runs("large") {
        let names = [
            "memory after 20,000 spans in one invocation, MiB",
            "CPU per span, µs",
            "burst of 20,000: spans/s, first POST to arrival",
        ];
        let (of_ours, of_peer) = (large(ours, LARGE).await, large(peer, LARGE).await);
        rows(names.into_iter().zip(of_ours).collect(), names.into_iter().zip(of_peer).collect());
        let what = "CPU per span of 806 bytes in requests of 1,000, µs";
        row(what, None, large(ours, ARROW).await[1], Some(large(peer, ARROW).await[1]));
    }
    if runs("small") {
        rows(small(ours).await, small(peer).await);
    }
    if runs("holds") {
        rows(holds(ours).await, holds(peer).await);
        rows(black_hole(ours).await, black_hole(peer).await);
        rows(nobody_there(ours).await, nobody_there(peer).await);
    }
    if runs("everywhere") {
        for (transport, what) in [
            ("segments", "CPU per span, µs, all four destinations"),
            ("otlp", "CPU per span, µs, all four, X-Ray by OTLP"),
        ] {
            row(what, None, everywhere(ours, transport).await, None);
        }
    }
}

/// A line; the last column is ours in relation to the bare one if there is one, else to the peer.
fn row(what: &str, bare: Option<f64>, ours: f64, peer: Option<f64>) {
    let number = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.2}"));
    let ratio = bare.or(peer).map_or(String::new(), |other| format!("{:.2}×", ours / other));
    let (bare, peer) = (number(bare), number(peer));
    println!("{what:<56}{bare:>12}{ours:>12.2}{peer:>12}{ratio:>10}");
}

struct Candidate {
    name: &'static str,
    path: PathBuf,
}

impl Candidate {
    /// A sandbox with this extension alone, and what its function sends.
    fn sandbox(&self, honeycomb: &Honeycomb) -> (Builder, Load) {
        let load = Load::default();
        let builder = Sandbox::builder("load")
            .function(load.function())
            .without_extension()
            .extension(self.name, Program::Binary(self.path.clone()));
        if self.name == EXTENSION {
            return (builder.honeycomb(honeycomb), load);
        }
        // The peer listens on fixed ports of the loopback address. These are below those of connections.
        let port = 20_000 + std::process::id() % 6_000;
        let builder = builder
            .otlp_endpoint(&format!("http://127.0.0.1:{port}"))
            .env("LAMBDA_OTEL_RECEIVER_HTTP_PORT", &port.to_string())
            .env("LAMBDA_OTEL_TELEMETRY_API_LISTENER_PORT", &(port + 6_000).to_string())
            .env("LAMBDA_OTEL_EXPORTER_ENDPOINT", &honeycomb.url())
            .env("OTEL_EXPORTER_OTLP_HEADERS", &format!("x-honeycomb-team={}", honeycomb.key()));
        (builder, load)
    }

    async fn pid(&self, sandbox: &Sandbox) -> i32 {
        sandbox.pid(Party::Extension(self.name.to_owned())).await.expect("a process")
    }
}

/// Spawn to first Next, and memory then; the three in turn, so that all see the same machine.
async fn init(candidates: &[Candidate; 3]) {
    let honeycomb = Honeycomb::start().await;
    let mut times = [const { Vec::new() }; 3];
    let mut memory = [const { Vec::new() }; 3];
    for _ in 0..21 {
        for (at, candidate) in candidates.iter().enumerate() {
            let (builder, _) = candidate.sandbox(&honeycomb);
            let sandbox = builder.start().await;
            let journal = sandbox.journal();
            let party = Party::Extension(candidate.name.to_owned());
            let start = journal.first(|what| *what == What::Started(party.clone()));
            let next = journal.first(|what| matches!(what, What::ExtensionNext { .. }));
            times[at].push(millis(next.expect("a Next") - start.expect("a start")));
            memory[at].push(peak_mib(candidate.pid(&sandbox).await));
            sandbox.shutdown().await;
        }
    }
    let [bare, ours, peer] = times.map(|times| percentile(times, 0.5));
    row("init: spawn to first Next, ms (median of 21)", Some(bare), ours, Some(peer));
    let [bare, ours, peer] = memory.map(|memory| percentile(memory, 0.5));
    row("memory after init, MiB", Some(bare), ours, Some(peer));
}

fn sizes(candidates: &[Candidate; 3]) {
    let size = |path: &Path| std::fs::metadata(path).expect("a program").len() as f64 / 1e6;
    let [_, ours, peer] = candidates;
    row("binary, MB", None, size(&ours.path), Some(size(&peer.path)));
}

fn rows(ours: Vec<(&str, f64)>, peer: Vec<(&str, f64)>) {
    for ((what, ours), (_, peer)) in ours.into_iter().zip(peer) {
        row(what, None, ours, Some(peer));
    }
}

/// Bursts of 20,000 spans: memory after the first in MiB, µs of CPU per span, spans a second.
async fn large(candidate: &Candidate, burst: Burst) -> [f64; 3] {
    let honeycomb = Honeycomb::start().await;
    // At once: decoding what comes would take longer than sending it.
    honeycomb.always(Answer::status(200));
    let (builder, load) = candidate.sandbox(&honeycomb);
    let builder = builder.freezing(false).function_timeout(Duration::from_secs(60));
    // With a whole core, spans are sent while more come.
    let sandbox = builder.memory(1_769).start().await;
    let pid = candidate.pid(&sandbox).await;
    let mut rates = Vec::new();
    let cpu = cpu_time(pid);
    let (mut after_one, mut arrivals) = (0.0, Arrivals::default());
    for round in 1..=5 {
        let began = load.all().len();
        invoke(&sandbox, burst).await;
        let first = load.all()[began].sent;
        let end = arrivals.reach(&honeycomb, round * 20_001).await;
        rates.push(20_000.0 / (end - first).as_secs_f64());
        if round == 1 {
            after_one = peak_mib(pid);
        }
    }
    let cpu = (cpu_time(pid) - cpu).as_secs_f64() * 1e6 / 100_000.0;
    sandbox.shutdown().await;
    [after_one, cpu, percentile(rates, 0.5)]
}

/// The CPU of a span, in microseconds, that goes to Honeycomb and to X-Ray while lines and failures
/// have destinations too. X-Ray gets them by this transport.
async fn everywhere(ours: &Candidate, transport: &str) -> f64 {
    let (honeycomb, rollbar) = (Honeycomb::start().await, Rollbar::start().await);
    honeycomb.always(Answer::status(200));
    let aws = Proxy::start("http://127.0.0.1:1").await;
    aws.always(Answer::json(200, &json!({})));
    let (builder, load) = ours.sandbox(&honeycomb);
    let sandbox = builder
        .four_exporters(&honeycomb, &rollbar, &aws)
        .env("CRUDDUR_XRAY_TRANSPORT", transport)
        .freezing(false)
        .function_timeout(Duration::from_secs(60))
        .start()
        .await;
    let pid = ours.pid(&sandbox).await;
    invoke(&sandbox, Burst::SMALL).await; // its connections are part of no span
    let (cpu, before) = (cpu_time(pid), load.sent().len());
    for _ in 0..20 {
        invoke(&sandbox, MEDIUM).await;
        tokio::time::sleep(Duration::from_millis(100)).await; // X-Ray takes 50 spans a call
    }
    let (mut looked_at, mut arrived) = (0, 0);
    let deadline = Instant::now() + Duration::from_secs(60);
    while arrived < load.sent().len() {
        assert!(Instant::now() < deadline, "{arrived} spans alone have reached X-Ray");
        invoke(&sandbox, Burst::SMALL).await; // what is left goes with the next ones
        let requests = aws.requests();
        arrived += requests[looked_at..].iter().map(spans_at_xray).sum::<usize>();
        looked_at = requests.len();
    }
    let cpu = (cpu_time(pid) - cpu).as_secs_f64() * 1e6;
    let cpu = cpu / (load.sent().len() - before) as f64;
    sandbox.shutdown().await;
    cpu
}

/// Spans or documents of a call of X-Ray.
fn spans_at_xray(call: &Recorded) -> usize {
    match call.path.as_str() {
        "/v1/traces" => spans_of(&call.body).expect("an export request").len(),
        "/TraceSegments" => String::from_utf8_lossy(&call.body).matches(r#"\"trace_id\""#).count(),
        _ => 0,
    }
}

/// Looks at each request once: decoding costs more than all that is measured here.
#[derive(Default)]
struct Arrivals {
    requests: usize,
    spans: usize,
}

impl Arrivals {
    /// When so many spans of the load had arrived in all.
    async fn reach(&mut self, honeycomb: &Honeycomb, spans: usize) -> Instant {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let requests = honeycomb.requests();
            for request in &requests[self.requests..] {
                let body = request.decoded().unwrap_or_default();
                let arrived = spans_of(&body).unwrap_or_default();
                self.spans +=
                    arrived.iter().filter(|span| span.resource("service.name") == "load").count();
            }
            self.requests = requests.len();
            if self.spans >= spans || Instant::now() > deadline {
                return requests.last().map_or(deadline, |request| request.arrived);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Requests of 10 spans, as the function sees them.
async fn small(candidate: &Candidate) -> Vec<(&'static str, f64)> {
    let honeycomb = Honeycomb::start().await;
    let (builder, load) = candidate.sandbox(&honeycomb);
    let sandbox = builder.freezing(false).start().await;
    let burst = Burst { requests: 2_000, spans: 10, clients: 1, ..Burst::SMALL };
    invoke(&sandbox, burst).await;
    let took: Vec<f64> = load.all().iter().map(|posted| millis(posted.took)).collect();
    sandbox.shutdown().await;
    vec![
        ("POST of 10 spans, ms: p50", percentile(took.clone(), 0.5)),
        ("POST of 10 spans, ms: p99", percentile(took, 0.99)),
    ]
}

/// How long Next is kept after the function's own, with a destination at [`ROUND_TRIP`].
async fn holds(candidate: &Candidate) -> Vec<(&'static str, f64)> {
    let mut medians = Vec::new();
    for (invocations, pause) in [(12, Duration::from_millis(300)), (60, Duration::ZERO)] {
        let honeycomb = Honeycomb::start().await;
        honeycomb.always(Answer::late(ROUND_TRIP));
        let (builder, _) = candidate.sandbox(&honeycomb);
        let sandbox = builder.start().await;
        let holds = hold_of(&sandbox, invocations, pause).await;
        // The first ones make connections, or do not know yet that traffic is busy.
        medians.push(percentile(holds[invocations / 4..].to_vec(), 0.5));
        sandbox.shutdown().await;
    }
    vec![
        ("hold of Next, ms, destination at 50 ms: sparse", medians[0]),
        ("hold of Next, ms, destination at 50 ms: busy", medians[1]),
    ]
}

/// The same with a destination that never answers.
async fn black_hole(candidate: &Candidate) -> Vec<(&'static str, f64)> {
    let honeycomb = Honeycomb::start().await;
    honeycomb.always(Answer::Hang);
    let (builder, _) = candidate.sandbox(&honeycomb);
    let sandbox = builder.start().await;
    let holds = hold_of(&sandbox, 6, Duration::from_millis(300)).await;
    sandbox.shutdown().await;
    vec![
        ("hold of Next, ms, destination a black hole: longest", percentile(holds.clone(), 1.0)),
        ("hold of Next, ms, destination a black hole: median", percentile(holds, 0.5)),
    ]
}

/// The same with a destination whose port is closed.
async fn nobody_there(candidate: &Candidate) -> Vec<(&'static str, f64)> {
    let honeycomb = Honeycomb::start().await;
    let (builder, _) = candidate.sandbox(&honeycomb);
    let nowhere = "http://127.0.0.1:1";
    let builder = builder
        .env("HONEYCOMB_API_ENDPOINT", nowhere)
        .env("LAMBDA_OTEL_EXPORTER_ENDPOINT", nowhere);
    let sandbox = builder.start().await;
    let holds = hold_of(&sandbox, 6, Duration::from_millis(300)).await;
    sandbox.shutdown().await;
    vec![
        ("hold of Next, ms, destination refuses: longest", percentile(holds.clone(), 1.0)),
        ("hold of Next, ms, destination refuses: median", percentile(holds, 0.5)),
    ]
}

async fn hold_of(sandbox: &Sandbox, invocations: usize, pause: Duration) -> Vec<f64> {
    let mut holds = Vec::new();
    for _ in 0..invocations {
        let reply = sandbox.try_invoke(Burst::SMALL.event()).await;
        if let Ok(reply) = reply {
            sandbox.ended(&reply.request_id).await;
            let journal = sandbox.journal();
            let hold = journal.hold_of_next(&reply.request_id).unwrap_or_default();
            let runtime = journal.runtime_overhead(&reply.request_id).unwrap_or_default();
            holds.push(millis(hold.saturating_sub(runtime)));
        }
        tokio::time::sleep(pause).await;
    }
    holds
}

async fn invoke(sandbox: &Sandbox, burst: Burst) {
    let reply = sandbox.invoke(burst.event()).await;
    sandbox.ended(&reply.request_id).await;
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn percentile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = ((values.len() as f64 * share) as usize).min(values.len().saturating_sub(1));
    values.get(at).copied().unwrap_or(f64::NAN)
}

fn peak_mib(pid: i32) -> f64 {
    peak_rss_bytes(pid) as f64 / f64::from(1 << 20)
}
