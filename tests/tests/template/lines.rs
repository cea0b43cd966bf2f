//! What filters and saved queries look for is in the lines that functions and extension really
//! write: each is asked of a group that real programs have filled.

use std::collections::BTreeSet;
use std::time::Duration;

use cruddur_tests::log_group::LogGroup;
use cruddur_tests::{Builder, Honeycomb, Sandbox, Store, event, eventually, proxy};
use serde_json::{Value, json};

use super::properties;
use super::watching::SENT_BY_THE_EXTENSION;

fn sandbox(function: &str, group: &LogGroup) -> Builder {
    Sandbox::builder(function)
        .env("CRUDDUR_LOG_GROUP", &group.name)
        .env("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", &group.proxy.url())
        .freezing(false)
}

fn pattern(filter: &str) -> &'static str {
    let filter = properties(filter, "AWS::Logs::MetricFilter");
    filter["FilterPattern"].as_str().expect("a pattern")
}

/// Whether a filter counts a line: of the language, what the template uses.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html>
fn counts(pattern: &str, line: &Value) -> bool {
    let conditions = pattern.strip_prefix('{').and_then(|it| it.strip_suffix('}'));
    let conditions =
        conditions.expect("a pattern of fields: a bare word matches any text of a client");
    conditions.split("&&").all(|condition| {
        let (selector, wanted) = condition.trim().split_once(' ').expect("a condition");
        let pointer = selector.strip_prefix('$').expect("a selector").replace('.', "/");
        match (line.pointer(&pointer), wanted) {
            (found, "NOT EXISTS") => found.is_none(),
            (None, _) => false,
            (Some(_), "= *") => true,
            (Some(found), wanted) => {
                let quoted = wanted.strip_prefix("= ").expect("an equality");
                found.as_str() == quoted.strip_prefix('"').and_then(|it| it.strip_suffix('"'))
            }
        }
    })
}

/// The line that the gateway writes of a request.
fn gateway_line(values: &[(&str, &str)]) -> Value {
    let stage = properties("ApiApiGatewayDefaultStage", "AWS::ApiGatewayV2::Stage");
    let format = stage["AccessLogSettings"]["Format"].as_str().expect("a format");
    let filled = values.iter().fold(format.to_owned(), |line, (variable, value)| {
        assert!(line.contains(variable), "{variable} in {format}");
        line.replace(variable, value)
    });
    // Every other variable is a number or is written between quotes, where a number fits too.
    let parts = filled.split("$context.").enumerate().map(|(index, part)| match index {
        0 => part.to_owned(),
        _ => format!("1{}", part.trim_start_matches(|c: char| c.is_alphanumeric() || c == '.')),
    });
    let line: String = parts.collect();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
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
    for filter in ["Timeouts", "AccessDenied"] {
        assert!(!lines.iter().any(|line| counts(pattern(filter), line)), "{filter}: {lines:#?}");
    }
}

#[tokio::test]
async fn metrics_that_alarms_and_dashboard_take_from_the_extension_are_in_its_lines() {
    let (group, honeycomb) = (LogGroup::new().await, Honeycomb::start().await);
    let sandbox = sandbox("health-check", &group).honeycomb(&honeycomb).start().await;

    sandbox.invoke(event("health-check")).await;
    sandbox.shutdown().await;

    let lines = group.lines().await;
    let declared = |name: &str, dimensions: &Value| {
        lines.iter().any(|line| {
            let metrics = &line["_aws"]["CloudWatchMetrics"][0];
            let has = |list: &str, wanted: &dyn Fn(&Value) -> bool| {
                metrics[list].as_array().is_some_and(|all| all.iter().any(wanted))
            };
            metrics["Namespace"] == "Cruddur"
                && line[name].is_number()
                && has("Metrics", &|metric| metric["Name"] == name)
                && has("Dimensions", &|set| set == dimensions)
        })
    };
    for (name, dimension) in SENT_BY_THE_EXTENSION {
        assert!(declared(name, &json!([dimension])), "{name} by {dimension}: {lines:#?}");
        // As an alarm has it: over all.
        assert!(declared(name, &json!([])), "{name}: {lines:#?}");
    }
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
    let timeouts = || async {
        let lines = group.lines().await.into_iter();
        lines.filter(|line| counts(pattern("Timeouts"), line)).collect::<Vec<_>>()
    };
    let timeouts = eventually(timeouts, |lines| !lines.is_empty()).await;
    assert_eq!(timeouts.len(), 1, "{timeouts:#?}");
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
async fn no_filter_counts_a_request_that_only_names_what_the_filters_look_for() {
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
    let mut lines = group.lines().await;
    assert!(lines.iter().any(|line| line["type"] == "extension.account"), "{lines:#?}");
    assert!(lines.iter().any(|line| line.to_string().contains("AccessDenied")), "{lines:#?}");
    let path = "/api/activities/AccessDenied";
    // A gateway that does not escape quotes lets a user agent add fields.
    let fields = r#"x","level":"ERROR","error":"AccessDenied","code":"forged",
        "store_error_code":"AccessDeniedException",
        "type":"platform.runtimeDone","record":{"status":"timeout"},"y":"z"#;
    for user_agent in [words, fields] {
        let values = [("$context.identity.userAgent", user_agent), ("$context.path", path)];
        lines.push(gateway_line(&values));
    }
    for filter in ["ErrorsByCode", "Timeouts", "AccessDenied"] {
        let counted: Vec<_> = lines.iter().filter(|it| counts(pattern(filter), it)).collect();
        assert!(counted.is_empty(), "{filter}: {counted:#?}");
    }
}

#[test]
fn the_slowest_routes_are_read_from_what_the_gateway_writes() {
    let stage = properties("ApiApiGatewayDefaultStage", "AWS::ApiGatewayV2::Stage");
    let format = stage["AccessLogSettings"]["Format"].as_str().expect("a format");

    let fields = fields_of("SlowestRoutes");

    assert_eq!(fields, ["latency_ms", "route", "type"].map(str::to_owned).into());
    for field in fields {
        assert!(format.contains(&format!(r#""{field}":"#)), "{field}: {format}");
    }
}
