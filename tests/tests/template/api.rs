//! The routes of the gateway, and the callers that it admits.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{deployed, everything, properties, python};

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
fn all_given_pages_may_call() {
    let given = [("PageOrigins", "https://cruddur.example,http://localhost:3000")];

    let resources = &deployed(&[("a-stack", &given)])[0]["resources"];

    let origins = json!(["https://cruddur.example", "http://localhost:3000"]);
    let cors = &resources["Api"]["Properties"]["Body"]["x-amazon-apigateway-cors"];
    assert_eq!(cors["allowOrigins"], origins);
    assert_eq!(cors["maxAge"], 600);
    // The function checks the origin as well: the gateway's answer restrains browsers only.
    let variables = &resources["BrowserTracesFunction"]["Properties"]["Environment"]["Variables"];
    assert_eq!(variables["FRONTEND_URL"], given[0].1);
}

#[test]
fn without_a_page_no_page_may_call() {
    let resources = &deployed(&[("a-stack", &[("PageOrigins", "")])])[0]["resources"];

    let body = &resources["Api"]["Properties"]["Body"];
    assert!(body.get("x-amazon-apigateway-cors").is_none(), "{body}");
}

#[test]
fn the_public_route_that_writes_is_throttled_more_than_the_others_and_measured_alike() {
    let stage = &everything()["ApiApiGatewayDefaultStage"]["Properties"];
    let (default, routes) = (&stage["DefaultRouteSettings"], &stage["RouteSettings"]);
    let settings = routes.as_object().expect("settings of routes");

    for (route, operation) in self::routes() {
        let is_read = ["GET ", "HEAD "].iter().any(|method| route.starts_with(method));
        if is_read || operation.get("security").is_some() {
            continue;
        }
        let own = settings.get(&route).unwrap_or_else(|| panic!("{route} has no limit"));
        for limit in ["ThrottlingRateLimit", "ThrottlingBurstLimit"] {
            assert!(own[limit].as_f64() < default[limit].as_f64(), "{route}: {limit}");
        }
    }
    for (route, own) in settings {
        let detail = "DetailedMetricsEnabled";
        assert_eq!(own[detail], default[detail], "{route} replaces the default");
    }
}

#[test]
fn concurrency_is_reserved_for_public_functions_if_asked_for_and_for_no_other() {
    let stacks = deployed(&[("none", &[]), ("some", &[("PublicConcurrency", "5")])]);
    let public = |function: &str| {
        let mut own = routes().into_iter().filter(|(_, operation)| {
            operation.to_string().contains(&format!("${{{function}.Arn}}"))
        });
        own.any(|(_, operation)| operation.get("security").is_none())
    };
    let reserved = |stack: &Value, function: &str| {
        stack["resources"][function]["Properties"].get("ReservedConcurrentExecutions").cloned()
    };

    for (_, function) in super::all_functions() {
        assert_eq!(reserved(&stacks[0], &function), None, "{function}");
        let expected = public(&function).then(|| json!("5"));
        assert_eq!(reserved(&stacks[1], &function), expected, "{function}");
    }
}

#[test]
fn a_guided_deployment_asks_nothing_about_functions_without_authentication() {
    // The question that `sam deploy --guided` asks for each such function; its default is to stop.
    let program = "import json, os\n\
        os.environ['AWS_DEFAULT_REGION'] = 'eu-central-1'\n\
        from samcli.commands.deploy.auth_utils import auth_per_resource\n\
        from samcli.lib.providers.sam_stack_provider import SamLocalStackProvider\n\
        stacks, _ = SamLocalStackProvider.get_stacks('../template.yaml')\n\
        print(json.dumps(auth_per_resource(stacks)))";

    let events = python(&["-c", program]);

    let events = events.as_array().expect("a row for each event");
    assert!(events.len() > 20, "{events:?}");
    assert!(events.iter().all(|event| event[1] == true), "{events:?}");
}
