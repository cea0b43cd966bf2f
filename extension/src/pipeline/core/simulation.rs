//! A deterministic simulation: the production buffer, breaker, spool and ledger, driven through
//! arbitrary interleavings of steps and faults.
//!
//! In every second run the durable destination is sampled, one trace in two.
//!
//! The far end records which spans it acknowledged. At the end of a run everything heals, and then
//! each span that was received has arrived or is counted as dropped: exactly as many as are missing. Only
//! after a kill a span may arrive, and count, twice.
//! A failing run prints its seed; `CRUDDUR_SEEDS=100000` runs more of them.

use std::{
    collections::HashSet,
    fs,
    os::unix::fs::FileExt,
    time::{Duration, SystemTime},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status},
};
use prost::Message;

use tokio::time::Instant;

use crate::delivery::batch::Batch;
use crate::delivery::error::{ExportError, ExportOutcome};
use crate::delivery::{DestinationId, DestinationSpec};
use crate::invocation::choice::SamplingSettings;
use crate::invocation::registry::Registry;
use crate::otlp::payload::{Payload, SignalKind};
use crate::otlp::wire::nested;
use crate::pipeline::core::state::{Core, Trigger};
use crate::pipeline::ledger::{Account, Reason, State};
use crate::pipeline::spool::Spool;
use crate::pipeline::sums::Sums;

const BUFFER_BYTES: usize = 1_500;
const SPOOL_BYTES: u64 = 7 * 4_096; // of as many segments
const STEPS: usize = 150;

/// One process after another in the same sandbox, and the world around them.
struct World {
    rng: fastrand::Rng,
    directory: tempfile::TempDir,
    now: Instant,
    core: Core,
    is_sampled: bool,
    registry: Registry,
    /// The block that was written after the last step; a kill leaves it.
    sums: Vec<u8>,
    /// The batch of each worker.
    at_workers: Vec<Option<Batch>>,
    /// For each destination.
    received: Vec<HashSet<u64>>,
    /// Spans that the far end received and acknowledged, for each destination.
    acknowledged: Vec<HashSet<u64>>,
    /// Number of spans that were acknowledged again, for each destination.
    repeated: Vec<u64>,
    /// Acknowledged spans whose answer a kill took from the process, until they are acknowledged again.
    uncounted: Vec<HashSet<u64>>,
    was_killed: bool,
    disk_is_full: bool,
    next_span: u64,
}

fn specs() -> Vec<DestinationSpec> {
    let spec = |name, durable| DestinationSpec {
        name,
        kinds: SignalKind::ALL.to_vec(),
        durable,
        max_items: u64::MAX,
        keeps_duplicates: true,
    };
    vec![spec("durable", true), spec("fleeting", false)]
}

fn new_registry(is_sampled: bool) -> Registry {
    let (slow, salt) = (Duration::from_secs(3_600), String::new());
    let settings = SamplingSettings { rate: 2, slow, salt, samples_logs: false };
    Registry::with_sampling(is_sampled.then_some(settings))
}

fn new_core(seed: u64, registry: &Registry) -> Core {
    let core = Core::new(specs(), BUFFER_BYTES, Trigger::Flush, seed);
    core.with_sampling("durable", registry)
}

impl World {
    fn new(seed: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let is_sampled = seed % 2 == 1;
        let registry = new_registry(is_sampled);
        let mut world = Self {
            rng: fastrand::Rng::with_seed(seed),
            core: new_core(seed, &registry),
            is_sampled,
            registry,
            directory,
            now: Instant::now(),
            sums: Vec::new(),
            at_workers: vec![None, None],
            received: vec![HashSet::new(), HashSet::new()],
            acknowledged: vec![HashSet::new(), HashSet::new()],
            repeated: vec![0, 0],
            uncounted: vec![HashSet::new(), HashSet::new()],
            was_killed: false,
            disk_is_full: false,
            next_span: 0,
        };
        world.start_process(seed);
        world
    }

    fn start_process(&mut self, seed: u64) {
        self.registry = new_registry(self.is_sampled);
        self.invoke();
        self.invoke(); // the first one is cold
        self.core = new_core(seed, &self.registry);
        self.at_workers = vec![None, None];
        let path = self.directory.path();
        let (spool, recovered) = Spool::open(path, SPOOL_BYTES, &self.core.names()).unwrap();
        self.core.use_spool(spool, recovered, Sums::decode(&self.sums));
    }

    fn step(&mut self) {
        match self.rng.u32(0..100) {
            0..30 => drop(self.receive()),
            30..45 => self.core.begin_flush(self.now, self.rng.u32(0..10) < 1),
            45..55 => self.core.end_flush(self.now, self.rng.u32(0..10) < 5),
            55..57 => drop(self.core.compact_some(None)),
            57..80 => {
                let id = self.rng.usize(0..2);
                self.acknowledge(id);
            }
            80..90 => self.fail(),
            90..94 => self.now += Duration::from_millis(self.rng.u64(0..90_000)),
            94 => self.core.thawed(Duration::ZERO),
            95 => self.invoke(),
            96 => self.kill(),
            97 if self.rng.bool() => self.kill_before_the_sums(),
            97 => self.kill_after_an_answer(),
            98 => self.damage_a_segment(),
            _ if self.rng.bool() => self.disk_is_full = !self.disk_is_full,
            _ => self.remove_the_directory(),
        }
        self.work();
        self.check();
    }

