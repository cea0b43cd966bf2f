//! A second OTLP backend beside Honeycomb.

use std::collections::BTreeSet;
use std::time::Duration;

use cruddur_tests::otlp::Span;
use cruddur_tests::{Answer, Builder, Burst, Cli, Honeycomb, Load, Recorded, Sandbox, moto};
use serde_json::{Value, json};

const HEADERS: &str = "authorization=Basic%20hidden,x-scope=a";

fn sandbox(load: &Load, honeycomb: &Honeycomb) -> Builder {
    Sandbox::builder("load")
        .function(load.function())
        .honeycomb(honeycomb)
        .env("CRUDDUR_LOG", "info")
        .env("CRUDDUR_MAX_HOLD_MS", "400")
}

async fn invoke(sandbox: &Sandbox, count: usize) {
    for _ in 0..count {
        let reply = sandbox.invoke(Burst::SMALL.event()).await;
        sandbox.ended(&reply.request_id).await;
    }
}

/// The ids of the function's spans that arrived.
fn ids(load: &Load, backend: &Honeycomb) -> Vec<String> {
    let sent = load.sent();
    let ids = backend.spans().into_iter().map(|span| span.span_id);
    ids.filter(|id| sent.contains(id)).collect()
}

fn assert_has_everything_once(load: &Load, backend: &Honeycomb, story: &str) {
    let found = ids(load, backend);
    let distinct: BTreeSet<_> = found.iter().collect();
    assert_eq!((found.len(), distinct.len()), (load.sent().len(), load.sent().len()), "{story}");
}

/// The extension's last summary of a destination.
fn summary(sandbox: &Sandbox, destination: &str) -> Value {
    let lines = sandbox.extension_log_lines();
    let summary = lines.iter().rev().find_map(|line| line.split_once("ummary: "));
    let (_, json) = summary.unwrap_or_else(|| panic!("no summary\n{}", sandbox.story()));
    let summary: Value = serde_json::from_str(json).expect("JSON");
    summary["destinations"][destination].clone()
}

fn encodings(requests: &[Recorded]) -> BTreeSet<&str> {
    requests.iter().map(|request| request.header("content-encoding").unwrap_or("none")).collect()
}

#[tokio::test]
async fn both_get_everything_once_each_with_its_headers_and_its_compression() {
    let (load, honeycomb) = (Load::default(), Honeycomb::start().await);
    let backend = Honeycomb::without_key().await;
    backend.next_answer(Answer::status(415));
    let sandbox = sandbox(&load, &honeycomb)
        .env("CRUDDUR_OTLP_ENDPOINT", &backend.url())
        .env("CRUDDUR_OTLP_HEADERS", HEADERS)
        .start()
        .await;

    invoke(&sandbox, 3).await;
    sandbox.shutdown().await;

    let story = sandbox.story();
    assert_has_everything_once(&load, &honeycomb, &story);
    assert_has_everything_once(&load, &backend, &story);
    let (refused, taken) = backend
        .requests()
        .split_first()
        .map(|(first, rest)| (first.clone(), rest.to_vec()))
        .expect("requests");
    assert_eq!((refused.status, refused.header("content-encoding")), (Some(415), Some("zstd")));
    assert_eq!(encodings(&taken), ["gzip"].into());
    assert_eq!(encodings(&honeycomb.requests()), ["zstd"].into());
    assert!(taken.iter().all(|it| it.header("authorization") == Some("Basic hidden")));
    assert!(taken.iter().all(|it| it.header("x-honeycomb-team").is_none()));
    assert!(honeycomb.requests().iter().all(|it| it.header("authorization").is_none()));
    assert!(!story.contains("hidden"), "{story}");
}

#[tokio::test]
async fn headers_that_aws_keeps_are_fetched_and_fetched_again_when_they_are_refused() {
    let (load, honeycomb) = (Load::default(), Honeycomb::start().await);
    let backend = Honeycomb::start().await; // it takes its own key alone
    let list = |key: &str| json!({ "SecretString": format!("x-scope=a,x-honeycomb-team={key}") });
    let arn = moto::secret(&moto::unique("otlp"), list("old")).await;
    let sandbox = sandbox(&load, &honeycomb)
        .env("CRUDDUR_OTLP_ENDPOINT", &backend.url())
        .env("CRUDDUR_OTLP_HEADERS_SECRET", &arn)
        .env("AWS_ENDPOINT_URL", moto::url())
        .start()
        .await;
    invoke(&sandbox, 1).await;
    backend.requests_reach(1).await;
    moto::change_secret(&arn, &format!("x-honeycomb-team={}", backend.key())).await;

    invoke(&sandbox, 1).await;
    sandbox.shutdown().await;

    assert_has_everything_once(&load, &backend, &sandbox.story());
    assert_eq!(backend.requests()[0].header("x-honeycomb-team"), Some("old"));
    assert!(!sandbox.story().contains(backend.key()));
}

#[tokio::test]
async fn the_variables_of_the_specification_name_it_where_the_function_does_not_need_them() {
    let (load, honeycomb) = (Load::default(), Honeycomb::start().await);
    let backend = Honeycomb::without_key().await;
    let traces = format!("{}/v1/traces", backend.url());
    let sandbox = sandbox(&load, &honeycomb)
        .env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &traces)
        .env("OTEL_EXPORTER_OTLP_TRACES_HEADERS", HEADERS)
        .env("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "none")
        .start()
        .await;

    invoke(&sandbox, 1).await;
    sandbox.shutdown().await;

    assert_has_everything_once(&load, &honeycomb, &sandbox.story());
    assert_has_everything_once(&load, &backend, &sandbox.story());
    assert_eq!(encodings(&backend.requests()), ["none"].into());
    assert_eq!(encodings(&honeycomb.requests()), ["zstd"].into());
}

