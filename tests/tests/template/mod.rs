//! template.yaml as CloudFormation receives it: SAM's own translator runs here, too, without AWS. A
//! model of CloudFormation's functions gives the resources of one stack.

mod alarms;
mod api;
mod build;
mod dashboard;
mod functions;
mod gateway_log;
mod lines;
mod openapi;
mod parameters;
mod permissions;
mod rollback;
mod smoke;
mod snapshot;
mod stacks;
mod traces;

use api::routes;

use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;

use cruddur_tests::{functions as function_names, moto};
use serde_json::{Value, json};

/// The translated template, all parameters at their defaults.
pub(crate) fn stack() -> &'static Value {
    static STACK: OnceLock<Value> = OnceLock::new();
    STACK.get_or_init(|| python(&["translate_template.py"]))
}

/// The name and parameters of a stack.
type Deployment<'a> = (&'a str, &'a [(&'a str, &'a str)]);

/// The outcome of each deployment: `resources` and `outputs`, or the `refused` parameters.
fn deployed(stacks: &[Deployment<'_>]) -> Vec<Value> {
    let parameters = |given: &[(&str, &str)]| -> Value {
        given.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect()
    };
    let stacks: Value =
        stacks.iter().map(|(name, given)| json!([name, parameters(given)])).collect();
    let outcomes = python(&["resolve_template.py", &stacks.to_string()]);
    outcomes.as_array().expect("an outcome for each stack").clone()
}

/// Parameters under which every resource of the template exists.
const EVERYTHING: [(&str, &str); 12] = [
    ("AlarmTopicArn", "arn:aws:sns:eu-central-1:123456789012:alarms"),
    ("AuditTrail", "on"),
    ("ExpectedRequestsPerHour", "10"),
    ("HoneycombApiKeySecret", "arn:aws:ssm:eu-central-1:123456789012:parameter/honeycomb"),
    ("Metrics", "detailed"),
    ("MonthlyBudget", "5"),
    ("OtlpEndpoint", "https://otel.example"),
    ("OtlpHeadersSecret", "arn:aws:ssm:eu-central-1:123456789012:parameter/otlp"),
    ("PlatformLogs", "keep"),
    ("RollbarAccessTokenSecret", "arn:aws:ssm:eu-central-1:123456789012:parameter/rollbar"),
    ("TransactionSearch", "on"),
    ("XRaySamplingRuleName", "a-rule"),
];

/// The resources of a stack with all of them.
fn everything() -> &'static Value {
    static EVERY: OnceLock<Value> = OnceLock::new();
    EVERY.get_or_init(|| deployed(&[("a-stack", &EVERYTHING)]).remove(0)["resources"].take())
}

/// The JSON that a Python program in this directory prints.
fn python(arguments: &[&str]) -> Value {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(tests.join("../.venv/bin/python3"))
        .current_dir(tests)
        .args(arguments)
        .output()
        .expect("Python is in .venv; `make test` puts it there");
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {problem}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Runs a program with the AWS CLI on its path and moto in the place of AWS.
fn with_moto(program: &Path, arguments: &[&str]) -> Output {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.venv/bin");
    let venv = venv.canonicalize().expect(".venv; `make test` creates it");
    let path = format!("{}:{}", venv.display(), std::env::var("PATH").unwrap_or_default());
    let output = Command::new(program)
        .args(arguments)
        .env("PATH", path)
        .env("AWS_ENDPOINT_URL", moto::url())
        .env("AWS_ACCESS_KEY_ID", "a-key")
        .env("AWS_SECRET_ACCESS_KEY", "a-secret")
        .env("AWS_DEFAULT_REGION", "eu-central-1")
        .output();
    output.unwrap_or_else(|problem| panic!("{}: {problem}", program.display()))
}

/// The AWS CLI's answer.
fn aws(arguments: &[&str]) -> Value {
    let output = with_moto(Path::new("aws"), &[arguments, &["--output", "json"]].concat());
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {problem}");
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// A resource's properties; panics without a resource of that name and type.
fn properties(name: &str, kind: &str) -> &'static Value {
    let resource = &stack()["Resources"][name];
    assert_eq!(resource["Type"], kind, "{name}");
    &resource["Properties"]
}

/// The names of all resources of a type.
fn names_of(kind: &str) -> Vec<&'static str> {
    let all = stack()["Resources"].as_object().expect("resources");
    all.iter().filter(|(_, it)| it["Type"] == kind).map(|(name, _)| name.as_str()).collect()
}

/// `home-activities` is the binary of `HomeActivitiesFunction`.
pub(crate) fn resource_of(function: &str) -> String {
    let capital = |part: &str| {
        let (first, rest) = part.split_at(1);
        first.to_uppercase() + rest
    };
    function.split('-').map(capital).collect::<String>() + "Function"
}

/// Each function's name and its resource's.
fn all_functions() -> Vec<(String, String)> {
    let names = function_names().into_iter();
    names.map(|name| (name.clone(), resource_of(&name))).collect()
}
