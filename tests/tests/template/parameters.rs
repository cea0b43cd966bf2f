//! What is asked of who deploys, and what they are told.

use serde_json::{Value, json};

use super::{python, stack};

#[test]
fn nothing_must_be_given_and_everything_is_explained() {
    for (name, parameter) in stack()["Parameters"].as_object().unwrap() {
        assert!(parameter.get("Default").is_some(), "{name}");
        assert!(
            parameter["Description"].as_str().is_some_and(|text| text.ends_with('.')),
            "{name}"
        );
        let explains = parameter.get("ConstraintDescription").is_some();
        assert_eq!(parameter.get("AllowedPattern").is_some(), explains, "{name}");
    }
}

#[test]
fn conditions_are_what_their_names_say() {
    let is = |parameter: &str, value: &str| json!({"Fn::Equals": [{"Ref": parameter}, value]});
    let not = |condition: Value| json!({"Fn::Not": [condition]});
    assert_eq!(
        stack()["Conditions"],
        json!({
            "MakesUserPool": is("CognitoUserPoolId", ""),
            "SendsToHoneycomb": not(is("HoneycombApiKeySecret", "")),
            "SendsToRollbar": not(is("RollbarAccessTokenSecret", "")),
            "KeepsPlatformLogs": is("PlatformLogs", "keep"),
            "ProtectsData": is("DataProtection", "on"),
            "Notifies": not(is("AlarmTopicArn", "")),
            "Audits": is("AuditTrail", "on"),
        })
    );
}

fn is_missing(parameter: &str) -> Value {
    json!({"Fn::Equals": [{"Ref": parameter}, ""]})
}

fn is_given(parameter: &str) -> Value {
    json!({"Fn::Not": [is_missing(parameter)]})
}

#[test]
fn half_a_user_pool_is_refused_with_a_reason() {
    let [pool, client] = ["CognitoUserPoolId", "CognitoClientId"];
    assert_eq!(
        stack()["Rules"]["UserPoolAndClientGoTogether"],
        json!({"Assertions": [{
            "Assert": {"Fn::Or": [
                {"Fn::And": [is_missing(pool), is_missing(client)]},
                {"Fn::And": [is_given(pool), is_given(client)]},
            ]},
            "AssertDescription": "Give both CognitoUserPoolId and CognitoClientId, or neither to have a user pool made.",
        }]})
    );
    assert_eq!(stack()["Rules"].as_object().unwrap().len(), 3);
}

#[test]
fn a_destination_that_is_described_but_has_no_key_is_refused_with_a_reason() {
    for (rule, described, key) in [
        ("HoneycombNeedsItsKey", "HoneycombApiEndpoint", "HoneycombApiKeySecret"),
        ("RollbarNeedsItsToken", "RollbarEnvironment", "RollbarAccessTokenSecret"),
    ] {
        let default = &stack()["Parameters"][described]["Default"];
        let reason = format!("{described} without {key} sends nothing. Give both, or neither.");
        assert_eq!(
            stack()["Rules"][rule],
            json!({
                "RuleCondition": {"Fn::Not": [{"Fn::Equals": [{"Ref": described}, default]}]},
                "Assertions": [{"Assert": is_given(key), "AssertDescription": reason}],
            })
        );
    }
}

#[test]
fn a_key_in_the_place_of_its_arn_and_other_slips_are_refused() {
    let arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:honeycomb-AbCdEf";
    let rows = [
        ("HoneycombApiKeySecret", "", true),
        ("HoneycombApiKeySecret", arn, true),
        (
            "HoneycombApiKeySecret",
            "arn:aws:ssm:eu-central-1:123456789012:parameter/cruddur/key",
            true,
        ),
        // A field of a secret that is JSON: its policy would name no secret.
        (
            "HoneycombApiKeySecret",
            "arn:aws:secretsmanager:eu-central-1:123456789012:secret:honeycomb-AbCdEf:key",
            false,
        ),
        ("HoneycombApiKeySecret", "hcaik_01hqk4k20cjeh63wca8vva5stw", false),
        ("HoneycombApiKeySecret", "cruddur/honeycomb", false),
        ("RollbarAccessTokenSecret", "", true),
        ("RollbarAccessTokenSecret", arn, true),
        ("RollbarAccessTokenSecret", "9e28e6a2f7ab4c0cbb5f1d1b6f1c6f5d", false),
        ("RollbarEnvironment", "staging", true),
        ("RollbarEnvironment", "week 2", true),
        ("RollbarEnvironment", "", false),
        ("RollbarEnvironment", "staging ", false),
        ("HoneycombApiEndpoint", "https://api.eu1.honeycomb.io", true),
        ("HoneycombApiEndpoint", "https://otel.example/otlp", true),
        ("HoneycombApiEndpoint", "https://api.honeycomb.io/", false),
        ("HoneycombApiEndpoint", "http://api.honeycomb.io", false),
        ("PageOrigin", "https://cruddur.example", true),
        ("PageOrigin", "http://localhost:3000", true),
        ("PageOrigin", "https://cruddur.example/", false),
        ("PageOrigin", "cruddur.example", false),
        ("CognitoUserPoolId", "", true),
        ("CognitoUserPoolId", "ca-central-1_AbCdEfGhI", true),
        ("CognitoUserPoolId", "AbCdEfGhI", false),
        ("AlarmTopicArn", "arn:aws:sns:eu-central-1:123456789012:alarms", true),
        ("AlarmTopicArn", "ops@cruddur.example", false),
    ];
    let questions: Vec<Value> = rows
        .iter()
        .map(|(parameter, value, _)| {
            json!([stack()["Parameters"][parameter]["AllowedPattern"], value])
        })
        .collect();

    // CloudFormation's patterns are regular expressions that must fit the whole value.
    let program = "import json, re, sys; \
                   print(json.dumps([bool(re.fullmatch(*it)) for it in json.loads(sys.argv[1])]))";
    let fits = python(&["-c", program, &Value::from(questions).to_string()]);

    for ((parameter, value, expected), fits) in rows.iter().zip(fits.as_array().unwrap()) {
        assert_eq!(fits, expected, "{parameter}={value}");
    }
}
