//! What a function writes, in its log group: every line once, in its order, with its request.

use std::time::Duration;

use bytes::Bytes;
use cruddur_tests::log_group::LogGroup;
use cruddur_tests::{
    Answer, Builder, Exit, Honeycomb, PATIENCE, Sandbox, event, eventually, proxy,
};
use serde_json::{Value, json};

use crate::puppet::{Script, script};

fn sandbox(function: &str, group: &LogGroup) -> Builder {
    Sandbox::builder(function)
        .env("CRUDDUR_LOG_GROUP", &group.name)
        .env("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", &group.proxy.url())
}

/// Those of the function: all others have a type.
fn written(lines: &[Value]) -> Vec<&Value> {
    lines.iter().filter(|line| line["type"].is_null()).collect()
}

fn of_type<'a>(lines: &'a [Value], wanted: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["type"] == wanted).collect()
}

fn assert_is_emf(line: &Value) {
    let schema: Value =
        serde_json::from_str(include_str!("../schemas/emf.json")).expect("a schema");
    jsonschema::validate(&schema, line).unwrap_or_else(|error| panic!("{error}: {line}"));
}

#[tokio::test]
async fn a_requests_lines_are_in_the_group_with_its_ids_and_its_metrics() {
    let (group, honeycomb) = (LogGroup::new().await, Honeycomb::start().await);
    let builder = sandbox("home-activities", &group).honeycomb(&honeycomb).demo_store();
    let sandbox = builder.env("CRUDDUR_FLUSH", "end").start().await;

    let reply = sandbox.invoke(event("home-activities")).await;
    sandbox.ended(&reply.request_id).await;
    let before_next = group.lines().await;
    sandbox.shutdown().await;
    let lines = group.lines().await;

    // Next waited for them.
    let mine = written(&before_next);
    assert!(!mine.is_empty(), "{}", sandbox.story());
    let server = honeycomb.server_span(&reply.request_id).await;
    for line in mine {
        assert_eq!(line["requestId"], reply.request_id.as_str(), "{line}");
        assert_eq!(line["trace_id"], server.trace_id.as_str(), "{line}");
        let xray = line["xray_trace_id"].as_str().expect("X-Ray's id");
        assert_eq!(xray.replace('-', "")[1..], reply.root_trace_id().expect("a root"));
        assert_eq!(line["lambda"]["function"], "home-activities");
        assert_eq!(line["lambda"]["coldStart"], true);
        assert_eq!(line["lambda"]["initializationType"], "on-demand");
    }
    let [report] = of_type(&lines, "platform.report")[..] else { panic!("{lines:#?}") };
    assert_is_emf(report);
    assert_eq!((&report["Invocations"], &report["Errors"]), (&json!(1), &json!(0)));
    assert_eq!(report["requestId"], reply.request_id.as_str());
    let accounts = of_type(&lines, "extension.account");
    accounts.iter().for_each(|line| assert_is_emf(line));
    assert!(accounts.iter().any(|line| line["Destination"] == "honeycomb"), "{lines:#?}");
    assert_eq!(group.retention().await, Some(30));
    let streams = group.streams().await;
    assert!(streams.len() == 1 && streams[0].starts_with("home-activities/"), "{streams:?}");
    group.assert_all_requests_are_within_limits();
}

/// The number of each access line, in the order of the group.
fn numbers(lines: &[Value]) -> Vec<usize> {
    let number = |line: &&Value| {
        let path = line["path"].as_str()?;
        path.rsplit_once("limit=")?.1.parse().ok()
    };
    written(lines).iter().filter_map(number).collect()
}

#[tokio::test]
async fn every_line_of_a_thousand_invocations_is_there_once_and_in_order_whatever_fails() {
    let group = LogGroup::new().await;
    let sandbox = sandbox("health-check", &group)
        .env("CRUDDUR_FLUSH", "end") // each fault needs a request before the drain
        .freezing(false)
        .start()
        .await;

    let mut faults = vec![
        (900, Answer::Reset),
        (700, proxy::error(503, "ServiceUnavailableException")),
        (500, Answer::Reset),
        (300, Answer::status(500)),
        (100, proxy::error(400, "ThrottlingException")),
    ];
    for number in 0..1_000 {
        if let Some((_, fault)) = faults.pop_if(|(at, _)| *at == number) {
            // The one before is over: the exporter rests after each, longer after several in a row.
            let last = || async { group.proxy.requests().last().map(|last| last.answer.clone()) };
            eventually(last, |answer| *answer == Some(Answer::Proper)).await;
            group.proxy.next_answer("PutLogEvents", fault);
        }
        sandbox.invoke(event("health-check").query("limit", &number.to_string())).await;
    }
    let ended = sandbox.shutdown().await;

    assert_eq!(ended.extension, Some(Exit::Code(0)));
    let lines = group.lines().await;
    let log = sandbox.extension_log_lines();
    assert_eq!(numbers(&lines), (0..1_000).collect::<Vec<_>>(), "{log:#?}");
    let invocations: u64 = lines.iter().filter_map(|line| line["Invocations"].as_u64()).sum();
    assert_eq!(invocations, 1_000);
    let failed = group.proxy.requests().into_iter().filter(|it| it.answer != Answer::Proper);
    assert_eq!(failed.count(), 5, "not every fault happened");
    group.assert_all_requests_are_within_limits();
}

