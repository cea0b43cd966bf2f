//! Measures what a sender waits for: an append and the sums. And the CPU time of a span with sampling.
//! `cargo test --release -p cruddur-telemetry --lib pipeline::core::tests::measure -- --ignored --nocapture`

use std::time::SystemTime;

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value},
    trace::v1::{ResourceSpans, ScopeSpans, Span, span::SpanKind},
};
use prost::Message;

use super::*;
use crate::invocation::choice::SamplingSettings;
use crate::invocation::registry::Registry;
use crate::pipeline::sums::SumsFile;
use crate::test_clock::cpu_time;

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
        bench.core.receive(Payload {
            items: 20,
            has_error,
            has_unsampled,
            ..Payload::empty(kind, bytes)
        });
        sums.write(&bench.core.sums()).unwrap();
        bench.core.remove_finished();
    });
    assert_eq!(bench.account(0).received(), u64::from(PAYLOADS) * 20);
}

fn pair(key: String, text: String) -> KeyValue {
    let value = Some(AnyValue { value: Some(any_value::Value::StringValue(text)) });
    KeyValue { key, value, ..KeyValue::default() }
}

/// An invocation of 20 spans, each with some 560 bytes.
fn invocation(request_id: &str, random: &mut fastrand::Rng) -> bytes::Bytes {
    let trace_id = random.u128(1..).to_be_bytes().to_vec();
    let spans = (0..20).map(|place| {
        let text = |_| format!("{:016x}", random.u64(..));
        let texts: Vec<_> = (0..12).map(text).collect();
        let attributes = texts.into_iter().enumerate();
        let attributes = attributes.map(|(key, it)| pair(format!("app.attribute.{key:02}"), it));
        let named = (place == 19).then(|| pair("faas.invocation_id".into(), request_id.into()));
        Span {
            trace_id: trace_id.clone(),
            span_id: random.u64(1..).to_be_bytes().to_vec(),
            kind: if place == 19 { SpanKind::Server as i32 } else { 0 },
            name: "a span of an invocation".to_owned(),
            start_time_unix_nano: 1_767_225_600_000_000_000,
            end_time_unix_nano: 1_767_225_600_001_000_000,
            attributes: attributes.chain(named).collect(),
            ..Span::default()
        }
    });
    let scope_spans = vec![ScopeSpans { spans: spans.collect(), ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec().into()
}

#[test]
#[ignore = "a measurement"]
fn measure_sampling() {
    const INVOCATIONS: u32 = 5_000;
    let mut random = fastrand::Rng::with_seed(7);
    let name = |number: u32| number.to_string();
    let requests: Vec<_> = (0..INVOCATIONS).map(|it| invocation(&name(it), &mut random)).collect();
    for rate in [1, 20] {
        let (slow, salt) = (Duration::from_secs(2), "a stack's id".to_owned());
        let settings = SamplingSettings { rate, slow, salt, samples_logs: false };
        let registry = Registry::with_sampling((rate > 1).then_some(settings));
        let directory = tempfile::tempdir().unwrap();
        let specs = vec![spec("durable", true), spec("fleeting", false)];
        let core = Core::new(specs, 16 << 20, Trigger::Flush, 1);
        let mut core = core.with_sampling("durable", &registry);
        let (spool, recovered) = Spool::open(directory.path(), 64 << 20, &core.names()).unwrap();
        core.use_spool(spool, recovered, None);
        let mut bench = Bench { core, now: Instant::now() };
        let (mut settling, mut sending) = (Duration::ZERO, Duration::ZERO);
        for (number, request) in (0..).zip(&requests) {
            let invoke = json!({ "requestId": name(number) });
            let id =
                registry.on_invoke(&serde_json::from_value(invoke).unwrap(), SystemTime::now());
            let (payload, servers) = Payload::read(SignalKind::Traces, request.clone()).unwrap();
            for server in servers {
                registry.on_server_span(&server, SystemTime::now());
            }
            bench.core.receive(payload);
            registry.conclude(id);
            let began = cpu_time();
            bench.core.begin_flush(bench.now, false);
            settling += cpu_time() - began;
            let began = cpu_time();
            while let Some(batch) = bench.core.next_batch(bench.now, 0) {
                std::hint::black_box(batch.to_zstd().unwrap());
                bench.complete(0, Ok(ExportOutcome::default()));
            }
            sending += cpu_time() - began;
            bench.deliver(1);
        }
        let per_span = |time: Duration| time.as_nanos() as f64 / 1e3 / f64::from(INVOCATIONS * 20);
        let (settling, sending) = (per_span(settling), per_span(sending));
        eprintln!("rate {rate}: {settling:.2} µs a span to decide, {sending:.2} µs to send");
    }
}
