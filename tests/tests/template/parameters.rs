//! Parameters: each has a default and an explanation, and wrong ones are refused with a reason.

use super::{deployed, stack};

#[test]
fn every_parameter_has_a_default_and_an_explanation() {
    for (name, parameter) in stack()["Parameters"].as_object().unwrap() {
        assert!(parameter.get("Default").is_some(), "{name}");
        let description = parameter["Description"].as_str().unwrap_or_default();
        assert!(description.ends_with('.'), "{name}");
        // A Number may be 0.0, which is not "0" in a condition, and 2.5 where a resource counts.
        assert_eq!(parameter["Type"], "String", "{name}");
        let is_limited = parameter.get("AllowedPattern").is_some();
        assert_eq!(is_limited, parameter.get("ConstraintDescription").is_some(), "{name}");
    }
}

const SECRET: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:honeycomb-AbCdEf";
const PARAMETER: &str = "arn:aws:ssm:eu-central-1:123456789012:parameter/cruddur/key";
const TOPIC: &str = "arn:aws:sns:eu-central-1:123456789012:alarms";
const TABLE: &str = "arn:aws:dynamodb:eu-central-1:123456789012:table/cruddur-CruddurTable-1A";

type Given = &'static [(&'static str, &'static str)];

#[test]
fn valid_parameters_are_accepted() {
    let rows: [Given; 18] = [
        &[],
        &[("HoneycombApiKeySecret", SECRET)],
        &[("HoneycombApiKeySecret", PARAMETER), ("TraceShare", "0.05")],
        &[
            ("HoneycombApiKeySecret", SECRET),
            ("HoneycombApiEndpoint", "https://api.eu1.honeycomb.io"),
        ],
        &[("HoneycombApiKeySecret", SECRET), ("HoneycombApiEndpoint", "https://otel.example/otlp")],
        &[("RollbarAccessTokenSecret", SECRET), ("RollbarEnvironment", "week 2")],
        &[("PageOrigins", "https://cruddur.example")],
        &[("PageOrigins", "https://cruddur.example,http://localhost:3000")],
        &[
            ("CognitoUserPoolId", "ca-central-1_AbCdEfGhI"),
            ("CognitoClientIds", "1h57kf5cpq17m0eml12"),
        ],
        &[("CognitoUserPoolId", "ca-central-1_AbCdEfGhI"), ("CognitoClientIds", "1h57kf5,2h57kf5")],
        &[("AlarmTopicArn", TOPIC), ("MonthlyBudget", "12.50")],
        &[("ExistingTableArn", TABLE)],
        &[("PublicConcurrency", "10"), ("ExpectedRequestsPerHour", "3")],
        &[("PublicConcurrency", "1000"), ("LogRetentionDays", "3653")],
        &[("LogGroupName", "cruddur"), ("XRayGroupName", "Cruddur"), ("WriteQuota", "0")],
        &[("TransactionSearch", "on")],
        &[("Revision", "0123456789abcdef0123456789abcdef01234567")],
        &[("Revision", "v1.2.3-rc_1+7")],
    ];
    let stacks: Vec<_> = rows.iter().map(|given| ("a-stack", *given)).collect();

    for (given, outcome) in rows.iter().zip(deployed(&stacks)) {
        assert!(outcome["refused"].is_null(), "{given:?}: {}", outcome["refused"]);
    }
}

