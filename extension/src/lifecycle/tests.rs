//! The lifecycle with failures of our own code, late events and failed invocations.

mod posts;

use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
};

use super::*;
use crate::flush::policy::{DONE_WAIT, FlushKind};
use crate::invocation::end::EndEvidence;
use crate::lambda::extensions_api::Invoke;
use crate::otlp::payload::{Payload, SignalKind};
use crate::pipeline::Pipeline;
use crate::processor::Processor;

/// An Extensions API that gives these answers, one a connection; returns the calls' first lines.
fn api_with(answers: &'static [&'static str]) -> (String, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let api = listener.local_addr().unwrap().to_string();
    let call = move |answer: &&str| {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = vec![0; 4_096];
        let length = stream.read(&mut request).unwrap();
        let request = String::from_utf8_lossy(&request[..length]);
        let head = format!(
            "HTTP/1.1 200 OK\r\nconnection: close\r\nlambda-extension-identifier: x\r\n\
             content-length: {}\r\n\r\n",
            answer.len()
        );
        stream.write_all(format!("{head}{answer}").as_bytes()).unwrap();
        request.lines().next().unwrap_or_default().to_owned()
    };
    (api, thread::spawn(move || answers.iter().map(call).collect()))
}

const INVOKE: &str = r#"{"eventType":"INVOKE","requestId":"r","deadlineMs":0}"#;
const SHUTDOWN: &str = r#"{"eventType":"SHUTDOWN","shutdownReason":"spindown"}"#;

#[tokio::test]
async fn a_panic_ends_our_work_and_events_are_asked_for_until_shutdown() {
    let (api, calls) = api_with(&["{}", INVOKE, INVOKE, SHUTDOWN]);
    let lambda = ExtensionsApi::register(EventTypes::All, &api, "name").await.unwrap();

    let shutdown = poll_until_shutdown(&lambda, async { panic!("a bug") }).await;

    assert_eq!(shutdown.shutdown_reason, "spindown");
    let next = "GET /2020-01-01/extension/event/next HTTP/1.1";
    let register = "POST /2020-01-01/extension/register HTTP/1.1";
    assert_eq!(calls.join().unwrap(), [register, next, next, next]);
}

#[tokio::test(start_paused = true)]
async fn without_a_pipeline_no_invocation_is_waited_for() {
    let (config, _) = Config::from_vars(|_| None);
    let mut extension = Extension::start(&config, None, Trigger::Flush);
    // Its other end is dropped, as by a panic.
    (_, extension.pipeline) =
        Pipeline::new(Vec::new(), &config.pipeline_settings(), Trigger::Flush);
    let Ok(LambdaEvent::Invoke(invoke)) = serde_json::from_str(INVOKE) else { panic!("no INVOKE") };
    let began = Instant::now();

    extension.has_exporters = true;
    extension
        .handle_invoke(&invoke, &mut FlushState::new(config.flush, config.hold_settings(), true))
        .await;

    assert_eq!(began.elapsed(), Duration::ZERO);
}

fn invoke(request_id: &str, left: Duration) -> Invoke {
    let deadline = SystemTime::now() + left + policy::DEADLINE_MARGIN;
    let deadline_ms = deadline.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    let json = serde_json::json!({"requestId": request_id, "deadlineMs": deadline_ms as u64});
    serde_json::from_value(json).unwrap()
}

/// The time from INVOKE to the next Next.
async fn held(extension: &mut Extension, flushing: &mut FlushState, invoke: &Invoke) -> Duration {
    let began = Instant::now();
    extension.handle_invoke(invoke, flushing).await;
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn when_the_platform_falls_silent_next_is_not_kept_until_the_deadline_for_ever() {
    let (config, _) =
        Config::from_vars(|name| (name == "CRUDDUR_EXPORTERS").then(|| "console".into()));
    let mut extension = Extension::start(&config, None, Trigger::Flush);
    let mut flushing = FlushState::new(config.flush, config.hold_settings(), true);
    let minute = Duration::from_secs(60);

    let mut holds = Vec::new();
    for request_id in ["a", "b", "c"] {
        holds.push(held(&mut extension, &mut flushing, &invoke(request_id, minute)).await);
    }

    let long = |hold: &Duration| *hold > minute / 2;
    assert_eq!(holds.iter().map(long).collect::<Vec<_>>(), [true, false, false], "{holds:?}");
    assert!(holds[1..].iter().all(|hold| *hold <= config.max_hold), "{holds:?}");
}

fn span() -> Payload {
    let span = [0x0a, 4, 0x12, 2, 0x12, 0]; // a resource with a scope with an empty span
    Payload::read(SignalKind::Traces, span.to_vec().into()).unwrap().0
}

fn runtime_done(invocations: &Processor, request_id: &str) {
    let event = serde_json::json!([{
        "time": "2026-01-01T00:00:00.000Z",
        "type": "platform.runtimeDone",
        "record": {"requestId": request_id, "status": "success"},
    }]);
    invocations.record(invocations.telemetry(&event));
}

/// Extension with these exporters, and without the sums that an earlier process left.
fn with_exporters(exporters: &str) -> (Config, Extension) {
    let vars = [
        ("CRUDDUR_EXPORTERS", exporters),
        ("ROLLBAR_ACCESS_TOKEN", "token"),
        ("CRUDDUR_SPOOL_BYTES", "0"),
    ];
    let (config, _) = Config::from_vars(|wanted| {
        vars.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned())
    });
    let extension = Extension::start(&config, None, Trigger::Flush);
    (config, extension)
}

