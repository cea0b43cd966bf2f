//! Filters and saved queries read fields that functions, extension and gateway really write. The
//! lines are those of real programs in a log group of moto; the filters run by our model.

use std::collections::BTreeSet;
use std::time::Duration;

use cruddur_tests::log_group::LogGroup;
use cruddur_tests::{Builder, Honeycomb, Sandbox, Store, event, eventually, filter_pattern, proxy};
use serde_json::{Value, json};

use super::alarms::SENT_BY_THE_EXTENSION;
use super::gateway_log::{fields, gateway_line};
use super::{deployed, properties};

/// The namespace of a stack called `a-stack`.
const NAMESPACE: &str = "Cruddur/a-stack";

fn sandbox(function: &str, group: &LogGroup) -> Builder {
    Sandbox::builder(function)
        .env("CRUDDUR_LOG_GROUP", &group.name)
        .env("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", &group.proxy.url())
        .env("CRUDDUR_METRICS", "totals")
        .env("CRUDDUR_METRICS_NAMESPACE", NAMESPACE)
        .freezing(false)
}

fn pattern(filter: &str) -> &'static str {
    let filter = properties(filter, "AWS::Logs::MetricFilter");
    filter["FilterPattern"].as_str().expect("a pattern")
}

/// Whether a filter counts a line, by our model of CloudWatch.
fn counts(pattern: &str, line: &Value) -> bool {
    filter_pattern::matches(pattern, &line.to_string())
}

/// The fields that a saved query reads: its words, without those of the language and those that it
/// makes itself.
fn fields_of(query: &str) -> BTreeSet<String> {
    const LANGUAGE: [&str; 17] = [
        "filter",
        "fields",
        "stats",
        "sort",
        "limit",
        "by",
        "as",
        "and",
        "or",
        "asc",
        "desc",
        "pct",
        "count",
        "count_distinct",
        "ispresent",
        "p50",
        "bin",
    ];
    let query = &properties(query, "AWS::Logs::QueryDefinition")["QueryString"];
    let query = query.as_str().expect("a query");
    // Every other part is between quotes.
    let unquoted = query.split('"').step_by(2).collect::<Vec<_>>().join(" ");
    let words: Vec<&str> =
        unquoted.split(|c: char| !(c.is_alphanumeric() || "_@.".contains(c))).collect();
    let made: BTreeSet<&str> =
        words.windows(2).filter(|pair| pair[0] == "as").map(|pair| pair[1]).collect();
    let is_field = |word: &&&str| {
        word.starts_with(|c: char| c.is_alphabetic())
            && !LANGUAGE.contains(*word)
            && !made.contains(**word)
    };
    words.iter().filter(is_field).map(|word| (*word).to_owned()).collect()
}

/// Panics unless a line has all fields that the query reads.
fn assert_answers(query: &str, lines: &[Value]) {
    let fields = fields_of(query);
    assert!(!fields.is_empty(), "{query}");
    let has_all = |line: &&Value| fields.iter().all(|field| !line[field.as_str()].is_null());
    assert!(lines.iter().any(|line| has_all(&line)), "{query}: {fields:?} in none of {lines:#?}");
}

/// The values of a metric that the lines declare over all, as the alarms and the dashboard read it.
fn values_of(metric: &str, lines: &[Value]) -> Vec<f64> {
    let declares = |line: &&Value| {
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        let metrics = directive["Metrics"].as_array().into_iter().flatten();
        directive["Namespace"] == NAMESPACE
            && directive["Dimensions"] == json!([[]])
            && metrics.into_iter().any(|it| it["Name"] == metric)
    };
    lines.iter().filter(declares).filter_map(|line| line[metric].as_f64()).collect()
}

