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
    let mut derived = invocations.telemetry(&event);
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

#[test]
fn a_retry_in_the_same_sandbox_is_a_failure_of_its_own_and_waited_for() {
    let processor = with_reporter();
    let event = |kind: &str, second: u64, mut record: serde_json::Value| {
        if kind != "function" {
            record["requestId"] = "r".into();
        }
        let time = format!("2026-01-01T00:0{}:{:02}Z", second / 60, second % 60);
        serde_json::json!({ "time": time, "type": kind, "record": record })
    };
    let end = |error_type: &str, second| {
        let record = serde_json::json!({ "status": "error", "errorType": error_type });
        [
            event("platform.runtimeDone", second, record.clone()),
            event("platform.report", second, record),
        ]
    };
    let mut payloads = Vec::new();
    let mut post = |events: &[serde_json::Value]| {
        let mut derived = processor.telemetry(&serde_json::json!(events));
        payloads.append(&mut derived.payloads);
        processor.record(derived);
    };
    let is_done = |attempt| {
        let done = processor.registry().wait_for(attempt, |it| it == EndEvidence::RuntimeDone);
        futures_util::FutureExt::now_or_never(done).is_some()
    };

    let (first, _) = processor.on_invoke(&invoke("r"));
    post(&[event("platform.start", 0, serde_json::json!({}))]);
    let (second, made) = processor.on_invoke(&invoke("r"));
    let line = event("function", 1, "ERROR: of the first".into());
    post(&[&[line], &end("First", 1)[..]].concat());
    assert_eq!((is_done(first), is_done(second), made.len()), (true, false, 0));
    post(&[event("platform.start", 60, serde_json::json!({}))]);
    let line = event("function", 61, "ERROR: of the second".into());
    post(&[&[line], &end("Second", 61)[..]].concat());
    assert!(is_done(second));

    let items = payloads.iter().filter(|payload| payload.kind == SignalKind::Failures);
    let items: Vec<serde_json::Value> = items
        .flat_map(|payload| crate::otlp::failure_codec::read(&payload.bytes))
        .map(|line| serde_json::from_str(line.json).unwrap())
        .collect();
    assert_eq!(items.len(), 2, "{items:#?}");
    for (item, name) in items.iter().zip(["First", "Second"]) {
        assert_eq!(item["data"]["custom"]["platform_error"], name);
        let lines = item["data"]["body"]["telemetry"].to_string();
        let shown = ["of the first", "of the second"].map(|line| lines.contains(line));
        assert_eq!(shown, [name == "First", name == "Second"], "{lines}");
    }
}

mod managed;
mod posts;
