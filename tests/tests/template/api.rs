//! Who may call what, and what is written down about it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{properties, python};

fn body() -> &'static Value {
    &properties("Api", "AWS::ApiGatewayV2::Api")["Body"]
}

/// `GET /api/activities/home` and the like, with the operation's description in the API's body.
pub(crate) fn routes() -> BTreeMap<String, &'static Value> {
    let mut routes = BTreeMap::new();
    for (path, methods) in body()["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            if method != "options" {
                routes.insert(format!("{} {path}", method.to_uppercase()), operation);
            }
        }
    }
    routes
}

#[test]
fn tokens_are_those_of_the_pool_and_its_client() {
    let scheme = &body()["components"]["securitySchemes"]["Cognito"];
    let authorizer = &scheme["x-amazon-apigateway-authorizer"];
    assert_eq!(authorizer["type"], "jwt");
    assert_eq!(authorizer["identitySource"], "$request.header.Authorization");
    let jwt = &authorizer["jwtConfiguration"];
    let [issuer, parts] = jwt["issuer"]["Fn::Sub"].as_array().unwrap().as_slice() else { panic!() };
    assert_eq!(*issuer, "https://cognito-idp.${Region}.${AWS::URLSuffix}/${Pool}");
    let or_given =
        |own: &str, given: &str| json!({"Fn::If": ["MakesUserPool", {"Ref": own}, {"Ref": given}]});
    let pool = or_given("UserPool", "CognitoUserPoolId");
    assert_eq!(parts["Pool"], pool);
    assert_eq!(parts["Region"], json!({"Fn::Select": [0, {"Fn::Split": ["_", pool]}]}));
    assert_eq!(jwt["audience"], json!([or_given("UserPoolClient", "CognitoClientId")]));
}

#[test]
fn the_page_that_is_asked_for_may_call_and_see_what_it_needs() {
    let stack = python(&["translate_template.py", "PageOrigin=https://cruddur.example"]);

    assert_eq!(
        stack["Resources"]["Api"]["Properties"]["Body"]["x-amazon-apigateway-cors"],
        json!({
            "allowOrigins": ["https://cruddur.example"],
            "allowMethods": ["GET", "HEAD", "POST", "PUT", "DELETE"],
            "allowHeaders": [
                "authorization", "baggage", "content-type", "idempotency-key", "if-none-match",
                "traceparent", "tracestate"
            ],
            "exposeHeaders": ["etag", "link", "retry-after", "traceparent", "x-amzn-trace-id"],
            "maxAge": 600,
        })
    );
}

#[test]
fn every_route_is_throttled_and_measured() {
    let stage = properties("ApiApiGatewayDefaultStage", "AWS::ApiGatewayV2::Stage");

    assert_eq!(
        stage["DefaultRouteSettings"],
        json!({"ThrottlingBurstLimit": 200, "ThrottlingRateLimit": 100, "DetailedMetricsEnabled": true})
    );
    // Anybody may call this one.
    assert_eq!(
        stage["RouteSettings"],
        json!({
            "POST /api/telemetry/traces": {"ThrottlingBurstLimit": 20, "ThrottlingRateLimit": 10},
        })
    );
    assert_eq!(stage["AutoDeploy"], true);
    assert_eq!(properties("Api", "AWS::ApiGatewayV2::Api")["FailOnWarnings"], true);
}

#[test]
fn the_access_log_is_json_in_the_log_group_and_has_the_id_of_the_functions_lines() {
    let log =
        &properties("ApiApiGatewayDefaultStage", "AWS::ApiGatewayV2::Stage")["AccessLogSettings"];
    assert_eq!(log["DestinationArn"], json!({"Fn::GetAtt": ["LogGroup", "Arn"]}));
    let format = log["Format"].as_str().unwrap();
    assert!(!format.contains('\n'), "{format}");

    assert!(format.contains(r#""requestId":"$context.integration.requestId""#), "{format}");
    // As the gateway fills it in: whatever a variable's value is, it is 0 here.
    let of_variable = |c: char| c.is_alphanumeric() || c == '.';
    let parts = format.split("$context.").map(|part| part.trim_start_matches(of_variable));
    let line = parts.collect::<Vec<_>>().join("0");
    let line: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert_eq!(line["type"], "gateway.access");
    for number in ["status", "latency_ms", "bytes"] {
        assert_eq!(line[number], 0, "{number}");
    }
    for text in ["apiRequestId", "route", "user_id", "refused", "function_ms", "function_error"] {
        assert_eq!(line[text], "0", "{text}");
    }
}