#[tokio::test]
async fn errors_are_counted_and_found_by_code_user_and_trace_and_successes_are_not_counted() {
    let group = LogGroup::new().await;
    let sandbox = sandbox("create-activity", &group).demo_store().start().await;

    let blank = json!({"message": "", "ttl": "1-day"});
    let refused = sandbox.invoke(event("create-activity").json(&blank)).await;
    let taken = sandbox.invoke(event("create-activity")).await;
    sandbox.shutdown().await;

    assert_eq!((refused.status, taken.status), (422, 200));
    let lines = group.lines().await;
    let counted: Vec<&Value> =
        lines.iter().filter(|line| counts(pattern("ErrorsByCode"), line)).collect();
    let [counted] = counted[..] else { panic!("{counted:#?} of {lines:#?}") };
    assert_eq!(counted["requestId"], refused.request_id.as_str());
    let filter = properties("ErrorsByCode", "AWS::Logs::MetricFilter");
    let dimension = &filter["MetricTransformations"][0]["Dimensions"][0]["Value"];
    let name = dimension.as_str().and_then(|it| it.strip_prefix("$.")).expect("a field");
    assert_eq!(counted[name], "message_blank");
    for query in ["CodesOfErrors", "LatencyByUser", "OneTrace"] {
        assert_answers(query, &lines);
    }
    assert!(!lines.iter().any(|line| counts(pattern("AccessDenied"), line)), "{lines:#?}");
}

#[tokio::test]
async fn metrics_of_alarms_and_dashboard_are_in_the_lines_and_only_over_all() {
    let (group, honeycomb) = (LogGroup::new().await, Honeycomb::start().await);
    let sandbox = sandbox("health-check", &group).honeycomb(&honeycomb).start().await;

    sandbox.invoke(event("health-check")).await;
    sandbox.shutdown().await;

    let lines = group.lines().await;
    for name in SENT_BY_THE_EXTENSION {
        assert!(!values_of(name, &lines).is_empty(), "{name}: {lines:#?}");
    }
    let mut metrics = BTreeSet::new();
    for directive in lines.iter().map(|line| &line["_aws"]["CloudWatchMetrics"][0]) {
        if !directive.is_null() {
            assert_eq!(directive["Dimensions"], json!([[]]));
            let names = directive["Metrics"].as_array().into_iter().flatten();
            metrics.extend(names.map(|it| it["Name"].to_string()));
        }
    }
    // Each is billed by the month; the filter AccessDenied adds one.
    assert!((10..25).contains(&metrics.len()), "{metrics:?}");
}

