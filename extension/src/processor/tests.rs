use std::time::Duration;

use super::*;
use crate::config::Config;

fn invocations() -> Processor {
    Processor::new(PlatformSpans::new("function".to_owned(), Vec::new()), None, None)
}

fn invoke() -> Invoke {
    serde_json::from_str(r#"{"requestId":"r"}"#).unwrap()
}

#[tokio::test]
async fn a_function_may_be_done_before_it_is_told_that_it_began() {
    let invocations = invocations();
    invocations.ended("r".to_owned(), EndEvidence::Certain);

    invocations.on_invoke(&invoke());

    invocations.wait_for_end("r", EndEvidence::Certain).await;
}

#[tokio::test]
async fn the_end_of_an_attempt_is_not_that_of_the_next() {
    let invocations = invocations();
    let long_ago = SystemTime::now() - Duration::from_secs(60);
    invocations.ended.add_at("r".to_owned(), long_ago);

    invocations.on_invoke(&invoke());

    assert!(!invocations.ended.has("r"));
}

#[tokio::test]
async fn a_server_span_that_may_not_be_the_last_word_is_a_likely_end() {
    let invocations = invocations();
    invocations.ended("r".to_owned(), EndEvidence::Likely);

    invocations.wait_for_end("r", EndEvidence::Likely).await;
    let certain = invocations.wait_for_end("r", EndEvidence::Certain);
    assert!(futures_util::FutureExt::now_or_never(certain).is_none());
}

fn with_reporter() -> Processor {
    let (config, _) =
        Config::from_vars(|name| (name == "ROLLBAR_ACCESS_TOKEN").then(|| "token".into()));
    let platform = PlatformSpans::new("function".to_owned(), Vec::new());
    Processor::new(platform, None, Some(FailureReporter::new(config.failure_settings().unwrap())))
}

fn runtime_done(invocations: &Processor, request_id: &str, status: &str) -> Vec<Payload> {
    let event = serde_json::json!([{
        "time": "2026-01-01T00:00:00.000Z",
        "type": "platform.runtimeDone",
        "record": {"requestId": request_id, "status": status},
    }]);
    let json = event.to_string();
    let events = RawEvent::read_all(&json, SystemTime::now()).unwrap();
    let mut news = invocations.platform_event(PlatformEvent::read(&events[0]));
    let failures = std::mem::take(&mut news.failures);
    invocations.record(news);
    failures
}

#[tokio::test]
async fn a_panic_of_the_failure_reporter_costs_what_it_held_and_no_event_beside_it() {
    let invocations = with_reporter();
    let counts = invocations.failure_counts();
    let _ = invocations.on_invoke(&invoke());
    invocations.break_reporter();

    assert!(runtime_done(&invocations, "r", "error").is_empty());

    invocations.wait_for_runtime_done("r").await;
    invocations.wait_for_end("r", EndEvidence::Certain).await;
    assert_eq!(counts.waiting.load(Ordering::Relaxed), 0);
    assert_eq!(counts.lost.load(Ordering::Relaxed), 1);
    assert!(!invocations.has_failures("r"));

    let next: Invoke = serde_json::from_str(r#"{"requestId":"s"}"#).unwrap();
    let mut items = invocations.on_invoke(&next);
    items.extend(runtime_done(&invocations, "s", "error"));
    items.extend(invocations.last_failures());
    assert_eq!(items.iter().map(|signal| signal.items).sum::<u64>(), 1, "it reports again");
    assert_eq!(counts.lost.load(Ordering::Relaxed), 1);
}
