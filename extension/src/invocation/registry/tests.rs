use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;
use serde_json::{Value, json};
use trace_context::SpanId;

use super::*;
use crate::invocation::attempts::MAX_ATTEMPTS;
use crate::lambda::telemetry_event::RawEvent;

fn at(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000) + Duration::from_millis(millis)
}

fn invoke(registry: &Registry, request_id: &str, millis: u64) -> AttemptId {
    let invoke = json!({ "requestId": request_id, "deadlineMs": millis + 1_000 });
    registry.on_invoke(&serde_json::from_value(invoke).unwrap(), at(millis))
}

fn event(registry: &Registry, kind: &str, record: Value, millis: u64) -> AttemptId {
    let record = record.to_string();
    let event = RawEvent { time: at(millis), kind: kind.into(), record: &record };
    registry.on_platform_event(&PlatformEvent::read(&event)).unwrap()
}

fn start(registry: &Registry, request_id: &str, millis: u64) -> AttemptId {
    event(registry, "platform.start", json!({ "requestId": request_id }), millis)
}

fn done(registry: &Registry, request_id: &str, status: &str, millis: u64) -> AttemptId {
    let record = json!({ "requestId": request_id, "status": status });
    event(registry, "platform.runtimeDone", record, millis)
}

fn report(registry: &Registry, request_id: &str, millis: u64) -> AttemptId {
    event(registry, "platform.report", json!({ "requestId": request_id }), millis)
}

fn server_span(registry: &Registry, request_id: &str, millis: u64) -> Option<AttemptId> {
    let server = ServerSpan {
        request_id: request_id.to_owned(),
        trace_id: TraceId::from_bytes([7; 16]),
        span_id: SpanId::from_bytes([7; 8]),
        is_sampled: true,
        failed: false,
        ended: Some(at(millis)),
        is_last_word: true,
        filtered_at: Default::default(),
    };
    registry.on_server_span(&server, at(millis))
}

#[test]
fn a_retried_event_is_two_attempts_although_the_first_ends_after_the_second_invoke() {
    let registry = Registry::default();
    let first = invoke(&registry, "r", 0);
    start(&registry, "r", 0);
    let second = invoke(&registry, "r", 60_000);

    assert_eq!(done(&registry, "r", "error", 900), first);
    assert_eq!(
        registry.of_line(None, registry.line_owner(), at(900)),
        Some(first),
        "its lines arrive late too"
    );
    assert_eq!(report(&registry, "r", 901), first);
    assert_eq!(start(&registry, "r", 60_000), second);
    assert_eq!(registry.of_line(Some("r"), LineOwner::default(), at(60_001)), Some(second));
    assert_eq!(done(&registry, "r", "timeout", 61_000), second);
    assert_eq!(report(&registry, "r", 61_001), second);

    let statuses = [first, second].map(|id| registry.get(id).unwrap().status.unwrap());
    assert_eq!(statuses.each_ref().map(|it| &**it), ["error", "timeout"]);
    assert_ne!(registry.get(first).unwrap().key(), registry.get(second).unwrap().key());
}

#[test]
fn a_report_that_comes_after_the_start_of_the_retry_is_that_of_the_first_attempt() {
    let registry = Registry::default();
    let first = start(&registry, "r", 0);
    done(&registry, "r", "error", 900);
    let second = start(&registry, "r", 60_000);

    assert_eq!(report(&registry, "r", 901), first);
    assert_eq!(done(&registry, "r", "success", 60_900), second);
    assert_eq!(report(&registry, "r", 60_901), second);
}

#[test]
fn a_span_belongs_to_the_attempt_in_which_it_ended() {
    let registry = Registry::default();
    let first = invoke(&registry, "r", 0);
    let second = invoke(&registry, "r", 60_000);

    assert_eq!(server_span(&registry, "r", 900), Some(first), "sent during the second attempt");
    assert_eq!(registry.lock().of_span("r", Some(at(950))), Some(first));
    // A fast function replies before its INVOKE reaches the extension.
    assert_eq!(server_span(&registry, "r", 59_999), Some(second));
    assert_eq!(registry.lock().of_span("r", Some(at(60_000))), Some(second));
    assert_eq!(registry.lock().of_span("r", None), Some(second));
    assert_eq!(registry.lock().of_span("unknown", None), None);
}