    /// The steps of the tasks around the core after each step of the simulation.
    fn work(&mut self) {
        for id in 0..2 {
            if let Some(batch) = self.core.next_batch(self.now, id) {
                assert!(self.at_workers[id].is_none(), "two batches at once");
                self.at_workers[id] = Some(batch);
            }
        }
        self.core.spool_refuses |= self.disk_is_full;
        self.sums = self.core.sums().encode();
        self.core.remove_finished();
    }

    fn check(&self) {
        assert!(self.core.buffer.bytes() <= BUFFER_BYTES + 1_000, "the buffer is not bounded");
        for (id, destination) in self.core.destinations.iter().enumerate() {
            let mut waiting = [State::Held, State::Spooled].map(|state| (state, 0));
            for (_, kind) in destination.queues() {
                for entry in self.core.buffer.lacking(id, kind) {
                    let state = self.core.state_of(entry, id);
                    let sums = waiting.iter_mut().filter(|(of, _)| *of == state);
                    sums.for_each(|(_, sum)| *sum += entry.header.items);
                }
            }
            for (state, items) in waiting {
                let accounts = destination.routes().map(|route| self.core.ledger.account(route));
                let counted: u64 = accounts.map(|account| account.at(state)).sum();
                assert_eq!(items, counted, "{state:?} at {id}");
            }
        }
    }

    /// The parts of earlier invocations are over.
    fn invoke(&mut self) {
        let request_id = self.rng.u64(..).to_string();
        let invoke = serde_json::json!({ "requestId": request_id });
        let invoke = serde_json::from_value(invoke).unwrap();
        self.registry.on_invoke(&invoke, SystemTime::now());
    }

    fn receive(&mut self) -> Vec<u64> {
        let spans: Vec<u64> = (0..self.rng.u64(1..12)).map(|_| self.fresh_span()).collect();
        self.received.iter_mut().for_each(|received| received.extend(&spans));
        let (signal, _) =
            Payload::read(SignalKind::Traces, request(&spans, self.rng.u32(0..10) < 2).into())
                .unwrap();
        self.core.receive(signal);
        spans
    }

    fn fresh_span(&mut self) -> u64 {
        self.next_span += 1;
        self.next_span
    }

    fn acknowledge(&mut self, id: DestinationId) {
        if let Some(batch) = self.at_workers[id].take() {
            for span in spans_of(&batch) {
                if !self.acknowledged[id].insert(span) && !self.uncounted[id].remove(&span) {
                    assert!(self.was_killed, "span {span} counts twice");
                    self.repeated[id] += 1;
                }
            }
            self.core.complete(self.now, id, Ok(ExportOutcome::default()));
        }
    }

    fn fail(&mut self) {
        let id = self.rng.usize(0..2);
        if self.at_workers[id].take().is_none() {
            return;
        }
        let status = |status, seconds| ExportError::Status {
            status: http::StatusCode::from_u16(status).unwrap(),
            message: String::new(),
            retry_after: Some(Duration::from_secs(seconds)),
        };
        let error = match self.rng.u32(0..5) {
            0 => status(400, 0),
            1 => status(429, 7),
            2 => ExportError::Unreachable("refused".into()),
            3 => ExportError::Timeout(Duration::from_secs(10)),
            _ => status(500, 0),
        };
        self.core.complete(self.now, id, Err(error));
    }

    fn kill(&mut self) {
        self.was_killed = true;
        let seed = self.rng.u64(..);
        self.start_process(seed);
    }

    /// Kills the process after a payload is appended, before the sums are written; half of the time the
    /// append is not complete.
    fn kill_before_the_sums(&mut self) {
        let before = self.segments();
        let spans = self.receive();
        let newest = self.core.buffer.end() - 1;
        let newest = self.core.buffer.get(newest).filter(|entry| entry.location.is_some());
        let record = newest.map(|entry| entry.header.record_bytes());
        // The file that has grown by this record, and by nothing else.
        let grown = self.segments().into_iter().find(|(path, bytes)| {
            before
                .iter()
                .any(|(known, before)| known == path && record == bytes.checked_sub(*before))
        });
        let is_torn = grown.is_some() && self.rng.bool();
        if let Some((path, bytes)) = grown
            && is_torn
        {
            fs::File::options().write(true).open(path).unwrap().set_len(bytes - 1).unwrap();
        }
        // The sender had no answer. A complete record counts as received nevertheless.
        for (id, received) in self.received.iter_mut().enumerate() {
            if id > 0 || is_torn || record.is_none() {
                received.retain(|span| !spans.contains(span));
            }
        }
        self.kill();
    }

