use std::sync::atomic::Ordering;

use super::*;
use crate::config::Config;
use crate::otlp::payload::SignalKind;

fn invoke(request_id: &str) -> Invoke {
    serde_json::from_value(serde_json::json!({ "requestId": request_id })).unwrap()
}

fn with_reporter() -> Processor {
    let (config, _) =
        Config::from_vars(|name| (name == "ROLLBAR_ACCESS_TOKEN").then(|| "token".into()));
    let registry = Registry::default();
    let platform = PlatformSpans::new("function".to_owned(), Vec::new(), registry.clone());
    let lines = LineEnricher::new(config.line_settings(), registry.clone());
    let reporter = FailureReporter::new(config.failure_settings().unwrap(), registry.clone());
    Processor::new(registry, platform, Some(lines), Some(reporter))
}

fn runtime_done(invocations: &Processor, request_id: &str, status: &str) -> Vec<Payload> {
    let event = serde_json::json!([{
        "time": "2026-01-01T00:00:00.000Z",
        "type": "platform.runtimeDone",
        "record": {"requestId": request_id, "status": status},
    }]);
    let json = event.to_string();
    let events = RawEvent::read_all(&json, SystemTime::now()).unwrap();
    let mut derived = invocations.telemetry(&events);
    let failures = std::mem::take(&mut derived.payloads);
    invocations.record(derived);
    failures.into_iter().filter(|payload| payload.kind == SignalKind::Failures).collect()
}

#[tokio::test]
async fn a_panic_of_the_failure_reporter_costs_what_it_held_and_no_event_beside_it() {
    let invocations = with_reporter();
    let counts = invocations.failure_counts();
    let (attempt, _) = invocations.on_invoke(&invoke("r"));
    invocations.break_reporter();

    assert!(runtime_done(&invocations, "r", "error").is_empty());

    invocations.registry().wait_for(attempt, |it| it == EndEvidence::RuntimeDone).await;
    assert_eq!(counts.waiting.load(Ordering::Relaxed), 0);
    assert_eq!(counts.lost.load(Ordering::Relaxed), 1);
    assert!(!invocations.has_failures(attempt));

    let (_, mut items) = invocations.on_invoke(&invoke("s"));
    items.extend(runtime_done(&invocations, "s", "error"));
    items.extend(invocations.last_failures());
    assert_eq!(items.iter().map(|signal| signal.items).sum::<u64>(), 1, "it reports again");
    assert_eq!(counts.lost.load(Ordering::Relaxed), 1);
}

mod managed;
