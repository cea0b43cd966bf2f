//! `functions/openapi.yaml` describes the API: each other list of routes and codes is compared with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use cruddur_tests::function_of;
use serde_json::{Value, json};

use super::{names_of, properties, python, resource_of, routes};
use crate::documents::routes_of_readme;

/// A route, its function's resource, and whether it needs a token.
type Routes = BTreeMap<String, (String, bool)>;

fn document() -> Value {
    let read =
        "import json, yaml; print(json.dumps(yaml.safe_load(open('../functions/openapi.yaml'))))";
    python(&["-c", read])
}

/// The routes of a document's `paths`, with their operations.
fn described(document: &Value) -> BTreeMap<String, &Value> {
    let mut routes = BTreeMap::new();
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            routes.insert(format!("{} {path}", method.to_uppercase()), operation);
        }
    }
    routes
}

fn deployed() -> Routes {
    let mut found = Routes::new();
    for (route, operation) in routes() {
        let integration = &operation["x-amazon-apigateway-integration"];
        assert_eq!(integration["payloadFormatVersion"], "2.0", "{route}");
        let target = integration["uri"]["Fn::Sub"].as_str().expect("a target");
        let function = target.split("${").last().and_then(|end| end.split(".Arn}").next());
        let security = operation.get("security");
        assert!(security.is_none_or(|it| *it == json!([{"Cognito": []}])), "{route}");
        let function = function.expect("a function").to_owned();
        found.insert(route, (function, security.is_some()));
    }
    found
}

/// The routes of the sample events. A route is private if there is an event without claims.
fn sampled() -> Routes {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events");
    let mut found = Routes::new();
    let mut private = BTreeSet::new();
    for file in fs::read_dir(directory).expect("the sample events").flatten() {
        let text = fs::read_to_string(file.path()).expect("a sample event");
        let event: Value = serde_json::from_str(&text).expect("JSON");
        let name = file.file_name().into_string().expect("a name").replace(".json", "");
        let function = resource_of(function_of(&name));
        if name.ends_with("-without-claims") {
            private.insert(function.clone());
        }
        let route = event["routeKey"].as_str().expect("a route").to_owned();
        found.insert(route, (function, false));
    }
    for (function, is_private) in found.values_mut() {
        *is_private = private.contains(function);
    }
    // One sample stands for the method HEAD of all routes.
    let of_reads: Vec<_> = found
        .iter()
        .filter_map(|(route, it)| {
            Some((format!("HEAD {}", route.strip_prefix("GET ")?), it.clone()))
        })
        .collect();
    found.extend(of_reads);
    found
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
fn the_routes_of_template_events_emulator_and_readme_are_those_of_the_document() {
    let document = document();
    let routes = described(&document);
    let is_private = |operation: &Value| operation.get("security").is_some();
    let private: BTreeMap<&String, bool> =
        routes.iter().map(|(route, operation)| (route, is_private(operation))).collect();

    let deployed = deployed();
    let found: BTreeMap<&String, bool> = deployed.iter().map(|(route, it)| (route, it.1)).collect();
    assert_eq!(found, private);
    assert_eq!(sampled(), deployed);
    let read = "import json, tomllib; manifest = tomllib.load(open('../Cargo.toml', 'rb')); \
        print(json.dumps(manifest['workspace']['metadata']['lambda']['watch']['router']))";
    let router = python(&["-c", read]);
    for (route, (function, _)) in &deployed {
        assert_eq!(emulated(&router, route).as_ref(), Some(function), "{route}");
    }
    let paths: BTreeSet<&String> = router.as_object().expect("paths").keys().collect();
    assert_eq!(paths, document["paths"].as_object().expect("paths").keys().collect());
    let is_listed = |route: &&String| !route.starts_with("HEAD "); // README has a sentence on these
    let listed: BTreeSet<String> = deployed.keys().filter(is_listed).cloned().collect();
    assert_eq!(routes_of_readme(), listed);
    // Each route may call its function. There is no other permission.
    let permissions = names_of("AWS::Lambda::Permission");
    assert_eq!(permissions.len(), deployed.len());
    for permission in permissions {
        let permission = properties(permission, "AWS::Lambda::Permission");
        assert_eq!(permission["Principal"], "apigateway.amazonaws.com");
        assert!(permission["SourceArn"].to_string().contains("__ApiId__"), "{permission}");
    }
}

/// The codes of errors in a part of a document.
fn codes(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            let is_list = fields.get("maxItems") == Some(&json!(1));
            let listed = fields.get("items").filter(|_| is_list).map(|items| &items["enum"]);
            let listed = listed.and_then(Value::as_array).into_iter().flatten();
            found.extend(listed.filter_map(|code| code.as_str().map(str::to_owned)));
            fields.values().for_each(|value| codes(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| codes(value, found)),
        _ => {}
    }
}

#[test]
fn the_codes_of_errors_are_those_of_the_document() {
    let mut described = BTreeSet::new();
    codes(&document()["components"]["responses"], &mut described);

    // Codes are the quoted words in the functions that choose them.
    let chosen = |source: &str, function: &str| -> BTreeSet<String> {
        let (_, body) = source.split_once(function).expect("the function");
        let (body, _) = body.split_once("\n    }\n").expect("its end");
        let is_code = |word: &&str| word.contains('_') || word.starts_with("generic");
        body.split('"').skip(1).step_by(2).filter(is_code).map(str::to_owned).collect()
    };
    let error = include_str!("../../../functions/src/http/error.rs");
    let invalid = include_str!("../../../functions/src/http/validation.rs");
    let mut expected = chosen(error, "fn status_and_code(");
    expected.extend(chosen(error, "fn code(self)"));
    expected.extend(chosen(invalid, "fn code(&self)"));
    assert!(expected.len() > 35, "{expected:?}");
    assert_eq!(described, expected);
}