#[tokio::test]
async fn a_group_that_is_deleted_is_made_again() {
    let group = LogGroup::new().await;
    let sandbox = sandbox("health-check", &group)
        .env("CRUDDUR_MAX_HOLD_MS", "30000") // a debug build on a busy machine
        .env("CRUDDUR_FLUSH", "end")
        .start()
        .await;
    let first = sandbox.invoke(event("health-check").query("limit", "1")).await;
    sandbox.ended(&first.request_id).await;
    assert_eq!(numbers(&group.lines().await), [1]);

    group.delete().await;
    sandbox.invoke(event("health-check").query("limit", "2")).await;
    sandbox.shutdown().await;

    assert_eq!(numbers(&group.lines().await), [2], "{}", sandbox.story());
}

#[tokio::test]
async fn a_denied_access_is_one_line_and_holds_nobody() {
    let group = LogGroup::new().await;
    group.proxy.always(proxy::error(400, "AccessDeniedException"));
    let sandbox = sandbox("health-check", &group).start().await;

    for _ in 0..3 {
        let reply = sandbox.invoke(event("health-check")).await;
        sandbox.ended(&reply.request_id).await;
        assert_eq!(reply.status, 200);
    }

    let log = sandbox.extension_log_lines();
    assert_eq!(log.len(), 1, "{log:#?}");
    assert!(log[0].contains("cloudwatch") && log[0].contains("AccessDenied"), "{log:#?}");
    assert_eq!(group.proxy.requests().len(), 1, "the exporter rests");
}

#[tokio::test]
async fn a_dead_log_group_costs_the_spans_nothing() {
    let (group, honeycomb) = (LogGroup::new().await, Honeycomb::start().await);
    group.proxy.always(Answer::Hang);
    let sandbox = sandbox("home-activities", &group)
        .honeycomb(&honeycomb)
        .env("CRUDDUR_MAX_HOLD_MS", "300")
        .demo_store()
        .start()
        .await;

    let reply = sandbox.invoke(event("home-activities")).await;
    honeycomb.server_span(&reply.request_id).await;
    sandbox.ended(&reply.request_id).await;
    let hold = sandbox.journal().hold_of_next(&reply.request_id).expect("a Next");

    assert!(hold < PATIENCE / 8, "{hold:?}");
    assert!(sandbox.extension_is_alive().await);
}