#[test]
fn late_evidence_of_an_attempt_with_a_server_span_is_not_that_of_the_retry() {
    let registry = Registry::default();
    let first = invoke(&registry, "r", 0);
    server_span(&registry, "r", 900);
    let second = invoke(&registry, "r", 60_000);

    assert_eq!(registry.of_evidence("r", Some(at(950)), at(60_001)), Some(first), "a log record");
    assert_eq!(server_span(&registry, "r", 960), Some(first), "a second server span");
    // A fast function replies before its INVOKE reaches the extension.
    assert_eq!(server_span(&registry, "r", 59_999), Some(second));
    assert_eq!(registry.of_evidence("r", Some(at(59_999)), at(60_001)), Some(second));
    assert_eq!(registry.lock().of_span("r", Some(at(59_990))), Some(second), "a child span");
}

#[tokio::test]
async fn a_retry_may_be_over_before_its_invoke_arrives() {
    let registry = Registry::default();
    let first = invoke(&registry, "r", 0);
    start(&registry, "r", 0);
    server_span(&registry, "r", 900);
    done(&registry, "r", "error", 901);
    let early = server_span(&registry, "r", 60_000).unwrap();
    registry.record(early, EndEvidence::LastSpan);

    let second = invoke(&registry, "r", 60_001);

    assert_ne!(early, first);
    assert_eq!(early, second);
    registry.wait_for(second, EndEvidence::is_certain).await;
}

#[tokio::test]
async fn a_function_may_be_over_before_its_invoke_arrives() {
    let registry = Registry::default();
    let early = server_span(&registry, "r", 0).unwrap();
    registry.record(early, EndEvidence::LastSpan);

    let attempt = invoke(&registry, "r", 5);

    assert_eq!(attempt, early);
    registry.wait_for(attempt, EndEvidence::is_certain).await;
}

#[tokio::test]
async fn the_end_of_an_attempt_is_not_that_of_the_next() {
    let registry = Registry::default();
    let early = server_span(&registry, "r", 0).unwrap();
    registry.record(early, EndEvidence::LastSpan);

    let retry = invoke(&registry, "r", 60_000);

    assert_ne!(retry, early);
    let end = registry.wait_for(retry, EndEvidence::is_likely);
    assert!(futures_util::FutureExt::now_or_never(end).is_none());
}

#[tokio::test]
async fn a_server_span_is_likely_but_no_certain_end() {
    let registry = Registry::default();
    let attempt = invoke(&registry, "r", 0);
    registry.record(attempt, EndEvidence::ServerSpan);

    registry.wait_for(attempt, EndEvidence::is_likely).await;
    let certain = registry.wait_for(attempt, EndEvidence::is_certain);
    assert!(futures_util::FutureExt::now_or_never(certain).is_none());
}

#[test]
fn made_up_request_ids_evict_no_invocation() {
    let registry = Registry::default();
    let running = start(&registry, "r", 0);
    for number in 0..3 * MAX_ATTEMPTS {
        server_span(&registry, &format!("made up {number}"), 1);
    }

    assert!(registry.get(running).is_some());
    assert_eq!(done(&registry, "r", "success", 2), running);
    assert!(registry.take_evicted().iter().all(|it| it.request_id.starts_with("made up")));
}

#[test]
fn made_up_request_ids_evict_no_ended_invocation_whose_report_is_missing() {
    let registry = Registry::default();
    let ended = invoke(&registry, "ended", 0);
    start(&registry, "ended", 0);
    invoke(&registry, "running", 1);
    for number in 0..2 * MAX_ATTEMPTS {
        server_span(&registry, &format!("made up {number}"), 2);
    }

    assert_eq!(report(&registry, "ended", 3), ended);
}

#[test]
fn made_up_request_ids_evict_no_tombstone() {
    let registry = Registry::default();
    let ids: Vec<_> = (0..=MAX_ATTEMPTS).map(|n| start(&registry, &format!("r{n}"), 0)).collect();
    registry.record(report(&registry, "r5", 1), EndEvidence::Report);
    for number in 0..2 * MAX_ATTEMPTS {
        assert!(server_span(&registry, &format!("made up {number}"), 2).is_some());
    }

    assert!(registry.get(ids[0]).is_none());
    assert_eq!(server_span(&registry, "r0", 3), None);
}

