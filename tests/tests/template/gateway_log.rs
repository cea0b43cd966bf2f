//! The line that the gateway writes of a request.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{deployed, properties};

/// Variables that the gateway makes itself: numbers, ids, words of a fixed list, the address of the
/// connection, and the `sub` of a checked token, which the user pool makes.
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-logging-variables.html>
const MADE_BY_AWS: [&str; 13] = [
    "authorizer.claims.sub",
    "error.responseType",
    "identity.sourceIp",
    "integration.requestId",
    "integration.status",
    "integrationLatency",
    "integrationStatus",
    "requestId",
    "requestTimeEpoch",
    "responseLatency",
    "responseLength",
    "routeKey",
    "status",
];

fn format() -> &'static str {
    let stage = properties("ApiApiGatewayDefaultStage", "AWS::ApiGatewayV2::Stage");
    stage["AccessLogSettings"]["Format"].as_str().expect("a format")
}

/// The format's variables in their order, without `$context.`, and the text between them.
fn parts() -> (Vec<&'static str>, Vec<&'static str>) {
    let mut pieces = format().split("$context.");
    let (mut variables, mut texts) = (Vec::new(), vec![pieces.next().expect("a start")]);
    for piece in pieces {
        let is_end = |it: char| !(it.is_alphanumeric() || it == '.');
        let (variable, text) = piece.split_at(piece.find(is_end).expect("an end"));
        variables.push(variable);
        texts.push(text);
    }
    (variables, texts)
}

/// The line with these values; the gateway writes `-` for an absent one, and escapes nothing here.
pub(super) fn gateway_line(values: &[(&str, &str)]) -> String {
    let (variables, texts) = parts();
    let values: BTreeMap<&str, &str> = values.iter().copied().collect();
    let filled = variables.iter().map(|variable| *values.get(variable).unwrap_or(&"-"));
    let filled = filled.chain([""]);
    texts.into_iter().zip(filled).flat_map(|(text, value)| [text, value]).collect()
}

/// The fields of the line.
pub(super) fn fields() -> Vec<String> {
    let line: Value = serde_json::from_str(&gateway_line(&[])).expect("JSON");
    line.as_object().expect("an object").keys().cloned().collect()
}

#[test]
fn a_line_is_one_json_object_if_all_values_are_absent_and_if_all_are_there() {
    let all = parts().0.into_iter().map(|variable| (variable, "0")).collect::<Vec<_>>();
    for values in [&[][..], &all] {
        let line = gateway_line(values);
        assert!(!line.contains('\n'), "{line}");
        let line: Value = serde_json::from_str(&line).unwrap_or_else(|it| panic!("{it}: {line}"));
        assert_eq!(line["type"], "gateway.access");
        assert!(line.as_object().expect("an object").values().all(Value::is_string), "{line}");
    }
}

/// No assumption about the gateway's escaping: values of clients are not in the line.
#[test]
fn no_value_in_the_line_is_written_by_a_client() {
    for variable in parts().0 {
        assert!(MADE_BY_AWS.contains(&variable), "$context.{variable}");
    }
}

/// Log delivery adds each further group to one policy of 5,120 characters in an account and Region.
/// <https://docs.aws.amazon.com/step-functions/latest/dg/bp-cwl.html>
#[test]
fn the_gateways_group_is_one_that_the_regions_log_policy_names_together() {
    let stage = properties("ApiApiGatewayDefaultStage", "AWS::ApiGatewayV2::Stage");
    let group = &stage["AccessLogSettings"]["DestinationArn"]["Fn::GetAtt"][0];
    let stacks = deployed(&[("a-stack", &[])]);

    let group = &stacks[0]["resources"][group.as_str().expect("a group")];

    let name = group["Properties"]["LogGroupName"].as_str().expect("a name");
    assert!(name.starts_with("/aws/vendedlogs/"), "{name}");
}
