//! Filters, alarms, dashboard and saved queries.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{names_of, properties, stack};

/// Metrics of the namespace `Cruddur` that the extension sends, and by what it tells them apart:
/// `lines.rs` sees them come.
pub(super) const SENT_BY_THE_EXTENSION: [(&str, &str); 4] = [
    ("ColdStarts", "Function"),
    ("Delivered", "Destination"),
    ("Dropped", "Destination"),
    ("Spooled", "Destination"),
];

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// Metrics of the namespace `Cruddur` that there are.
fn our_metrics() -> BTreeSet<&'static str> {
    let filters = names_of("AWS::Logs::MetricFilter").into_iter();
    let counted = filters.map(|name| {
        let filter = properties(name, "AWS::Logs::MetricFilter");
        text(&filter["MetricTransformations"][0]["MetricName"])
    });
    counted.chain(SENT_BY_THE_EXTENSION.map(|(name, _)| name)).collect()
}

#[test]
fn xray_has_the_originals_group_and_rule() {
    let group = properties("XRayGroup", "AWS::XRay::Group");
    assert_eq!(group["GroupName"], "Cruddur");
    assert_eq!(
        group["FilterExpression"],
        r#"annotation.app = "cruddur" AND (fault OR error OR service() { fault OR error })"#
    );
    assert_eq!(
        properties("XRaySamplingRule", "AWS::XRay::SamplingRule")["SamplingRule"],
        json!({
            "RuleName": "Cruddur", "Priority": 9000, "FixedRate": 0.1, "ReservoirSize": 5,
            "ServiceName": "*", "ServiceType": "*", "Host": "*", "HTTPMethod": "*", "URLPath": "*",
            "ResourceARN": "*", "Version": 1,
        })
    );
}

#[test]
fn lines_are_counted_by_code_as_timeouts_and_as_refused_access() {
    let counted = |group: &str, pattern: &str, metric: &str| {
        json!({
            "LogGroupName": {"Ref": group},
            "FilterPattern": pattern,
            "MetricTransformations": [{
                "MetricNamespace": "Cruddur", "MetricName": metric, "MetricValue": "1", "Unit": "Count",
            }],
        })
    };
    let filter = |name| properties(name, "AWS::Logs::MetricFilter");
    let mut by_code =
        counted("LogGroup", "{ $.code = * && $.apiRequestId NOT EXISTS }", "ErrorsByCode");
    by_code["MetricTransformations"][0]["Dimensions"] = json!([{"Key": "Code", "Value": "$.code"}]);
    assert_eq!(*filter("ErrorsByCode"), by_code);
    let timeout = r#"{ $.type = "platform.runtimeDone" && $.record.status = "timeout" && $.apiRequestId NOT EXISTS }"#;
    assert_eq!(*filter("Timeouts"), counted("LogGroup", timeout, "TimedOut"));
    let denied = r#"{ $.store_error_code = "AccessDeniedException" && $.apiRequestId NOT EXISTS }"#;
    assert_eq!(*filter("AccessDenied"), counted("LogGroup", denied, "AccessDenied"));
    let refused =
        r#"{ ($.errorCode = "AccessDenied*") || ($.errorCode = "*UnauthorizedOperation") }"#;
    assert_eq!(*filter("RefusedCalls"), counted("AuditLogGroup", refused, "RefusedCalls"));
    assert_eq!(names_of("AWS::Logs::MetricFilter").len(), 4);
}

