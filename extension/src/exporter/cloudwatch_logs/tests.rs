//! The exporter against a scripted service behind the AWS SDK.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_credential_types::Credentials;
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    orchestrator::{HttpRequest, HttpResponse},
};
use aws_smithy_types::body::SdkBody;
use serde_json::{Value, json};

use super::*;
use crate::otlp::line_codec::LinePayloads;

/// Status and body; `None` never answers.
type Answer = Option<(u16, Value)>;

#[derive(Clone)]
struct Service {
    calls: Arc<Mutex<Vec<(String, Value)>>>,
    answer: Arc<Mutex<Script>>,
}

/// Chooses the answer to an operation and its body.
type Script = Box<dyn FnMut(&str, &Value) -> Answer + Send>;

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Service")
    }
}

impl HttpConnector for Service {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap();
        let operation = target.rsplit('.').next().unwrap().to_owned();
        let body = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        let answer = (self.answer.lock().unwrap())(&operation, &body);
        self.calls.lock().unwrap().push((operation, body));
        HttpConnectorFuture::new(async move {
            let Some((status, json)) = answer else { return std::future::pending().await };
            let status = status.try_into().unwrap();
            Ok(HttpResponse::new(status, SdkBody::from(json.to_string())))
        })
    }
}

impl Service {
    fn count(&self, operation: &str) -> usize {
        self.calls.lock().unwrap().iter().filter(|(called, _)| called == operation).count()
    }

    fn last_sent(&self) -> Vec<String> {
        messages(&self.calls.lock().unwrap().last().unwrap().1)
    }
}

fn messages(body: &Value) -> Vec<String> {
    let events = body["logEvents"].as_array().unwrap();
    events.iter().map(|event| event["message"].as_str().unwrap().to_owned()).collect()
}

fn fine() -> Answer {
    Some((200, json!({})))
}

fn error(status: u16, code: &str) -> Answer {
    Some((status, json!({ "__type": code, "message": "m" })))
}

fn exporter(
    answer: impl FnMut(&str, &Value) -> Answer + Send + 'static,
) -> (CloudWatchLogs, Service) {
    let answer = Arc::new(Mutex::new(Box::new(answer) as Script));
    let service = Service { calls: Arc::default(), answer };
    let connector = SharedHttpConnector::new(service.clone());
    let config = aws_sdk_cloudwatchlogs::config::Builder::from(&aws::sdk_config())
        .http_client(http_client_fn(move |_, _| connector.clone()))
        .region(aws_sdk_cloudwatchlogs::config::Region::new("eu-central-1"))
        .credentials_provider(Credentials::new("id", "key", None, None, "test"))
        .build();
    let config_of_ours = CloudWatchLogsConfig {
        scrub: Vec::new(),
        group: "group".to_owned(),
        retention_days: 30,
        function: "home".to_owned(),
        version: "1".to_owned(),
    };
    let mut exporter = CloudWatchLogs::new(&config_of_ours);
    exporter.stream.client = Some(aws_sdk_cloudwatchlogs::Client::from_conf(config));
    (exporter, service)
}

const DAY: i64 = 24 * 60 * 60 * 1_000;

/// Lines of different days need separate requests.
fn batch(lines: &[(i64, &str)]) -> Batch {
    let mut signals = LinePayloads::default();
    for (day, json) in lines {
        signals.push(LogLine { time_ms: day * (DAY + 1), json }, false);
    }
    Batch::of(SignalKind::Lines, signals.finish().iter()).unwrap()
}

const DONE: ExportOutcome = ExportOutcome { rejected: 0, unsampled: 0 };

#[tokio::test]
async fn accepted_lines_of_a_failed_batch_are_not_sent_again_in_any_batch() {
    let (mut exporter, service) = exporter(|_, body| match body["logEvents"][0]["message"] {
        ref message if message == "later" => error(503, "ServiceUnavailableException"),
        _ => fine(),
    });
    exporter.export(&batch(&[(1, "a"), (1, "a"), (2, "later")])).await.unwrap_err();
    *service.answer.lock().unwrap() = Box::new(|_, _| fine());

    assert_eq!(exporter.export(&batch(&[(1, "b")])).await.unwrap(), DONE);
    assert_eq!(service.last_sent(), ["b"]);
    let again = batch(&[(1, "a"), (1, "c"), (1, "a"), (1, "a"), (1, "later")]);
    assert_eq!(exporter.export(&again).await.unwrap(), DONE);
    assert_eq!(service.last_sent(), ["c", "a", "later"], "two of the three were accepted");
    assert_eq!(exporter.export(&batch(&[(1, "a")])).await.unwrap(), DONE);
    assert_eq!(service.last_sent(), ["a"], "the set forgot them");
}

