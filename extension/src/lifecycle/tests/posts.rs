//! POSTs of the Telemetry API during and after an invocation.

use std::borrow::Cow;
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::*;
use crate::delivery::batch::Batch;
use crate::delivery::error::{ExportError, ExportOutcome};
use crate::delivery::healthcheck::Finding;
use crate::delivery::{DestinationSpec, Exporter};
use crate::invocation::registry::Registry;
use crate::otlp::line_codec;
use crate::processor::log_lines::LineEnricher;
use crate::processor::platform_spans::PlatformSpans;
use crate::receiver::posts::Posts;

/// The messages of each batch of lines that the destination got.
type Sent = Arc<Mutex<Vec<Vec<String>>>>;

/// Takes lines and answers at once.
struct LineSink(Sent);

impl Exporter for LineSink {
    fn spec(&self) -> DestinationSpec {
        let kinds = vec![SignalKind::Lines];
        DestinationSpec {
            name: "sink",
            kinds,
            durable: false,
            max_items: u64::MAX,
            keeps_duplicates: true,
        }
    }

    fn export<'a>(
        &'a mut self,
        batch: &'a Batch,
    ) -> BoxFuture<'a, Result<ExportOutcome, ExportError>> {
        let plain = batch.to_plain().unwrap();
        let message = |line: line_codec::LogLine<'_>| {
            let line: Value = serde_json::from_str(line.json).unwrap();
            line["message"].as_str().unwrap().to_owned()
        };
        self.0.lock().unwrap().push(line_codec::read(&plain).map(message).collect());
        Box::pin(async { Ok(ExportOutcome::default()) })
    }

    fn preview(&self, _: &Payload) -> Result<Vec<String>, ExportError> {
        unreachable!("the tests preview nothing")
    }

    fn healthcheck(&mut self) -> BoxFuture<'_, Vec<Finding>> {
        unreachable!("the tests check no health")
    }
}

struct Rig {
    extension: Extension,
    flushing: FlushState,
    sent: Sent,
}

impl Rig {
    fn start(has_core: bool) -> Self {
        let (config, mut extension) = with_exporters("console");
        let sent = Sent::default();
        let exporters: Vec<Box<dyn Exporter>> = vec![Box::new(LineSink(Arc::clone(&sent)))];
        let (pipeline, handle) =
            Pipeline::new(exporters, &config.pipeline_settings(), Trigger::Flush);
        tokio::spawn(pipeline.run());
        let registry = Registry::default();
        let platform = PlatformSpans::new("function".to_owned(), Vec::new(), registry.clone());
        let lines = LineEnricher::new(config.line_settings(), registry.clone());
        extension.invocations = Processor::new(registry, platform, Some(lines), None);
        extension.posts = Posts::new(handle.clone(), extension.invocations.clone(), has_core);
        (extension.pipeline, extension.wants_lines) = (handle, true);
        let flushing = FlushState::new(config.flush, config.hold_settings(), true);
        Self { extension, flushing, sent }
    }
}

async fn post(posts: &Posts, events: &[(&str, Value)]) {
    let event = |(kind, record): &(&str, Value)| {
        let event = json!({"time": "2026-01-01T00:00:00.000Z", "type": kind, "record": record});
        Cow::Owned(event.to_string())
    };
    posts.receive(&events.iter().map(event).collect::<Vec<_>>(), SystemTime::now()).await;
}

/// The account of a destination's kind, or null.
async fn account(pipeline: &PipelineHandle, destination: &str, kind: &str) -> Value {
    json!(pipeline.summary().await.unwrap())["destinations"][destination][kind].clone()
}

fn about(request_id: &str) -> Value {
    json!({"requestId": request_id, "status": "success"})
}