/// An alarm, its metrics, how they are put together, and what is too much.
type AlarmRow = (&'static str, &'static [(&'static str, &'static str)], &'static str, f64);

/// What an alarm looks at: a metric of its own, or those of its expression.
fn metrics_of(alarm: &Value) -> Vec<(&str, &str)> {
    match alarm.get("Metrics") {
        None => vec![(text(&alarm["Namespace"]), text(&alarm["MetricName"]))],
        Some(metrics) => {
            let metrics = metrics.as_array().expect("metrics").iter();
            let stats = metrics.filter_map(|metric| metric.get("MetricStat"));
            let stats = stats.map(|stat| &stat["Metric"]);
            stats.map(|it| (text(&it["Namespace"]), text(&it["MetricName"]))).collect()
        }
    }
}

#[test]
fn alarms_look_at_what_there_is_and_tell_the_topic() {
    let table: &[AlarmRow] = &[
        (
            "ServerErrorsAlarm",
            &[("AWS/ApiGateway", "5xx"), ("AWS/ApiGateway", "Count")],
            "IF(all >= 20, 100 * FILL(failed, 0) / all, 0)",
            1.0,
        ),
        ("LatencyAlarm", &[("AWS/ApiGateway", "Latency")], "p90", 1000.0),
        (
            "ThrottlesAlarm",
            &[
                ("AWS/Lambda", "Throttles"),
                ("AWS/DynamoDB", "ReadThrottleEvents"),
                ("AWS/DynamoDB", "WriteThrottleEvents"),
            ],
            "FILL(calls, 0) + FILL(reads, 0) + FILL(writes, 0)",
            0.0,
        ),
        ("TimeoutsAlarm", &[("Cruddur", "TimedOut")], "Sum", 0.0),
        ("AccessDeniedAlarm", &[("Cruddur", "AccessDenied")], "Sum", 0.0),
        ("TelemetryDropsAlarm", &[("Cruddur", "Dropped")], "Sum", 0.0),
        ("RefusedCallsAlarm", &[("Cruddur", "RefusedCalls")], "Sum", 0.0),
    ];
    for (name, metrics, statistic, threshold) in table {
        let alarm = properties(name, "AWS::CloudWatch::Alarm");
        assert_eq!(metrics_of(alarm), *metrics, "{name}");
        let expression = alarm["Metrics"][0].get("Expression");
        let found = expression.or(alarm.get("ExtendedStatistic")).or(alarm.get("Statistic"));
        assert_eq!(found.map(text), Some(*statistic), "{name}");
        assert_eq!(alarm["Threshold"].as_f64(), Some(*threshold), "{name}");
        assert_eq!(alarm["ComparisonOperator"], "GreaterThanThreshold", "{name}");
        assert_eq!(alarm["TreatMissingData"], "notBreaching", "{name}");
        let topic = json!({"Fn::If": ["Notifies", [{"Ref": "AlarmTopicArn"}], []]});
        assert_eq!(alarm["AlarmActions"], topic, "{name}");
        for (namespace, metric) in *metrics {
            let is_there = *namespace != "Cruddur" || our_metrics().contains(metric);
            assert!(is_there, "{name}: nobody makes {metric}");
        }
    }
    assert_eq!(names_of("AWS::CloudWatch::Alarm").len(), table.len());
}

#[test]
fn the_dashboard_shows_every_alarm_and_metrics_that_there_are_without_overlap() {
    let dashboard = properties("Dashboard", "AWS::CloudWatch::Dashboard");
    assert_eq!(dashboard["DashboardName"], json!({"Fn::Sub": "${AWS::StackName}-${AWS::Region}"}));
    let body: Value = serde_json::from_str(text(&dashboard["DashboardBody"]["Fn::Sub"])).unwrap();
    let widgets = body["widgets"].as_array().unwrap();

    let mut taken = BTreeSet::new();
    for widget in widgets {
        let [x, y, width, height] =
            ["x", "y", "width", "height"].map(|side| widget[side].as_u64().unwrap());
        assert!(x + width <= 24, "{widget}");
        for place in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
            assert!(taken.insert(place), "{widget} overlaps another at {place:?}");
        }
    }
    let titles: Vec<&str> = widgets.iter().map(|it| text(&it["properties"]["title"])).collect();
    assert_eq!(
        titles,
        [
            "Requests",
            "Latency as the client sees it, ms",
            "Requests by latency",
            "p50 by route, ms",
            "p90 by route, ms",
            "p99 by route, ms",
            "Errors by code",
            "Cold starts",
            "Telemetry: delivered, kept on disk, lost",
            "Alarms",
        ]
    );
    let expected: BTreeSet<String> = names_of("AWS::CloudWatch::Alarm")
        .into_iter()
        .filter(|name| stack()["Resources"][name].get("Condition").is_none())
        .map(|name| format!("${{{name}.Arn}}"))
        .collect();
    let shown = widgets.last().unwrap()["properties"]["alarms"].as_array().unwrap().iter();
    assert_eq!(shown.map(|arn| text(arn).to_owned()).collect::<BTreeSet<_>>(), expected);
    for metric in metrics_on(widgets) {
        assert!(our_metrics().contains(metric.as_str()), "nobody makes {metric}");
    }
}

/// The metrics of the namespace `Cruddur` that widgets name, in searches or alone.
fn metrics_on(widgets: &[Value]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for widget in widgets {
        let mut namespace = "";
        for row in widget["properties"]["metrics"].as_array().into_iter().flatten() {
            match &row[0] {
                Value::Object(search) if text(&search["expression"]).contains("{Cruddur,") => {
                    let named = text(&search["expression"]).split("MetricName=\"").nth(1);
                    let name = named.and_then(|rest| rest.split('"').next());
                    let name = name.expect("a metric's name");
                    let own = SENT_BY_THE_EXTENSION.into_iter().find(|(sent, _)| *sent == name);
                    let (_, dimension) = own.unwrap_or((name, "Code"));
                    let searched = text(&search["expression"]);
                    assert!(searched.contains(&format!("{{Cruddur,{dimension}}}")), "{searched}");
                    found.insert(name.to_owned());
                }
                Value::String(first) if first != "." && first != "..." => namespace = first,
                _ => {}
            }
            if namespace == "Cruddur" && row[1].is_string() {
                found.insert(text(&row[1]).to_owned());
            }
        }
    }
    assert_eq!(found.len(), 7, "{found:?}");
    found
}

