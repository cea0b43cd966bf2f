//! Sampling for one of two destinations, with exact sums.

use std::time::SystemTime;

use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status},
};
use prost::Message;
use trace_context::TraceId;

use super::*;
use crate::delivery::batch::Batch;
use crate::invocation::attempt::AttemptId;
use crate::invocation::choice::SamplingSettings;
use crate::invocation::registry::Registry;

/// The destinations of [`Bench`].
const SAMPLED: DestinationId = 0;
const OTHER: DestinationId = 1;

fn settings() -> SamplingSettings {
    let slow = Duration::from_secs(3_600);
    SamplingSettings { rate: 20, slow, salt: String::new(), samples_logs: false }
}

fn trace(is_chosen: bool, seed: u64) -> TraceId {
    let ids = (1..).map(|n: u64| u128::from(seed) << 64 | u128::from(n));
    let mut ids = ids.filter_map(|id| TraceId::from_bytes(id.to_be_bytes()));
    ids.find(|id| settings().chooses(*id) == is_chosen).unwrap()
}

struct SampledBench {
    bench: Bench,
    registry: Registry,
}

impl SampledBench {
    fn of(bench: Bench) -> Self {
        let registry = Registry::with_sampling(Some(settings()));
        let Bench { core, now } = bench;
        let core = core.with_sampling("durable", &registry);
        let sampled = Self { bench: Bench { core, now }, registry };
        sampled.invoke("cold");
        sampled
    }

    fn new(directory: &tempfile::TempDir) -> Self {
        let Self { mut bench, registry } = Self::of(Bench::new(Trigger::Flush));
        let names = bench.core.names();
        let (spool, recovered) = Spool::open(directory.path(), 64 << 20, &names).unwrap();
        bench.core.use_spool(spool, recovered, None);
        Self { bench, registry }
    }

    /// The next process of the sandbox after a kill.
    fn killed(mut self, directory: &tempfile::TempDir) -> Self {
        let sums = self.bench.write_sums();
        let Self { mut bench, registry } = Self::of(Bench::new(Trigger::Flush));
        let names = bench.core.names();
        let (spool, recovered) = Spool::open(directory.path(), 64 << 20, &names).unwrap();
        bench.core.use_spool(spool, recovered, Some(sums));
        Self { bench, registry }
    }

    fn invoke(&self, request_id: &str) -> AttemptId {
        let invoke = serde_json::from_value(json!({ "requestId": request_id })).unwrap();
        self.registry.on_invoke(&invoke, SystemTime::now())
    }

    /// Spans of these traces arrive, with an error or without.
    fn receive(&mut self, spans: &[(TraceId, bool)]) {
        let span = |(trace_id, has_failed): &(TraceId, bool)| {
            let code = if *has_failed { 2 } else { 0 };
            let end = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            Span {
                trace_id: trace_id.to_bytes().to_vec(),
                end_time_unix_nano: end.as_nanos() as u64,
                start_time_unix_nano: end.as_nanos() as u64,
                status: Some(Status { code, ..Status::default() }),
                ..Span::default()
            }
        };
        let spans = spans.iter().map(span).collect();
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        let bytes = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        self.bench.core.receive(Payload::read(SignalKind::Traces, bytes.into()).unwrap().0);
    }

    fn flush(&mut self) {
        self.bench.core.begin_flush(self.bench.now, false);
    }

    /// All batches that a destination is sent and accepts: the traces of their spans, and the number of
    /// resources with a rate.
    fn deliver(&mut self, id: DestinationId) -> (Vec<TraceId>, usize) {
        let (mut traces, mut rated) = (Vec::new(), 0);
        while let Some(batch) = self.bench.core.next_batch(self.bench.now, id) {
            let (batch_traces, batch_rated) = read(&batch);
            traces.extend(batch_traces);
            rated += batch_rated;
            self.bench.complete(id, Ok(ExportOutcome::default()));
        }
        (traces, rated)
    }

    fn account(&self) -> serde_json::Value {
        json!(self.bench.account(SAMPLED))
    }
}