#[tokio::test(start_paused = true)]
async fn lines_accepted_before_a_freeze_are_not_sent_again() {
    let mut puts = 0;
    let (mut exporter, service) = exporter(move |operation, _| {
        puts += usize::from(operation == "PutLogEvents");
        if puts == 2 { None } else { fine() }
    });
    let both = batch(&[(1, "a"), (2, "b")]);

    let frozen = tokio::time::timeout(Duration::from_secs(1), exporter.export(&both)).await;
    assert!(frozen.is_err());
    assert_eq!(exporter.export(&both).await.unwrap(), DONE);

    assert_eq!(service.count("PutLogEvents"), 3);
    assert_eq!(service.last_sent(), ["b"]);
}

#[tokio::test]
async fn rejected_lines_of_a_failed_batch_stay_rejected() {
    let (mut exporter, service) = exporter(|_, body| match body["logEvents"][0]["message"] {
        ref message if message == "old" => {
            Some((200, json!({ "rejectedLogEventsInfo": { "tooOldLogEventEndIndex": 1 } })))
        }
        ref message if message == "later" => error(503, "ServiceUnavailableException"),
        _ => fine(),
    });
    let lines = batch(&[(1, "old"), (1, "fine"), (2, "later")]);
    exporter.export(&lines).await.unwrap_err();
    *service.answer.lock().unwrap() = Box::new(|_, _| fine());

    assert_eq!(exporter.export(&lines).await.unwrap().rejected, 1);
    assert_eq!(service.last_sent(), ["later"]);
}

#[tokio::test]
async fn only_the_ten_invalid_events_of_a_thousand_are_lost() {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let there = Arc::clone(&taken);
    let (mut exporter, _) = exporter(move |operation, body| {
        if operation != "PutLogEvents" {
            return fine();
        }
        let messages = messages(body);
        if messages.iter().any(|message| message.starts_with("bad")) {
            return error(400, "InvalidParameterException");
        }
        there.lock().unwrap().extend(messages);
        fine()
    });
    let lines: Vec<_> = (0..1_000)
        .map(|number| if number % 100 == 7 { format!("bad {number}") } else { number.to_string() })
        .collect();
    let lines: Vec<_> = lines.iter().map(|line| (1, line.as_str())).collect();

    let outcome = exporter.export(&batch(&lines)).await.unwrap();

    assert_eq!(outcome.rejected, 10);
    let good = lines.iter().map(|(_, line)| *line).filter(|line| !line.starts_with("bad"));
    assert!(taken.lock().unwrap().iter().map(String::as_str).eq(good));
}

/// A service without the group; `answers` are popped for calls of `operation`.
fn without_group(operation: &'static str, mut answers: Vec<Answer>) -> (CloudWatchLogs, Service) {
    let mut exists = false;
    exporter(move |called, _| {
        exists |= called == "CreateLogGroup";
        if called == operation
            && let Some(answer) = answers.pop()
        {
            return answer;
        }
        if called == "CreateLogStream" && !exists {
            return error(400, "ResourceNotFoundException");
        }
        fine()
    })
}

#[tokio::test]
async fn retention_is_requested_until_it_is_set_or_denied() {
    let throttled = || error(400, "ThrottlingException");
    for (answers, expected) in [
        (vec![], 1),
        (vec![throttled(), throttled()], 3),
        (vec![error(400, "AccessDeniedException"), throttled()], 2),
    ] {
        let (mut exporter, service) = without_group("PutRetentionPolicy", answers);

        for number in 0..5 {
            let line = number.to_string();
            assert_eq!(exporter.export(&batch(&[(1, &line)])).await.unwrap(), DONE);
        }

        assert_eq!(service.count("PutRetentionPolicy"), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn another_processes_group_keeps_its_retention_and_our_group_gets_one_even_without_an_answer()
{
    let exists = || error(400, "ResourceAlreadyExistsException");
    for (answer, expected) in [(exists(), 0), (None, 1)] {
        let (mut exporter, service) = without_group("CreateLogGroup", vec![answer]);
        let line = batch(&[(1, "a")]);

        for _ in 0..2 {
            let export = exporter.export(&line);
            let _ = tokio::time::timeout(Duration::from_secs(1), export).await;
        }

        assert_eq!(service.count("PutRetentionPolicy"), expected);
        assert_eq!(service.count("CreateLogGroup"), 1);
    }
}

#[tokio::test]
async fn a_group_that_another_process_is_creating_is_requested_again() {
    let aborted = || error(400, "OperationAbortedException");
    let (mut exporter, service) = without_group("CreateLogGroup", vec![aborted()]);
    assert_eq!(exporter.export(&batch(&[(1, "a")])).await.unwrap(), DONE);
    assert_eq!(service.count("CreateLogGroup"), 2);

    let (mut exporter, _) = without_group("CreateLogGroup", vec![aborted(), aborted()]);
    let failed = exporter.export(&batch(&[(1, "a")])).await.unwrap_err();
    assert!(!failed.is_final(), "the batch is kept");
    assert!(failed.to_string().contains("OperationAborted"), "{failed}");
    let (mut exporter, _) =
        without_group("CreateLogGroup", vec![error(400, "AccessDeniedException")]);
    let denied = exporter.export(&batch(&[(1, "a")])).await.unwrap_err();
    assert!(denied.is_denied() && !denied.is_same_kind(&failed), "{denied}");
}