#[tokio::test(start_paused = true)]
async fn after_a_server_span_a_lost_runtime_done_holds_next_once_and_within_the_longest_hold() {
    let (config, mut extension) = with_exporters("console");
    let mut flushing = FlushState::new(config.flush, config.hold_settings(), true);
    let minute = Duration::from_secs(60);

    let mut holds = Vec::new();
    for request_id in ["a", "b", "c"] {
        extension.enqueue(vec![span()]).await;
        extension.invocations.ended(request_id, EndEvidence::ServerSpan);
        holds.push(held(&mut extension, &mut flushing, &invoke(request_id, minute)).await);
    }
    assert_eq!(holds, [DONE_WAIT, Duration::ZERO, Duration::ZERO]);
    let longest = extension.pipeline.summary().await.unwrap().holds.longest_ms;
    assert_eq!(longest, holds[0].as_secs_f64() * 1e3, "the wait counts as a hold");

    // The platform's events come again, even if late and of another invocation.
    runtime_done(&extension.invocations, "a");
    extension.enqueue(vec![span()]).await;
    extension.invocations.ended("d", EndEvidence::ServerSpan);
    let soon = DONE_WAIT / 2;
    let invocations = extension.invocations.clone();
    tokio::spawn(async move {
        sleep(soon).await;
        runtime_done(&invocations, "d");
    });
    assert_eq!(held(&mut extension, &mut flushing, &invoke("d", minute)).await, soon);
}

#[tokio::test(start_paused = true)]
async fn when_lines_are_wanted_a_lost_runtime_done_costs_one_wait_and_the_batch_is_delivered() {
    let (config, mut extension) = with_exporters("console");
    extension.wants_lines = true;
    let mut flushing = FlushState::new(config.flush, config.hold_settings(), true);
    let minute = Duration::from_secs(60);
    let signal = span();

    let (mut holds, mut delivered) = (Vec::new(), Vec::new());
    for request_id in ["a", "b", "c"] {
        extension.enqueue(vec![signal.clone()]).await;
        extension.invocations.ended(request_id, EndEvidence::LastSpan);
        holds.push(held(&mut extension, &mut flushing, &invoke(request_id, minute)).await);
        let summary = serde_json::json!(extension.pipeline.summary().await.unwrap());
        delivered.push(summary["destinations"]["console"]["traces"]["delivered"].clone());
    }
    assert_eq!(holds, [DONE_WAIT, Duration::ZERO, Duration::ZERO]);
    assert_eq!(delivered, [1, 2, 3]);

    runtime_done(&extension.invocations, "c");
    extension.enqueue(vec![signal]).await;
    extension.invocations.ended("d", EndEvidence::LastSpan);
    let hold = held(&mut extension, &mut flushing, &invoke("d", minute)).await;
    assert_eq!(hold, holds[0], "the wait is back");
}

