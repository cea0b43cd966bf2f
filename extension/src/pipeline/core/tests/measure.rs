//! Measures what a sender waits for: an append and the sums.
//! `cargo test --release -p cruddur-telemetry --lib pipeline::core::tests::measure -- --ignored --nocapture`

use super::*;
use crate::pipeline::sums::SumsFile;

const PAYLOADS: u32 = 20_000;

/// The payload of a small invocation.
const BYTES: usize = 10_000;

/// Prints the median, the 99th percentile and the longest time of some steps.
fn measure(name: &str, steps: u32, mut step: impl FnMut()) {
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..steps {
        let began = std::time::Instant::now();
        step();
        times.push(began.elapsed());
    }
    times.sort();
    let micros = |time: Duration| time.as_nanos() as f64 / 1e3;
    let at = |share: f64| micros(times[(times.len() as f64 * share) as usize]);
    eprintln!(
        "{name}: median {:.1} µs, p99 {:.1} µs, longest {:.1} µs",
        at(0.5),
        at(0.99),
        micros(*times.last().unwrap())
    );
}

#[test]
#[ignore = "a measurement"]
fn measure_appends() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::with_spool(&directory);
    let (mut sums, _) = SumsFile::open(&directory.path().join("sums")).unwrap();
    let bytes = bytes::Bytes::from(vec![7; BYTES]);
    let (kind, has_error, has_unsampled) = (SignalKind::Traces, false, false);

    measure("receiving 10 KB, with an append and the sums", PAYLOADS, || {
        let bytes = bytes.clone();
        bench.core.receive(Payload { kind, bytes, items: 20, has_error, has_unsampled });
        sums.write(&bench.core.sums()).unwrap();
        bench.core.remove_finished();
    });
    assert_eq!(bench.account(0).received(), u64::from(PAYLOADS) * 20);
}
