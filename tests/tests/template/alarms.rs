//! Alarms look at metrics that exist, and ring for an outage. Their arithmetic runs by our model.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{deployed, everything, python};

/// Metrics of the stack's namespace that the extension sends over all; `lines.rs` reads them from
/// real lines.
pub(super) const SENT_BY_THE_EXTENSION: [&str; 7] =
    ["ColdStarts", "Delivered", "Dropped", "Errors", "Invocations", "Spooled", "Timeouts"];

/// Metrics of AWS, by namespace, with the sets of dimensions that AWS has.
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-metrics.html>
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/metrics-dimensions.html>
const OF_AWS: [(&str, &str, &[&[&str]]); 6] = [
    ("AWS/ApiGateway", "Count", &[&["ApiId"]]),
    ("AWS/ApiGateway", "4xx", &[&["ApiId"]]),
    ("AWS/ApiGateway", "5xx", &[&["ApiId"]]),
    ("AWS/ApiGateway", "Latency", &[&["ApiId"]]),
    (
        "AWS/DynamoDB",
        "ReadThrottleEvents",
        &[&["TableName"], &["TableName", "GlobalSecondaryIndexName"]],
    ),
    (
        "AWS/DynamoDB",
        "WriteThrottleEvents",
        &[&["TableName"], &["TableName", "GlobalSecondaryIndexName"]],
    ),
];

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}"))
}

/// All alarms with their properties.
fn alarms() -> Vec<(&'static str, &'static Value)> {
    let all = everything().as_object().expect("resources").iter();
    let alarms = all.filter(|(_, it)| it["Type"] == "AWS::CloudWatch::Alarm");
    alarms.map(|(name, it)| (name.as_str(), &it["Properties"])).collect()
}

/// Metrics of the stack's namespace that exist.
pub(super) fn own_metrics() -> BTreeSet<&'static str> {
    let all = everything().as_object().expect("resources").values();
    let filters = all.filter(|it| it["Type"] == "AWS::Logs::MetricFilter");
    let counted =
        filters.map(|it| text(&it["Properties"]["MetricTransformations"][0]["MetricName"]));
    counted.chain(SENT_BY_THE_EXTENSION).collect()
}

/// The metrics of an alarm: its own, or those of its expression.
fn metrics_of(alarm: &Value) -> Vec<&Value> {
    match alarm.get("Metrics") {
        None => vec![alarm],
        Some(metrics) => {
            let metrics = metrics.as_array().expect("metrics").iter();
            metrics.filter_map(|it| it.get("MetricStat")).map(|it| &it["Metric"]).collect()
        }
    }
}

fn exists(metric: &Value) -> bool {
    let (namespace, name) = (text(&metric["Namespace"]), text(&metric["MetricName"]));
    let given = metric["Dimensions"].as_array().into_iter().flatten();
    let given: Vec<&str> = given.map(|it| text(&it["Name"])).collect();
    match namespace {
        "Cruddur/a-stack" => own_metrics().contains(name) && given.is_empty(),
        _ => OF_AWS.iter().any(|(of, known, sets)| {
            *of == namespace && *known == name && sets.contains(&given.as_slice())
        }),
    }
}

#[test]
fn every_alarm_has_existing_metrics_and_reports_its_beginning_its_end_and_a_remedy() {
    let topic = json!([everything()["SilenceAlarm"]["Properties"]["AlarmActions"][0]]);
    assert_eq!(topic, json!(["arn:aws:sns:eu-central-1:123456789012:alarms"]));
    for (name, alarm) in alarms() {
        for metric in metrics_of(alarm) {
            assert!(exists(metric), "{name}: {metric}");
        }
        assert_eq!((&alarm["AlarmActions"], &alarm["OKActions"]), (&topic, &topic), "{name}");
        let description = text(&alarm["AlarmDescription"]);
        assert!(description.matches(". ").count() >= 1, "{name} has no remedy: {description}");
        assert!(description.len() <= 1024, "{name}");
    }
    assert!(alarms().len() >= 7);
}

#[test]
fn without_a_topic_alarms_notify_no_one_and_silence_is_no_alarm() {
    let resources = &deployed(&[("a-stack", &[])])[0]["resources"];

    for (name, _) in alarms() {
        let actions = &resources[name]["Properties"]["AlarmActions"];
        assert!(actions.is_null() || *actions == json!([]), "{name}");
    }
    assert!(resources.get("SilenceAlarm").is_none());
    assert!(resources.get("Budget").is_none());
}

#[test]
fn silence_is_an_alarm_if_requests_are_expected_also_without_any_data() {
    let given = [("ExpectedRequestsPerHour", "60")];
    let resources = &deployed(&[("a-stack", &given)])[0]["resources"];

    let alarm = &resources["SilenceAlarm"]["Properties"];
    assert_eq!(alarm["TreatMissingData"], "breaching");
    assert_eq!((&alarm["Period"], &alarm["Threshold"]), (&json!(3600), &json!("60")));
    assert_eq!(alarm["ComparisonOperator"], "LessThanThreshold");
}