fn read(batch: &Batch) -> (Vec<TraceId>, usize) {
    let request = ExportTraceServiceRequest::decode(batch.to_plain().unwrap()).unwrap();
    let has_rate = |it: &&ResourceSpans| {
        let attributes = it.resource.as_ref().map(|resource| &resource.attributes);
        attributes.is_some_and(|all| all.iter().any(|pair| pair.key == "sampleRate"))
    };
    let rated = request.resource_spans.iter().filter(has_rate).count();
    let scopes = request.resource_spans.into_iter().flat_map(|it| it.scope_spans);
    let spans = scopes.flat_map(|scope| scope.spans);
    let id = |span: Span| TraceId::from_bytes(span.trace_id.try_into().ok()?);
    (spans.filter_map(id).collect(), rated)
}

#[tokio::test]
async fn an_undecided_payload_waits_for_the_sampled_destination_alone() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = SampledBench::new(&directory);
    let attempt = bench.invoke("r");
    let chosen = trace(true, 1);
    bench.receive(&[(chosen, false)]);

    bench.flush();

    assert_eq!(bench.deliver(OTHER), (vec![chosen], 0));
    assert_eq!(bench.deliver(SAMPLED), (vec![], 0));
    assert!(bench.bench.core.flush_is_done(), "no flush awaits it");
    bench.registry.conclude(attempt);
    bench.flush();
    assert_eq!(bench.deliver(SAMPLED), (vec![chosen], 1));
    assert_eq!(bench.account(), json!({"received": 1, "delivered": 1}));
}

#[tokio::test]
async fn a_payload_of_several_traces_is_regrouped_and_every_span_is_in_the_sums() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = SampledBench::new(&directory);
    let attempt = bench.invoke("r");
    let [out, bad, chosen] = [trace(false, 1), trace(false, 2), trace(true, 3)];
    let spans = [(out, false), (bad, true), (chosen, false), (out, false), (bad, false)];
    bench.receive(&spans);
    bench.registry.conclude(attempt);

    bench.flush();

    assert_eq!(bench.deliver(SAMPLED), (vec![bad, bad, chosen], 1));
    assert_eq!(bench.deliver(OTHER).0.len(), 5);
    let dropped = json!({"sampled_out": 2});
    assert_eq!(bench.account(), json!({"received": 5, "delivered": 3, "dropped": dropped}));
    let other = json!(bench.bench.account(OTHER));
    assert_eq!(other, json!({"received": 5, "delivered": 5}));
    bench.bench.write_sums();
    assert_eq!(bench.bench.core.buffer.count(), 0);
    let segments = std::fs::read_dir(directory.path()).unwrap();
    assert!(segments.count() <= 2, "only those that are written to");
}

#[tokio::test]
async fn a_kept_payload_is_sent_as_it_came_and_a_late_span_follows_the_decision() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = SampledBench::new(&directory);
    let attempt = bench.invoke("r");
    let [out, bad] = [trace(false, 1), trace(false, 2)];
    bench.receive(&[(bad, true)]);
    bench.receive(&[(out, false)]);
    bench.registry.conclude(attempt);
    bench.flush();
    assert_eq!(bench.deliver(SAMPLED), (vec![bad], 0));

    bench.receive(&[(bad, false)]);
    bench.receive(&[(out, true)]);
    bench.flush();

    assert_eq!(bench.deliver(SAMPLED), (vec![bad], 0));
    let dropped = json!({"sampled_out": 2});
    assert_eq!(bench.account(), json!({"received": 4, "delivered": 2, "dropped": dropped}));
}

#[tokio::test]
async fn the_next_process_keeps_the_decisions_and_decides_the_rest_by_what_it_finds() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = SampledBench::new(&directory);
    let attempt = bench.invoke("r");
    // Decided, and not delivered: by a rule of the invocation, and by the choice.
    let [slow, decided] = [trace(false, 1), trace(true, 2)];
    bench.registry.set_error_line(attempt);
    bench.receive(&[(slow, false)]);
    bench.flush();
    let second = bench.invoke("s");
    bench.receive(&[(decided, false), (trace(false, 3), false)]);
    bench.registry.conclude(second);
    bench.flush();
    // Undecided.
    bench.invoke("t");
    let [out, bad, chosen] = [trace(false, 4), trace(false, 5), trace(true, 6)];
    bench.receive(&[(out, false), (bad, false)]);
    bench.receive(&[(bad, true), (chosen, false)]);
    bench.flush();
    let before = bench.account();
    assert_eq!(before["dropped"], json!({"sampled_out": 1}));

    let mut next = bench.killed(&directory);
    assert_eq!(next.account(), before);
    next.flush();

    let (mut traces, rated) = next.deliver(SAMPLED);
    let mut expected = vec![slow, decided, bad, bad, chosen];
    traces.sort_by_key(|id| id.to_bytes());
    expected.sort_by_key(|id| id.to_bytes());
    assert_eq!((traces, rated), (expected, 2));
    let dropped = json!({"sampled_out": 2});
    assert_eq!(next.account(), json!({"received": 7, "delivered": 5, "dropped": dropped}));
}