#[tokio::test]
async fn the_extensions_own_address_is_no_backend_and_no_line() {
    let (load, honeycomb) = (Load::default(), Honeycomb::start().await);
    let sandbox = sandbox(&load, &honeycomb)
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        .env("CRUDDUR_LOG", "warn")
        .start()
        .await;

    invoke(&sandbox, 1).await;
    sandbox.shutdown().await;

    assert_has_everything_once(&load, &honeycomb, &sandbox.story());
    assert_eq!(sandbox.extension_log_lines(), [""; 0]);
}

#[tokio::test]
async fn endpoints_that_contradict_each_other_are_one_line_and_honeycomb_goes_on() {
    let (load, honeycomb) = (Load::default(), Honeycomb::start().await);
    let builder = sandbox(&load, &honeycomb).env("CRUDDUR_LOG", "warn");
    let own = format!("http://{}", builder.otlp_address());
    let sandbox = builder.env("CRUDDUR_OTLP_ENDPOINT", &own).start().await;

    invoke(&sandbox, 1).await;
    sandbox.shutdown().await;

    assert_has_everything_once(&load, &honeycomb, &sandbox.story());
    let lines = sandbox.extension_log_lines();
    let [line] = &lines[..] else { panic!("not one line: {lines:#?}") };
    assert!(line.contains("CRUDDUR_OTLP_ENDPOINT is the extension's own address"), "{line}");
}

#[tokio::test]
async fn honeycombs_sampling_rate_does_not_apply_to_it() {
    let (load, honeycomb) = (Load::default(), Honeycomb::start().await);
    let backend = Honeycomb::without_key().await;
    let sandbox = sandbox(&load, &honeycomb)
        .env("CRUDDUR_OTLP_ENDPOINT", &backend.url())
        .env("CRUDDUR_HONEYCOMB_SAMPLE_RATE", "1000000")
        .start()
        .await;

    invoke(&sandbox, 3).await;
    sandbox.shutdown().await;

    assert_has_everything_once(&load, &backend, &sandbox.story());
    assert!(ids(&load, &honeycomb).len() < load.sent().len(), "{}", sandbox.story());
}

#[tokio::test]
async fn doctor_asks_it_with_the_encoding_of_batches_and_shows_no_secret() {
    let backend = Honeycomb::without_key().await;
    let endpoint = format!("{}/v1/logs", backend.url());

    let printed = Cli::new(&["doctor"])
        .env("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", &endpoint)
        .env("OTEL_EXPORTER_OTLP_LOGS_HEADERS", HEADERS)
        .run()
        .await;

    assert_eq!(printed.code, 0, "{printed:?}");
    assert!(printed.out.contains("accepts OTLP with zstd"), "{printed:?}");
    assert!(!printed.out.contains("hidden"), "{printed:?}");
    assert_eq!(backend.requests()[0].path, "/v1/logs");
    assert_eq!(backend.requests()[0].header("authorization"), Some("Basic hidden"));
}

#[tokio::test]
async fn the_summary_has_the_requests_and_bytes_of_each_destination() {
    let (load, honeycomb) = (Load::default(), Honeycomb::start().await);
    let backend = Honeycomb::without_key().await;
    let sandbox = sandbox(&load, &honeycomb)
        .env("CRUDDUR_OTLP_ENDPOINT", &backend.url())
        .env("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        .start()
        .await;

    invoke(&sandbox, 3).await;
    let with_bytes = |span: &Span| {
        let of = |name: &str| span.attribute(&format!("cruddur.{name}.bytes")).as_u64() > Some(0);
        span.name == "platform.report" && of("honeycomb") && of("otlp")
    };
    honeycomb.span_where("a report with the bytes of both", with_bytes).await;
    sandbox.shutdown().await;

    for (name, destination) in [("honeycomb", &honeycomb), ("otlp", &backend)] {
        let summary = summary(&sandbox, name);
        let requests = destination.requests();
        let bytes: usize = requests.iter().map(|request| request.body.len()).sum();
        assert_eq!(summary["requests"], requests.len(), "{name}\n{}", sandbox.story());
        assert_eq!(summary["sent_bytes"], bytes, "{name}\n{}", sandbox.story());
    }
}

#[tokio::test]
async fn a_backend_that_is_slow_or_dead_delays_nothing_for_honeycomb() {
    for answer in [Answer::late(Duration::from_secs(10)), Answer::Hang, Answer::status(503)] {
        let (load, honeycomb) = (Load::default(), Honeycomb::start().await);
        let backend = Honeycomb::without_key().await;
        backend.always(answer.clone());
        let builder = sandbox(&load, &honeycomb).env("CRUDDUR_OTLP_ENDPOINT", &backend.url());
        let sandbox = builder.start().await;

        invoke(&sandbox, 3).await;
        backend.requests_reach(1).await;
        let before_shutdown = ids(&load, &honeycomb).len();
        sandbox.shutdown().await;

        assert_has_everything_once(&load, &honeycomb, &sandbox.story());
        let sent = load.sent().len();
        assert!(3 * before_shutdown >= 2 * sent, "{before_shutdown} of {sent}: {answer:?}");
        let (there, here) = (summary(&sandbox, "otlp"), summary(&sandbox, "honeycomb"));
        assert!(there["traces"]["spooled"].as_u64() >= Some(1), "{there}");
        assert_eq!(here["traces"]["delivered"], here["traces"]["received"], "{here}");
    }
}
