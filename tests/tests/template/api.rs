//! Who may call what, and what is written down about it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use cruddur_tests::function_of;
use serde_json::{Value, json};

use super::{names_of, properties, python, resource_of};

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

/// All sample events: their names and what is in them.
fn events() -> Vec<(String, Value)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events");
    let files = fs::read_dir(directory).expect("the sample events").flatten();
    let event = |file: fs::DirEntry| {
        let text = fs::read_to_string(file.path()).expect("a sample event");
        let name = file.file_name().into_string().expect("a name").replace(".json", "");
        (name, serde_json::from_str(&text).expect("JSON"))
    };
    files.map(event).collect()
}

/// The route for `HEAD` of a route that is read, and its function.
fn head_of((route, function): (&String, &String)) -> Option<(String, String)> {
    Some((format!("HEAD {}", route.strip_prefix("GET ")?), function.clone()))
}

#[test]
fn every_route_of_the_sample_events_leads_to_its_function_and_there_is_no_other() {
    let mut expected: BTreeMap<String, String> = events()
        .into_iter()
        .map(|(name, event)| {
            let route = event["routeKey"].as_str().expect("a route").to_owned();
            (route, resource_of(function_of(&name)))
        })
        .collect();
    let reads: Vec<_> = expected.iter().filter_map(head_of).collect();
    expected.extend(reads);

    let mut found = BTreeMap::new();
    for (route, operation) in routes() {
        let integration = &operation["x-amazon-apigateway-integration"];
        assert_eq!(integration["payloadFormatVersion"], "2.0", "{route}");
        let target = integration["uri"]["Fn::Sub"].as_str().expect("a target");
        let function = target.split("${").last().and_then(|end| end.split(".Arn}").next());
        found.insert(route, function.expect("a function").to_owned());
    }

    assert_eq!(found, expected);
    // Each route may call its function, and nobody else may.
    let permissions = names_of("AWS::Lambda::Permission");
    assert_eq!(permissions.len(), expected.len());
    for permission in permissions {
        let permission = properties(permission, "AWS::Lambda::Permission");
        assert_eq!(permission["Principal"], "apigateway.amazonaws.com");
        assert!(permission["SourceArn"].to_string().contains("__ApiId__"), "{permission}");
    }
}

/// The function that the emulator calls for a route.
fn emulated(router: &Value, route: &str) -> Option<String> {
    let (method, path) = route.split_once(' ').expect("a route");
    let function = match &router[path] {
        Value::Array(methods) => &methods.iter().find(|it| it["method"] == method)?["function"],
        function => function,
    };
    function.as_str().map(resource_of)
}

#[test]
fn the_emulator_has_the_same_routes() {
    let read = "import json, tomllib; manifest = tomllib.load(open('../Cargo.toml', 'rb')); \
        print(json.dumps(manifest['workspace']['metadata']['lambda']['watch']['router']))";
    let router = python(&["-c", read]);

    let mut paths = BTreeSet::new();
    for (name, event) in events() {
        let route = event["routeKey"].as_str().unwrap();
        paths.extend(route.split_once(' ').map(|(_, path)| path.to_owned()));
        assert_eq!(emulated(&router, route), Some(resource_of(function_of(&name))), "{route}");
        if let Some(path) = route.strip_prefix("GET ") {
            let head = emulated(&router, &format!("HEAD {path}"));
            assert_eq!(head, Some(resource_of(function_of(&name))), "{route}");
        }
    }

    assert_eq!(paths, router.as_object().unwrap().keys().cloned().collect());
}

#[test]
fn a_route_asks_for_a_token_where_there_is_a_sample_without_one_and_nowhere_else() {
    let without_claims: Vec<String> = events()
        .into_iter()
        .filter_map(|(name, _)| name.strip_suffix("-without-claims").map(resource_of))
        .collect();
    assert_eq!(without_claims.len(), 10);

    for (route, operation) in routes() {
        let target = operation["x-amazon-apigateway-integration"]["uri"].to_string();
        let is_private = without_claims.iter().any(|function| target.contains(function));
        let security = operation.get("security");
        assert_eq!(security, is_private.then_some(&json!([{"Cognito": []}])), "{route}");
    }
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
