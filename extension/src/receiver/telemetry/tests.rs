//! POSTs over HTTP, as the Telemetry API sends them.

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};

use super::*;
use crate::config::Config;
use crate::invocation::end::EndEvidence;
use crate::invocation::registry::Registry;
use crate::pipeline::{Pipeline, Trigger};
use crate::processor::Processor;
use crate::processor::platform_spans::PlatformSpans;

struct Rig {
    address: std::net::SocketAddr,
    invocations: Processor,
    pipeline: PipelineHandle,
    stop: watch::Sender<bool>,
    serve: JoinHandle<()>,
}

impl Rig {
    async fn start() -> Self {
        let (config, _) = Config::from_vars(|_| None);
        let (task, pipeline) =
            Pipeline::new(Vec::new(), &config.pipeline_settings(), Trigger::Flush);
        tokio::spawn(task.run());
        let registry = Registry::default();
        let platform = PlatformSpans::new("function".to_owned(), Vec::new(), registry.clone());
        let invocations = Processor::new(registry, platform, None, None);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), watch::Sender::new(false));
        let posts = Posts::new(pipeline.clone(), invocations.clone(), false);
        let receiver = TelemetryReceiver::new(pipeline.clone(), posts, 1 << 20);
        let serve = tokio::spawn(receiver.serve(listener, stop.subscribe()));
        Self { address, invocations, pipeline, stop, serve }
    }

    /// The status of the answer.
    async fn post(&self, body: &str) -> u16 {
        let mut connection = TcpStream::connect(self.address).await.unwrap();
        let head = format!("content-length: {}\r\nconnection: close", body.len());
        let request = format!("POST / HTTP/1.1\r\nhost: x\r\n{head}\r\n\r\n{body}");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }

    async fn end_of(&self, request_id: &str) {
        let registry = self.invocations.registry();
        let attempt = registry.of_record(request_id).unwrap();
        registry.wait_for(attempt, EndEvidence::is_certain).await;
    }

    async fn refused(&self) -> Value {
        json!(self.pipeline.summary().await.unwrap().refused)
    }
}

fn done(request_id: &str) -> String {
    let record = json!({"requestId": request_id, "status": "success"});
    json!({"type": "platform.runtimeDone", "record": record}).to_string()
}

const ENVELOPE: &str = r#"{"time":"2026-01-01T00:00:00Z","type":"function","record":"#;

#[tokio::test]
async fn the_end_of_an_invocation_beside_a_cut_record_is_received() {
    let rig = Rig::start().await;

    let head = rig.post(&format!("[{},{ENVELOPE}\"a long", done("before"))).await;
    let tail = rig.post(&format!("[{ENVELOPE} line\"}},{}]", done("after"))).await;

    assert_eq!((head, tail), (200, 200));
    // Returns at once, or the test does not end.
    rig.end_of("before").await;
    rig.end_of("after").await;
    assert_eq!(rig.refused().await, json!({}));
}

#[tokio::test]
async fn an_event_whose_time_or_type_is_not_a_string_is_kept() {
    let rig = Rig::start().await;
    let record = json!({"requestId": "r", "status": "success"});
    let done =
        |time: Value| json!({"time": time, "type": "platform.runtimeDone", "record": record});

    for time in [json!(1_767_225_600_000_u64), json!(null), json!({}), json!(["x"]), json!(true)] {
        let posted = rig.post(&json!([done(time.clone())]).to_string()).await;
        assert_eq!(posted, 200, "{time}");
        rig.end_of("r").await;
    }
    for kind in [json!(7), json!(null), json!({}), json!([]), json!("")] {
        let odd = json!({"time": "2026-01-01T00:00:00Z", "type": kind, "record": "x"});
        assert_eq!(rig.post(&json!([odd, done(json!(""))]).to_string()).await, 200, "{kind}");
        assert_eq!(rig.post(&format!("[broken, {odd}]")).await, 200, "{kind}");
    }
    assert_eq!(rig.refused().await, json!({"telemetry": {"invalid": 5}}), "those of `broken`");
}

#[tokio::test]
async fn the_readable_events_of_a_broken_post_are_received_and_the_rest_is_counted() {
    let rig = Rig::start().await;

    let broken = rig.post(&format!("[{}, broken, {}]", done("one"), done("two"))).await;
    let garbage = rig.post("garbage").await;
    let too_long = rig.post(&"x".repeat((1 << 20) + 1)).await;

    assert_eq!((broken, garbage, too_long), (200, 400, 400));
    rig.end_of("one").await;
    rig.end_of("two").await;
    assert_eq!(rig.refused().await, json!({"telemetry": {"invalid": 2, "too_large": 1}}));
    rig.stop.send_replace(true);
    rig.serve.await.unwrap();
}