#[test]
fn queries_are_saved_for_the_questions_that_come_up() {
    let query = |name: &str| {
        let query = properties(name, "AWS::Logs::QueryDefinition");
        assert_eq!(query["LogGroupNames"], json!([{"Ref": "LogGroup"}]), "{name}");
        (text(&query["Name"]), text(&query["QueryString"]))
    };
    let (name, users) = query("LatencyByUser");
    assert_eq!(name, "Cruddur/Latency by user");
    assert!(users.contains("pct(duration_ms, 90) as p90") && users.contains("by user_id"));
    let (name, routes) = query("SlowestRoutes");
    assert_eq!(name, "Cruddur/Slowest routes");
    assert!(routes.contains("pct(latency_ms, 99) as p99") && routes.contains("by route"));
    let (name, trace) = query("OneTrace");
    assert_eq!(name, "Cruddur/One trace");
    assert!(trace.contains(r#"filter trace_id = "{{trace_id}}""#));
    let parameters = &properties("OneTrace", "AWS::Logs::QueryDefinition")["Parameters"];
    assert_eq!(parameters[0]["Name"], "trace_id");
    let (name, codes) = query("CodesOfErrors");
    assert_eq!(name, "Cruddur/Errors by code");
    assert!(codes.contains("by code, status"));
    assert_eq!(names_of("AWS::Logs::QueryDefinition").len(), 4);
}

#[test]
fn the_audit_is_all_or_nothing_and_its_bucket_is_private() {
    let all = stack()["Resources"].as_object().unwrap().iter();
    let audit = all.filter(|(_, it)| it["Condition"] == "Audits").map(|(name, _)| name.as_str());
    assert_eq!(
        audit.collect::<BTreeSet<_>>(),
        BTreeSet::from([
            "AuditBucket",
            "AuditBucketPolicy",
            "AuditLogGroup",
            "AuditRole",
            "AuditedCalls",
            "RefusedCalls",
            "RefusedCallsAlarm",
        ])
    );
    let trail = properties("AuditedCalls", "AWS::CloudTrail::Trail");
    assert_eq!(trail["IsLogging"], true);
    assert_eq!(trail["CloudWatchLogsLogGroupArn"], json!({"Fn::GetAtt": ["AuditLogGroup", "Arn"]}));
    assert_eq!(trail["CloudWatchLogsRoleArn"], json!({"Fn::GetAtt": ["AuditRole", "Arn"]}));
    let bucket = properties("AuditBucket", "AWS::S3::Bucket");
    let access = bucket["PublicAccessBlockConfiguration"].as_object().unwrap();
    assert!(access.len() == 4 && access.values().all(|blocked| *blocked == json!(true)));
    let role = &properties("AuditRole", "AWS::IAM::Role")["Policies"][0]["PolicyDocument"];
    assert_eq!(
        role["Statement"],
        json!([{
            "Effect": "Allow",
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
            "Resource": {"Fn::GetAtt": ["AuditLogGroup", "Arn"]},
        }])
    );
}

#[test]
fn the_outputs_say_where_to_look() {
    let values: BTreeMap<&str, &Value> = stack()["Outputs"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, output)| (name.as_str(), &output["Value"]))
        .collect();
    let made_or_given =
        |own: &str, given: &str| json!({"Fn::If": ["MakesUserPool", {"Ref": own}, {"Ref": given}]});
    let layer = names_of("AWS::Lambda::LayerVersion")[0];
    assert_eq!(
        values,
        BTreeMap::from([
            (
                "ApiUrl",
                &json!({"Fn::Sub": "https://${Api}.execute-api.${AWS::Region}.${AWS::URLSuffix}"})
            ),
            (
                "DashboardUrl",
                &json!({"Fn::Sub": "https://${AWS::Region}.console.aws.amazon.com/cloudwatch/home\
                                    ?region=${AWS::Region}#dashboards/dashboard/${Dashboard}"})
            ),
            ("TelemetryLayerArn", &json!({"Ref": layer})),
            ("UserPoolClientId", &made_or_given("UserPoolClient", "CognitoClientId")),
            ("UserPoolId", &made_or_given("UserPool", "CognitoUserPoolId")),
        ])
    );
}