#[tokio::test]
async fn an_undecided_payload_of_a_process_that_sampled_is_sent_by_one_that_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = SampledBench::new(&directory);
    bench.invoke("r");
    bench.receive(&[(trace(false, 1), false)]);

    let mut next = bench.bench.killed(&directory);
    next.core.begin_flush(next.now, false);

    assert_eq!(next.deliver(SAMPLED), [1]);
    assert_eq!(json!(next.account(SAMPLED)), json!({"received": 1, "delivered": 1}));
}

#[tokio::test]
async fn a_drain_decides_everything_and_a_full_buffer_drops_the_undecided_too() {
    let mut bench = SampledBench::of(Bench::new(Trigger::Flush));
    bench.invoke("r");
    bench.receive(&[(trace(false, 1), false), (trace(true, 2), false)]);
    bench.bench.core.begin_flush(bench.bench.now, true);
    assert_eq!(bench.deliver(SAMPLED).0.len(), 1);

    // The bound of the bench is 1,000 bytes.
    (3..100).for_each(|seed| bench.receive(&[(trace(true, seed), false)]));
    bench.bench.core.begin_flush(bench.bench.now, true);
    bench.deliver(SAMPLED);

    let account = bench.bench.account(SAMPLED);
    let dropped = account.at(State::Dropped(Reason::BufferFull));
    assert!(dropped > 50, "{account:?}");
    assert_eq!(account.at(State::Delivered) + dropped, 98, "{account:?}");
    assert_eq!(account.at(State::Dropped(Reason::SampledOut)), 1);
}

#[tokio::test]
async fn compaction_leaves_undecided_payloads_apart_and_drops_those_that_are_left_out() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = SampledBench::new(&directory);
    let attempt = bench.invoke("r");
    let (out, chosen) = (trace(false, 1), trace(true, 2));
    bench.receive(&[(out, false)]);
    bench.receive(&[(chosen, false)]);
    bench.flush();
    assert!(bench.bench.core.compact_some(None));
    bench.registry.conclude(attempt);
    bench.receive(&[(out, false)]); // into a new segment

    assert!(bench.bench.core.compact_some(None));

    let dropped = json!({"sampled_out": 2});
    assert_eq!(bench.account(), json!({"received": 3, "spooled": 1, "dropped": dropped}));
    bench.flush();
    assert_eq!(bench.deliver(SAMPLED), (vec![chosen], 1));
    assert_eq!(bench.deliver(OTHER).0.len(), 3);
}

#[tokio::test]
async fn log_records_follow_the_choice_only_if_that_is_asked_for() {
    for samples_logs in [false, true] {
        let registry =
            Registry::with_sampling(Some(SamplingSettings { samples_logs, ..settings() }));
        let kinds = vec![SignalKind::Traces, SignalKind::Logs];
        let specs = vec![DestinationSpec { kinds, ..spec("durable", false) }];
        let core = Core::new(specs, 10_000, Trigger::Flush, 1);
        let core = core.with_sampling("durable", &registry);
        let mut bench = SampledBench { bench: Bench { core, now: Instant::now() }, registry };
        let records = [trace(false, 1), trace(true, 2)]
            .map(|id| LogRecord { trace_id: id.to_bytes().to_vec(), ..LogRecord::default() });
        let scope_logs = vec![ScopeLogs { log_records: records.into(), ..ScopeLogs::default() }];
        let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
        let bytes = ExportLogsServiceRequest { resource_logs }.encode_to_vec();
        bench.bench.core.receive(Payload::read(SignalKind::Logs, bytes.into()).unwrap().0);

        bench.bench.core.begin_flush(bench.bench.now, true);

        let expected = if samples_logs { 1 } else { 2 };
        assert_eq!(bench.bench.deliver(SAMPLED), [expected], "{samples_logs}");
        let account = bench.bench.account(1);
        assert_eq!(account.at(State::Dropped(Reason::SampledOut)), 2 - expected);
    }
}