    /// Kills the process after a destination has taken a batch, before its answer is in the sums.
    fn kill_after_an_answer(&mut self) {
        let id = self.rng.usize(0..2);
        let taken = self.at_workers[id].take().map(|batch| spans_of(&batch)).unwrap_or_default();
        let first = taken.into_iter().filter(|span| self.acknowledged[id].insert(*span));
        self.uncounted[id].extend(first);
        self.kill();
    }

    /// The files of the spool with their lengths.
    fn segments(&self) -> Vec<(std::path::PathBuf, u64)> {
        let files = fs::read_dir(self.directory.path()).into_iter().flatten().flatten();
        let mut files: Vec<_> =
            files.map(|file| (file.path(), file.metadata().unwrap().len())).collect();
        files.sort();
        files
    }

    /// Changes a byte of a record.
    fn damage_a_segment(&mut self) {
        if let Some((path, bytes)) = self.segments().into_iter().find(|(_, bytes)| *bytes > 100) {
            let file = fs::File::options().read(true).write(true).open(path).unwrap();
            let (place, mut byte) = (self.rng.u64(40..bytes), [0]);
            file.read_exact_at(&mut byte, place).unwrap();
            file.write_all_at(&[!byte[0]], place).unwrap();
        }
    }

    fn remove_the_directory(&self) {
        let _ = fs::remove_dir_all(self.directory.path()); // it may be removed already
    }

    /// Completes every batch with success until nothing is pending.
    fn heal(&mut self) {
        for _ in 0..10_000 {
            self.now += Duration::from_secs(61);
            self.disk_is_full = false;
            self.core.begin_flush(self.now, true);
            self.work();
            for id in 0..2 {
                self.acknowledge(id);
            }
            if (0..2).all(|id| !self.core.has_pending(id)) {
                return;
            }
        }
        panic!("it does not come to an end");
    }

    fn verdict(&self) {
        for (id, destination) in self.core.destinations.iter().enumerate() {
            let account = self.core.ledger.account(destination.first_route);
            let (received, acknowledged) = (&self.received[id], &self.acknowledged[id]);
            let missing = received.difference(acknowledged).count() as u64;
            let (repeated, uncounted) = (self.repeated[id], self.uncounted[id].len() as u64);
            let left_out = account.at(State::Dropped(Reason::SampledOut));
            let dropped = account.lost() + left_out;
            let again = account.received() - received.len() as u64;

            assert!(acknowledged.is_subset(received), "spans from nowhere, {id}");
            let delivered = acknowledged.len() as u64 - uncounted + repeated;
            assert_eq!(account.at(State::Delivered), delivered, "delivered, {id}");
            assert!(dropped >= missing, "{missing} lost, {id}: {account:?}");
            assert!(left_out == 0 || self.is_sampled && id == 0, "{id}: {account:?}");
            assert!(again == 0 || self.was_killed, "received twice, {id}: {account:?}");
            // Without their answers, spans that no process could send again count as dropped.
            assert_eq!(
                dropped + repeated,
                missing + again + uncounted,
                "dropped, {id}: {account:?}"
            );
        }
    }
}

fn request(spans: &[u64], failed: bool) -> Vec<u8> {
    let spans = spans.iter().map(|id| Span {
        trace_id: u128::from(1 + id % 7).to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        status: failed.then(|| Status { code: 2, ..Status::default() }),
        ..Span::default()
    });
    let scope_spans = vec![ScopeSpans { spans: spans.collect(), ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

fn spans_of(batch: &Batch) -> Vec<u64> {
    let message = batch.to_plain().unwrap();
    let scopes = nested(&message, 1).flat_map(|resource| nested(resource, 2));
    let ids = scopes.flat_map(|scope| nested(scope, 2)).flat_map(|span| nested(span, 2));
    ids.map(|id| u64::from_be_bytes(id.try_into().unwrap())).collect()
}

/// Runs one seed and returns the sums of its durable destination.
fn run(seed: u64) -> Account {
    let mut world = World::new(seed);
    (0..STEPS).for_each(|_| world.step());
    world.heal();
    world.verdict();
    world.core.ledger.account(0)
}

#[test]
fn whatever_happens_no_span_is_lost_without_being_counted() {
    let seeds = std::env::var("CRUDDUR_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    let mut reasons = [
        (Reason::Rejected, 0),
        (Reason::BufferFull, 0),
        (Reason::SpoolFull, 0),
        (Reason::SpoolDamaged, 0),
        (Reason::Killed, 0),
        (Reason::SampledOut, 0),
    ];
    for seed in 0..seeds.unwrap_or(800) {
        let account = std::panic::catch_unwind(|| run(seed)).unwrap_or_else(|panic| {
            eprintln!("seed {seed} fails");
            std::panic::resume_unwind(panic)
        });
        reasons.iter_mut().for_each(|(reason, sum)| *sum += account.at(State::Dropped(*reason)));
    }
    // Else the simulation would not reach what it is there for.
    assert!(reasons.iter().all(|(_, sum)| *sum > 0), "{reasons:?}");
}