/// Whether an alarm with an expression rings at the end of each list of periods. A period has a sum
/// for each metric; absent is `null`.
fn rings(alarm: &str, periods: &[Vec<Value>]) -> Vec<bool> {
    let alarm = &everything()[alarm]["Properties"];
    assert_eq!(alarm["ComparisonOperator"], "GreaterThanThreshold");
    assert_eq!(alarm["TreatMissingData"], "notBreaching");
    let program = "import json, sys\n\
        expression, threshold, evaluated, needed, lists = json.loads(sys.argv[1])\n\
        own = {'IF': lambda it, then, other: then if it else other,\n\
        'FILL': lambda value, default: default if value is None else value}\n\
        def breaches(period):\n\
        \ttry: return eval(expression, own | period) > threshold\n\
        \texcept ZeroDivisionError: return False\n\
        rings = lambda periods: sum(map(breaches, periods[-evaluated:])) >= needed\n\
        print(json.dumps([rings(periods) for periods in lists]))";
    let (evaluated, expression) = (&alarm["EvaluationPeriods"], &alarm["Metrics"][0]["Expression"]);
    let needed = alarm.get("DatapointsToAlarm").unwrap_or(evaluated);
    let question = json!([expression, alarm["Threshold"], evaluated, needed, periods]);
    let answer = python(&["-c", program, &question.to_string()]);
    answer.as_array().expect("answers").iter().map(|it| *it == json!(true)).collect()
}

/// A period of the gateway.
fn period(failed: Option<u32>, refused: Option<u32>, all: u32) -> Value {
    json!({"failed": failed, "refused": refused, "all": all})
}

#[test]
fn an_outage_at_three_requests_a_minute_rings_and_single_failures_do_not() {
    let rows = [
        (period(Some(15), None, 15), true), // five minutes
        (period(Some(3), None, 3), true),
        (period(Some(2), None, 2), false),
        (period(Some(3), None, 200), true),
        (period(Some(3), None, 1000), false),
        (period(None, None, 15), false),
        (period(Some(30), None, 1000), true),
    ];

    let rung = rings("ServerErrorsAlarm", &rows.clone().map(|(row, _)| vec![row]));

    for ((row, expected), rung) in rows.iter().zip(rung) {
        assert_eq!(rung, *expected, "{row}");
    }
}

#[test]
fn requests_that_a_client_gets_refused_neither_hide_an_outage_nor_ring() {
    let hidden = period(Some(15), Some(100_000), 100_015);
    let refused_alone = period(None, Some(500), 500);

    assert_eq!(rings("ServerErrorsAlarm", &[vec![hidden], vec![refused_alone]]), [true, false]);
}

#[test]
fn data_that_arrives_two_periods_late_rings() {
    let (outage, quiet) = (period(Some(15), None, 15), period(None, None, 15));
    let late = vec![outage.clone(), quiet.clone(), quiet.clone()];
    let over = vec![outage, quiet.clone(), quiet.clone(), quiet];

    assert_eq!(rings("ServerErrorsAlarm", &[late, over]), [true, false]);
}

/// CloudWatch looks back only where a period has no value.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html>
#[test]
fn alarms_whose_periods_always_have_a_value_evaluate_three_of_them() {
    let mut found = 0;
    for (name, alarm) in alarms() {
        let is_filled = alarm["Metrics"].to_string().contains("FILL(");
        let has_zeros = alarm["MetricName"].as_str().is_some_and(|metric| {
            alarm["Namespace"] == "Cruddur/a-stack" && SENT_BY_THE_EXTENSION.contains(&metric)
        });
        if is_filled || has_zeros {
            let evaluated = (&alarm["EvaluationPeriods"], &alarm["DatapointsToAlarm"]);
            assert_eq!(evaluated, (&json!(3), &json!(1)), "{name}");
            found += 1;
        }
    }
    assert!(found >= 4, "{found}");
}

#[test]
fn throttles_of_the_index_alone_ring() {
    let none = json!({"reads": null, "writes": null, "index_reads": null, "index_writes": null});
    let mut index = none.clone();
    index["index_writes"] = json!(1);

    assert_eq!(rings("ThrottlesAlarm", &[vec![none], vec![index]]), [false, true]);
    let metrics = everything()["ThrottlesAlarm"]["Properties"]["Metrics"].as_array().unwrap();
    let of_index = metrics.iter().filter(|it| it.to_string().contains("GlobalSecondaryIndexName"));
    assert_eq!(of_index.count(), 2);
}

/// CloudWatch bills each metric of an alarm, each dashboard above three, and each metric with data.
/// <https://aws.amazon.com/cloudwatch/pricing/>, us-east-1, without the free tier.
#[test]
fn alarms_and_dashboard_cost_less_than_five_dollars_a_month() {
    let resources = &deployed(&[("a-stack", &[])])[0]["resources"];
    let all = resources.as_object().expect("resources").values();
    let cents: usize = all
        .map(|resource| match text(&resource["Type"]) {
            "AWS::CloudWatch::Alarm" => 10 * metrics_of(&resource["Properties"]).len(),
            "AWS::CloudWatch::Dashboard" => 300,
            _ => 0,
        })
        .sum();

    assert!(cents < 500, "{cents} cents");
}

#[test]
fn a_budget_notifies_the_topic() {
    let budget = &everything()["Budget"]["Properties"];
    assert_eq!(budget["Budget"]["BudgetLimit"], json!({"Amount": "5", "Unit": "USD"}));
    for notification in budget["NotificationsWithSubscribers"].as_array().unwrap() {
        let subscriber = &notification["Subscribers"][0];
        assert_eq!(
            subscriber["Address"],
            everything()["SilenceAlarm"]["Properties"]["AlarmActions"][0]
        );
    }
}