#[tokio::test]
async fn events_that_are_refused_for_their_age_are_counted_and_one_that_is_invalid_alone_is_lost() {
    let group = LogGroup::new().await;
    let invalid = proxy::error(400, "InvalidParameterException");
    group.proxy.next_answer("PutLogEvents", invalid);
    let body = Bytes::from_static(br#"{"rejectedLogEventsInfo":{"tooOldLogEventEndIndex":1}}"#);
    let answer = Answer::Canned { status: 200, headers: Vec::new(), body };
    group.proxy.next_answer("PutLogEvents", answer);
    let builder = sandbox("health-check", &group).env("CRUDDUR_LOG", "info");
    let sandbox = builder.start().await;

    let reply = sandbox.invoke(event("health-check")).await;
    sandbox.ended(&reply.request_id).await;
    sandbox.shutdown().await;

    let requests = group.proxy.bodies("PutLogEvents");
    let count = |request: &Value| request["logEvents"].as_array().map_or(0, Vec::len);
    assert_eq!(count(&requests[0]), count(&requests[1]) + count(&requests[2]), "in halves");
    let log = sandbox.extension_log_lines().concat();
    assert!(log.contains(r#""rejected":1"#), "{log}");
}

/// A function in shell: does this in each invocation, and replies.
fn function(in_invocation: &str) -> Script {
    script(&format!(
        r#"base="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while headers=$(curl -s -D - -o /dev/null "$base/next"); do
  id=$(echo "$headers" | tr -d '\r' | sed -n 's/^lambda-runtime-aws-request-id: //Ip')
  {in_invocation}
  curl -s -d '{{}}' "$base/$id/response" >/dev/null
done"#
    ))
}

/// The function's lines of one invocation that writes so many, and its id.
async fn lines_of(in_invocation: &str, expected: usize) -> (Vec<Value>, String) {
    let group = LogGroup::new().await;
    let function = function(in_invocation);
    let sandbox = sandbox("script", &group)
        .function(function.program.clone())
        .function_timeout(Duration::from_secs(200))
        .env("CRUDDUR_MAX_HOLD_MS", "190000") // a debug build on a busy machine
        .start()
        .await;

    let reply = sandbox.invoke(event("health-check")).await;
    let sent = || async {
        let requests = group.proxy.bodies("PutLogEvents");
        requests.iter().filter_map(|request| Some(request["logEvents"].as_array()?.len())).sum()
    };
    for _ in 0..18 {
        // As patient as it takes: the last of them come before the end of the invocation.
        if eventually(sent, |sent: &usize| *sent >= expected).await >= expected {
            break;
        }
    }
    let ended = sandbox.shutdown().await;

    assert_eq!(ended.extension, Some(Exit::Code(0)));
    group.assert_all_requests_are_within_limits();
    let lines = group.lines().await;
    let lines: Vec<Value> = written(&lines).into_iter().cloned().collect();
    assert_eq!(lines.len(), expected, "{:#?}", sandbox.extension_log_lines());
    (lines, reply.request_id)
}

#[tokio::test]
async fn a_line_of_five_megabytes_is_cut_and_odd_ones_are_kept() {
    let odd = r#"
  head -c 5000000 /dev/zero | tr '\0' x; echo
  printf '\033[31mred\033[0m\n'
  printf '\377\376\n'
  printf '\n'
  echo '{"requestId":"forged","password":"p4ss"}'
  echo 'GET /?token=s3cret'"#;

    let (lines, request_id) = lines_of(odd, 6).await;

    let [long, red, binary, empty, forged, query] = &lines[..] else { panic!() };
    assert_eq!(long["cut_from_bytes"], 5_000_000);
    assert_eq!(red["message"], "red");
    assert!(binary["message"].as_str().is_some_and(|text| text.contains('\u{fffd}')), "{binary}");
    assert_eq!(empty["message"], "");
    assert_eq!(forged["claimed"]["requestId"], "forged");
    assert_eq!(forged["password"], "***");
    assert_eq!(query["message"], "GET /?token=***");
    assert!(lines.iter().all(|line| line["requestId"] == request_id.as_str()), "{lines:#?}");
}

async fn assert_all_are_there(count: u32) {
    let (lines, _) = lines_of(&format!("seq 1 {count}"), count as usize).await;

    let numbers = lines.iter().filter_map(|line| line["message"].as_str()?.parse().ok());
    let mut numbers: Vec<u32> = numbers.collect();
    // Lines of one millisecond may change places where they went by way of the disk.
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(1..=count));
}

#[tokio::test]
async fn ten_thousand_lines_of_one_invocation_are_all_there() {
    assert_all_are_there(10_000).await;
}

#[tokio::test]
#[ignore = "a minute; see `make soak`"]
async fn a_hundred_thousand_lines_of_one_invocation_are_all_there() {
    assert_all_are_there(100_000).await;
}

#[tokio::test]
async fn an_invocation_that_times_out_is_told_with_its_metrics() {
    let group = LogGroup::new().await;
    let script = script(
        r#"url="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next"
curl -s "$url" >/dev/null; echo last words; sleep 60"#,
    );
    let sandbox = sandbox("script", &group)
        .function(script.program.clone())
        .function_timeout(Duration::from_secs(1))
        .start()
        .await;

    let failed = sandbox.try_invoke(event("health-check")).await;
    sandbox.shutdown().await;

    assert!(failed.is_err());
    let lines = eventually(|| group.lines(), |lines| !told_timeouts(lines).is_empty()).await;
    assert_eq!(told_timeouts(&lines), [1], "{}", sandbox.story());
    let last_words = written(&lines).into_iter().find(|line| line["message"] == "last words");
    assert!(last_words.is_some_and(|line| line["requestId"].is_string()), "{lines:#?}");
}

fn told_timeouts(lines: &[Value]) -> Vec<u64> {
    lines.iter().filter_map(|line| line["Timeouts"].as_u64()).collect()
}

#[tokio::test]
async fn log_records_over_otlp_are_lines_too() {
    let group = LogGroup::new().await;
    let sandbox = sandbox("health-check", &group).freezing(false).start().await;
    let record = json!({
        "timeUnixNano": "1", "severityNumber": 17, "body": { "stringValue": "over OTLP" },
        "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331",
        "attributes": [{ "key": "token", "value": { "stringValue": "s3cret" } }],
    });
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let mut record = record;
    record["timeUnixNano"] = json!(now.expect("a time").as_nanos().to_string());
    let request = json!({ "resourceLogs": [{
        "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": "mine" } }] },
        "scopeLogs": [{ "logRecords": [record] }],
    }] });
    let url = format!("{}/v1/logs", sandbox.otlp_url());
    let headers = [("content-type", "application/json")];

    let reply = cruddur_tests::http_client::post(&url, &headers, request.to_string()).await;
    assert_eq!(reply.expect("an answer").status, 200);
    sandbox.invoke(event("health-check")).await;
    sandbox.shutdown().await;

    let lines = group.lines().await;
    let line = lines.iter().find(|line| line["message"] == "over OTLP").expect("the record");
    assert_eq!((&line["level"], &line["service"]), (&json!("ERROR"), &json!("mine")));
    assert_eq!((&line["token"], &line["span_id"]), (&json!("***"), &json!("b7ad6b7169203331")));
}