#[tokio::test]
async fn a_timeout_is_counted_once() {
    let group = LogGroup::new().await;
    let limit = Duration::from_secs(1);
    let sandbox = sandbox("health-check", &group).function_timeout(limit).start().await;

    sandbox.stall_function();
    let failed = sandbox.try_invoke(event("health-check")).await;
    sandbox.invoke(event("health-check")).await;
    sandbox.shutdown().await;

    assert!(failed.is_err());
    let timeouts = || async { values_of("Timeouts", &group.lines().await).iter().sum::<f64>() };
    assert_eq!(eventually(timeouts, |count| *count > 0.0).await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_that_aws_denies_is_counted() {
    let group = LogGroup::new().await;
    let (store, table) = Store::behind_proxy().await;
    table.always(proxy::error(400, "AccessDeniedException"));
    let sandbox = sandbox("home-activities", &group).store(&store).start().await;

    let reply = sandbox.invoke(event("home-activities")).await;
    sandbox.shutdown().await;

    assert_eq!(reply.status, 500);
    let lines = group.lines().await;
    let denied = lines.iter().filter(|line| counts(pattern("AccessDenied"), line));
    let denied: BTreeSet<_> = denied.map(|line| line["requestId"].as_str()).collect();
    assert_eq!(denied, BTreeSet::from([Some(reply.request_id.as_str())]), "{lines:#?}");
}

#[tokio::test]
async fn no_request_that_only_names_the_words_of_the_filters_is_counted() {
    let group = LogGroup::new().await;
    let sandbox = sandbox("search-activities", &group).demo_store().start().await;
    let words = "AccessDenied AccessDeniedException timeout platform.runtimeDone code";
    let request = event("search-activities")
        .query("term", "AccessDenied AccessDeniedException")
        .query("AccessDenied", "x")
        .header("user-agent", words);

    let reply = sandbox.invoke(request).await;
    sandbox.shutdown().await;

    assert_eq!(reply.status, 200);
    let lines = group.lines().await;
    assert!(lines.iter().any(|line| line["type"] == "extension.account"), "{lines:#?}");
    assert!(lines.iter().any(|line| line.to_string().contains("AccessDenied")), "{lines:#?}");
    let mut lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    // A gateway that does not escape quotes.
    let forged =
        r#"x","level":"ERROR","code":"forged","store_error_code":"AccessDeniedException","y":"z"#;
    for text in [words, forged, "GET /api/activities/AccessDenied"] {
        let values = ["identity.userAgent", "path", "requestId", "error.message", "routeKey"];
        lines.push(gateway_line(&values.map(|variable| (variable, text))));
    }
    for filter in ["ErrorsByCode", "AccessDenied"] {
        let is_counted = |line: &&String| filter_pattern::matches(pattern(filter), line);
        let counted: Vec<_> = lines.iter().filter(is_counted).collect();
        assert!(counted.is_empty(), "{filter}: {counted:#?}");
    }
    // The filters do see fields of that name in lines of functions.
    let own = r#"{"code":"forged","store_error_code":"AccessDeniedException"}"#;
    for filter in ["ErrorsByCode", "AccessDenied"] {
        assert!(filter_pattern::matches(pattern(filter), own), "{filter}");
    }
}

#[test]
fn refused_calls_of_programs_are_counted_and_those_of_the_console_and_of_lambda_are_not() {
    let stack = &deployed(&[("a-stack", &[("AuditTrail", "on")])])[0];
    let filter = &stack["resources"]["RefusedCalls"]["Properties"];
    let pattern = filter["FilterPattern"].as_str().expect("a pattern");
    // Shortened records of CloudTrail; eventSource is in all of them.
    const DYNAMODB: &str = "dynamodb.amazonaws.com";
    const EC2: &str = "ec2.amazonaws.com";
    // With PlatformLogs=deny, each new sandbox.
    let lambdas_own = |source: &str, agent: &str| {
        json!({
            "eventSource": source, "eventName": "CreateLogStream", "errorCode": "AccessDenied",
            "userAgent": agent,
        })
    };
    let rows = [
        (json!({"eventSource": DYNAMODB, "errorCode": "AccessDenied"}), true),
        (json!({"eventSource": DYNAMODB, "errorCode": "AccessDeniedException"}), true),
        (json!({"eventSource": EC2, "errorCode": "Client.UnauthorizedOperation"}), true),
        (json!({"eventSource": DYNAMODB, "errorCode": "ThrottlingException"}), false),
        (json!({"eventSource": EC2, "userAgent": "AccessDenied"}), false),
        (
            json!({"eventSource": EC2, "errorCode": "AccessDenied", "sessionCredentialFromConsole": "true"}),
            false,
        ),
        (lambdas_own("logs.amazonaws.com", "awslambda-worker/1.0 rusoto/0.48.0 rust linux"), false),
        (lambdas_own("logs.amazonaws.com", "awslambda-worker"), false),
        // The caller chooses its user agent, so it counts for the log groups alone.
        (lambdas_own("dynamodb.amazonaws.com", "awslambda-worker/1.0"), true),
        (lambdas_own("logs.amazonaws.com", "aws-cli/2.31"), true),
    ];
    for (record, expected) in rows {
        assert_eq!(filter_pattern::matches(pattern, &record.to_string()), expected, "{record}");
    }
}

#[test]
fn the_slowest_routes_are_read_from_fields_of_the_gateways_line() {
    let (read, written) = (fields_of("SlowestRoutes"), fields());

    assert!(read.contains("latency_ms") && read.contains("lambda_status"), "{read:?}");
    for field in read {
        assert!(written.contains(&field), "{field}: {written:?}");
    }
}