/// Parameters, and a part of the reason for their refusal.
const REFUSED: [(Given, &str); 60] = [
    // A key in the place of its ARN, and the name of a secret.
    (&[("HoneycombApiKeySecret", "hcaik_01hqk4k20cjeh63wca8vva5stw")], "never the key itself"),
    (&[("HoneycombApiKeySecret", "cruddur/honeycomb")], "never the key itself"),
    // A field of a secret that is JSON: the policy would name no secret.
    (
        &[(
            "HoneycombApiKeySecret",
            "arn:aws:secretsmanager:eu-central-1:123456789012:secret:a-AbCdEf:key",
        )],
        "without a JSON field",
    ),
    // A part of an ARN: the policy would not fit the secret.
    (
        &[("HoneycombApiKeySecret", "arn:aws:secretsmanager:eu-central-1:123456789012:secret:a")],
        "6 characters that AWS adds",
    ),
    (
        &[(
            "RollbarAccessTokenSecret",
            "arn:aws:secretsmanager:eu-central-1:123456789012:secret:cruddur/rollbar",
        )],
        "6 characters that AWS adds",
    ),
    (&[("RollbarAccessTokenSecret", "9e28e6a2f7ab4c0cbb5f1d1b6f1c6f5d")], "never the token itself"),
    (&[("HoneycombApiEndpoint", "https://api.honeycomb.io/")], "without a slash"),
    (&[("HoneycombApiEndpoint", "http://api.honeycomb.io")], "must be an https URL"),
    // The extension switches the exporter off for these, and only its own log reports it.
    (&[("HoneycombApiEndpoint", "https://api.eu1.honeycomb.io ")], "or a blank"),
    (&[("HoneycombApiEndpoint", "https://me:hidden@otel.example")], "a user"),
    (&[("HoneycombApiEndpoint", "https://otel.example/?key=hidden")], "a query"),
    (&[("HoneycombApiEndpoint", "https://api.eu1.honeycomb.io")], "without HoneycombApiKeySecret"),
    (&[("TraceShare", "0.5")], "TraceShare without HoneycombApiKeySecret"),
    (&[("HoneycombApiKeySecret", SECRET), ("TraceShare", "10")], "a number from 0 to 1"),
    (&[("HoneycombApiKeySecret", SECRET), ("TraceShare", "10%")], "a number from 0 to 1"),
    (&[("TraceShare", "1.0")], "must be 1, or a number"),
    (&[("RollbarEnvironment", "staging")], "without RollbarAccessTokenSecret"),
    (&[("RollbarAccessTokenSecret", SECRET), ("RollbarEnvironment", "")], "1 to 255 characters"),
    (&[("RollbarAccessTokenSecret", SECRET), ("RollbarEnvironment", "staging ")], "without blanks"),
    (&[("PageOrigins", "https://cruddur.example/")], "must be origins"),
    (&[("PageOrigins", "cruddur.example")], "must be origins"),
    // The functions compare an Origin header with these, and browsers send lower case.
    (&[("PageOrigins", "https://Cruddur.example")], "in lower case"),
    (&[("PageOrigins", "https://cruddur.example?page=1")], "must be origins"),
    (&[("PageOrigins", "https://a.example, https://b.example")], "must be origins"),
    (&[("PageOrigins", "*")], "must be origins"),
    (&[("CognitoUserPoolId", "AbCdEfGhI"), ("CognitoClientIds", "a")], "the id of a user pool"),
    (&[("CognitoUserPoolId", "eu_west-1_A"), ("CognitoClientIds", "a")], "the id of a user pool"),
    (&[("CognitoUserPoolId", "ca-central-1_AbCdEfGhI")], "Give both CognitoUserPoolId"),
    (&[("CognitoClientIds", "1h57kf5cpq17m0eml12")], "Give both CognitoUserPoolId"),
    (&[("CognitoUserPoolId", "eu-west-1_A"), ("CognitoClientIds", "a, b")], "with commas between"),
    (&[("ExistingTableArn", "cruddur-messages")], "the ARN of a DynamoDB table"),
    (&[("AlarmTopicArn", "ops@cruddur.example")], "the ARN of an SNS topic"),
    (&[("MonthlyBudget", "20")], "MonthlyBudget without AlarmTopicArn"),
    (&[("AlarmTopicArn", TOPIC), ("MonthlyBudget", "-1")], "an amount in US dollars"),
    (&[("AlarmTopicArn", TOPIC), ("MonthlyBudget", "0.0")], "an amount in US dollars"),
    (&[("AlarmTopicArn", TOPIC), ("MonthlyBudget", "1e3")], "an amount in US dollars"),
    (&[("ExpectedRequestsPerHour", "many")], "a whole number"),
    (&[("ExpectedRequestsPerHour", "0.0")], "a whole number"),
    (&[("ExpectedRequestsPerHour", "2.5")], "a whole number"),
    (&[("PublicConcurrency", "100000")], "from 0 to 1000"),
    (&[("PublicConcurrency", "1001")], "from 0 to 1000"),
    (&[("PublicConcurrency", "1.0")], "from 0 to 1000"),
    (&[("PublicConcurrency", "00")], "from 0 to 1000"),
    (&[("WriteQuota", "60")], "must be 0, or two numbers"),
    (&[("LogGroupName", "aws/cruddur")], "the name of a log group"),
    (&[("LogGroupName", "a group")], "the name of a log group"),
    (&[("LogGroupName", "/cruddur/a-stack/platform")], "are the stack's own"),
    (&[("XRayGroupName", "a-name-of-more-than-32-characters")], "at most 32"),
    (&[("XRaySamplingRuleName", "a rule")], "at most 32"),
    // X-Ray has a group and a rule of this name in each account.
    (&[("XRayGroupName", "Default")], "not Default"),
    (&[("XRaySamplingRuleName", "Default")], "not Default"),
    (&[("ServiceName", "a service")], "1 to 64 letters"),
    (&[("Revision", "0123456789abcdef0123456789abcdef012345678")], "at most 40"),
    (&[("Revision", "feature/x")], "at most 40"),
    (&[("LogRetentionDays", "2")], "a number of days"),
    (&[("LogRetentionDays", "30.0")], "a number of days"),
    (&[("Metrics", "off")], "Metrics"),
    (&[("TransactionSearch", "yes")], "TransactionSearch"),
    (&[("HoneycombSampleRate", "1.5")], "whole number"),
    (&[("HoneycombSlowMs", "0")], "whole number"),
];

#[test]
fn wrong_and_contradictory_parameters_are_refused_with_a_reason() {
    let stacks: Vec<_> = REFUSED.iter().map(|(given, _)| ("a-stack", *given)).collect();

    for ((given, reason), outcome) in REFUSED.iter().zip(deployed(&stacks)) {
        let refused = outcome["refused"].to_string();
        assert!(refused.contains(reason), "{given:?}: {refused}");
    }
}