#[tokio::test(start_paused = true)]
async fn without_a_destination_nobody_waits_for_an_invocations_end() {
    let (config, _) =
        Config::from_vars(|name| (name == "CRUDDUR_EXPORTERS").then(|| "honeycomb".into()));
    let mut extension = Extension::start(&config, None, Trigger::Flush);
    let mut flushing = FlushState::new(config.flush, config.hold_settings(), true);

    let hold = held(&mut extension, &mut flushing, &invoke("a", Duration::from_secs(60))).await;

    assert_eq!(hold, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_hold_of_next_begins_with_the_invocations_end() {
    let (config, _) =
        Config::from_vars(|name| (name == "CRUDDUR_EXPORTERS").then(|| "console".into()));
    let mut extension = Extension::start(&config, None, Trigger::Flush);
    extension.wants_lines = true; // they are waited for, and never come
    extension.enqueue(vec![span()]).await;
    extension.invocations.ended("a", EndEvidence::LastSpan);
    let mut flushing = FlushState::new(config.flush, config.hold_settings(), true);

    let hold = held(&mut extension, &mut flushing, &invoke("a", Duration::from_secs(60))).await;

    let holds = extension.pipeline.summary().await.unwrap().holds;
    assert_eq!((holds.count, holds.longest_ms), (1, hold.as_secs_f64() * 1e3));
    assert_eq!(hold, DONE_WAIT);
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_failure_reporter_ends_no_invocation_and_is_in_the_sums() {
    let (config, mut extension) = with_exporters("console,rollbar");
    let mut flushing = FlushState::new(config.flush, config.hold_settings(), true);
    let signal = span();

    for request_id in ["a", "b"] {
        extension.invocations.break_reporter();
        extension.enqueue(vec![signal.clone()]).await;
        extension.invocations.ended(request_id, EndEvidence::LastSpan);
        extension.handle_invoke(&invoke(request_id, Duration::from_secs(60)), &mut flushing).await;
    }

    extension.pipeline.count().await;
    let summary = serde_json::json!(extension.pipeline.summary().await.unwrap());
    assert_eq!(summary["destinations"]["console"]["traces"]["delivered"], 2);
    assert_eq!(
        summary["destinations"]["rollbar"]["failures"],
        serde_json::json!({"received": 2, "dropped": {"killed": 2}})
    );
}

#[tokio::test]
async fn a_pipeline_that_failed_leaves_what_it_received_in_the_spool() {
    let directory = tempfile::tempdir().unwrap();
    let variables = [
        ("HONEYCOMB_API_KEY", "key".to_owned()),
        ("HONEYCOMB_API_ENDPOINT", "http://127.0.0.1:9".to_owned()), // a closed port
        ("CRUDDUR_SPOOL_DIR", directory.path().display().to_string()),
    ];
    let (config, _) = Config::from_vars(|wanted| {
        let given = variables.iter().find(|(name, _)| *name == wanted);
        given.map(|(_, value)| value.clone())
    });
    let mut extension = Extension::start(&config, None, Trigger::Flush);
    let signal = span();
    extension.enqueue(vec![signal.clone(), signal]).await;

    // An instant to which nothing can be added, which no deadline leads to: a bug.
    let (mut end_of_time, mut step) = (Instant::now(), Duration::MAX);
    while !step.is_zero() {
        end_of_time = end_of_time.checked_add(step).unwrap_or(end_of_time);
        step /= 2;
    }
    extension.pipeline.flush(FlushKind::Wait(end_of_time)).await;
    assert!(extension.pipeline.has_stopped());
    let Ok(LambdaEvent::Invoke(invoke)) = serde_json::from_str(INVOKE) else { panic!("no INVOKE") };
    extension
        .handle_invoke(&invoke, &mut FlushState::new(config.flush, config.hold_settings(), true))
        .await;
    let pipeline = extension.shut_down(&config, Instant::now() + DRAIN_BUDGET).await;

    let summary = serde_json::json!(pipeline.summary().await.unwrap());
    let expected = serde_json::json!({"received": 2, "spooled": 2});
    assert_eq!(summary["destinations"]["honeycomb"]["traces"], expected);
}

#[tokio::test]
async fn with_a_small_buffer_lambdas_posts_are_taken_all_the_same() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let api = listener.local_addr().unwrap().to_string();
    let subscribed = thread::spawn(move || {
        let mut all = String::new();
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = vec![0; 8_192];
            while !all.ends_with('}') {
                let length = stream.read(&mut request).unwrap();
                all += std::str::from_utf8(&request[..length]).unwrap();
            }
            let head = "HTTP/1.1 200 OK\r\nconnection: close\r\nlambda-extension-identifier: x\r\n";
            write!(stream, "{head}content-length: 2\r\n\r\n{{}}").unwrap();
            all += "\n";
        }
        let (_, port) = all.split_once("sandbox.localdomain:").unwrap();
        let port = port.split(|c: char| !c.is_ascii_digit()).next().unwrap();
        port.parse::<u16>().unwrap()
    });
    let (config, _) =
        Config::from_vars(|name| (name == "CRUDDUR_BUFFER_BYTES").then(|| "65536".into()));
    let mut extension = Extension::start(&config, None, Trigger::Flush);
    let lambda = ExtensionsApi::register(EventTypes::All, &api, "name").await.unwrap();
    extension.receive_telemetry(&lambda, &config).await.unwrap();
    let port = subscribed.join().unwrap();

    let post = tokio::task::spawn_blocking(move || {
        let line = "x".repeat(5_000_000);
        let body = serde_json::json!([{"type": "function", "record": line}]).to_string();
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        let head = format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n", body.len());
        write!(stream, "{head}connection: close\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });

    assert!(post.await.unwrap().starts_with("HTTP/1.1 200"));
}