#[tokio::test(start_paused = true)]
async fn a_post_becomes_lines_after_the_end_in_the_flush_of_its_invocation_or_at_once_with_a_core()
{
    for (has_core, during) in [(false, json!(null)), (true, json!(2))] {
        let Rig { mut extension, mut flushing, sent } = Rig::start(has_core);
        let (posts, pipeline) = (extension.posts.clone(), extension.pipeline.clone());
        let function = async {
            post(&posts, &[("platform.start", about("a")), ("function", json!("one"))]).await;
            let received = account(&pipeline, "sink", "lines").await["received"].clone();
            assert_eq!(received, during, "has a core: {has_core}");
            assert!(sent.lock().unwrap().is_empty());
            post(&posts, &[("function", json!("two")), ("platform.runtimeDone", about("a"))]).await;
        };

        let invoke = invoke("a", Duration::from_secs(60));
        tokio::join!(extension.handle_invoke(&invoke, &mut flushing), function);

        let batches = sent.lock().unwrap().clone();
        assert_eq!(batches.len(), 1, "{batches:?}");
        assert_eq!((batches[0].len(), &*batches[0][1], &*batches[0][2]), (4, "one", "two"));
        let lines = account(&pipeline, "sink", "lines").await;
        assert_eq!(lines, json!({"received": 4, "delivered": 4}));
        assert_eq!(account(&pipeline, "posts", "posts").await, json!(null), "nothing was dropped");
    }
}

#[tokio::test(start_paused = true)]
async fn lines_that_come_with_a_later_runtime_done_are_in_the_flush_that_waits_for_it() {
    let Rig { mut extension, mut flushing, sent } = Rig::start(false);
    let posts = extension.posts.clone();
    extension.invocations.ended("a", EndEvidence::LastSpan);
    let platform = async {
        sleep(DONE_WAIT / 2).await;
        post(&posts, &[("function", json!("late")), ("platform.runtimeDone", about("a"))]).await;
    };

    let invoke = invoke("a", Duration::from_secs(60));
    tokio::join!(extension.handle_invoke(&invoke, &mut flushing), platform);

    assert_eq!(sent.lock().unwrap()[0][0], "late");
}

#[tokio::test(start_paused = true)]
async fn many_waiting_bytes_become_lines_during_the_invocation() {
    let Rig { extension, .. } = Rig::start(false);

    for (posted, received) in [(1, json!(null)), (2, json!(null)), (3, json!(3))] {
        post(&extension.posts, &[("function", json!("x".repeat(1_000_000)))]).await;
        let lines = account(&extension.pipeline, "sink", "lines").await;
        assert_eq!(lines["received"], received, "{posted} lines");
    }
}

#[tokio::test(start_paused = true)]
async fn shutdown_reads_the_posts_before_it_makes_the_last_lines() {
    let Rig { mut extension, mut flushing, sent } = Rig::start(false);
    let posts = extension.posts.clone();
    let start = [("platform.start", about("a"))];
    let started = post(&posts, &start);
    extension.invocations.ended("a", EndEvidence::LastSpan);
    let invoke = invoke("a", Duration::from_secs(60));
    tokio::join!(extension.handle_invoke(&invoke, &mut flushing), started);
    post(&posts, &[("platform.runtimeDone", about("a")), ("platform.report", about("a"))]).await;
    let shutdown = serde_json::from_str(SHUTDOWN).unwrap();

    extension.collect_final_events(&shutdown).await;
    let (config, _) = Config::from_vars(|_| None);
    extension.shut_down(&config, Instant::now() + DRAIN_BUDGET).await;

    let last = sent.lock().unwrap().last().unwrap().join("\n");
    assert!(
        last.contains("Report: success") && !last.contains("before the invocation's report"),
        "{last}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_event_that_cannot_be_read_is_in_the_account_of_the_posts() {
    let Rig { extension, .. } = Rig::start(true);
    let readable = r#"{"type":"function","record":"x"}"#;
    let twice = r#"{"type":"function","type":"function","record":"x"}"#;

    extension.posts.receive(&[readable.into(), twice.into()], SystemTime::now()).await;

    let posts = account(&extension.pipeline, "posts", "posts").await;
    assert_eq!(posts, json!({"received": 2, "delivered": 1, "dropped": {"rejected": 1}}));
    assert_eq!(account(&extension.pipeline, "sink", "lines").await["received"], 1);
}