#[test]
fn an_attempt_is_concluded_if_it_is_evicted_before_its_report_is_in_the_pipeline() {
    let registry = Registry::default();
    let ids: Vec<_> = (0..MAX_ATTEMPTS).map(|n| start(&registry, &format!("r{n}"), 0)).collect();
    for number in 0..2 {
        report(&registry, &format!("r{number}"), 1);
    }
    registry.record(ids[1], EndEvidence::Report);
    start(&registry, "one more", 2);
    start(&registry, "another one", 2);

    let evicted = registry.take_evicted();

    assert_eq!(evicted.iter().map(|it| it.id).collect::<Vec<_>>(), [ids[0]]);
    assert!(registry.get(ids[1]).is_none() && registry.get(ids[2]).is_some());
}

#[test]
fn the_oldest_open_attempt_is_evicted_by_a_new_one_and_is_not_opened_again() {
    let registry = Registry::default();
    let ids: Vec<_> = (0..MAX_ATTEMPTS).map(|n| start(&registry, &format!("r{n}"), 0)).collect();
    report(&registry, "r5", 1);
    registry.record(ids[5], EndEvidence::Report);
    start(&registry, "one more", 2);
    assert!(registry.take_evicted().is_empty(), "r5 was over");
    start(&registry, "another one", 2);

    let evicted = registry.take_evicted();

    assert_eq!(evicted.iter().map(|it| it.id).collect::<Vec<_>>(), [ids[0]]);
    assert_eq!(server_span(&registry, "r0", 3), None);
    assert!(registry.get(ids[5]).is_none() && registry.get(ids[1]).is_some());
}

#[test]
fn a_sandbox_that_fails_after_a_successful_invocation_blames_none() {
    let shutdown = Shutdown { shutdown_reason: "failure".to_owned(), deadline_ms: 0 };
    let registry = Registry::default();
    invoke(&registry, "good", 0);
    done(&registry, "good", "success", 1);
    assert!(registry.unexplained(&shutdown).is_none());

    let running = invoke(&registry, "running", 2);

    assert_eq!(registry.unexplained(&shutdown).map(|it| it.id), Some(running));
}

#[test]
fn with_64_invocations_in_flight_the_lock_is_held_for_microseconds() {
    let registry = Registry::default();
    let mut longest = Vec::new();
    for round in 0..30 {
        registry.0.longest_lock.store(0, Ordering::Relaxed);
        for number in 0..64 {
            start(&registry, &format!("r{round}-{number}"), 0);
        }
        for number in 0..64 {
            let request_id = format!("r{round}-{number}");
            server_span(&registry, &request_id, 1);
            registry.of_line(None, registry.line_owner(), at(1));
            registry.of_line(Some(&request_id), LineOwner::default(), at(1));
            registry.header_of_root(TraceId::from_bytes([9; 16]).unwrap());
            done(&registry, &request_id, "success", 1);
            let attempt = report(&registry, &request_id, 1);
            registry.record(attempt, EndEvidence::Report);
        }
        longest.push(registry.0.longest_lock.load(Ordering::Relaxed));
    }

    // An interrupt of the machine lengthens single rounds, and so does the growth of the tables.
    let median = Duration::from_nanos(*longest.select_nth_unstable(15).1);
    assert!(median <= Duration::from_micros(50), "{median:?} of CPU time");
}

proptest! {
    #[test]
    fn open_invocations_get_their_own_events_in_whatever_order(
        order in Just((0..200).flat_map(|n| [(n, 0), (n, 1), (n, 2)]).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let registry = Registry::default();
        let ids: Vec<_> = (0..200).map(|n| start(&registry, &format!("r{n}"), 0)).collect();
        for (number, kind) in order {
            let request_id = format!("r{number}");
            let attempt = match kind {
                0 => server_span(&registry, &request_id, 5).unwrap(),
                1 => done(&registry, &request_id, "success", 6),
                _ => report(&registry, &request_id, 7),
            };
            prop_assert_eq!(attempt, ids[number]);
        }
    }
}
