//! What template.yaml promises, asked of what CloudFormation gets: SAM's own translator writes that
//! here, too, without AWS. moto's CloudFormation would skip most of it without a word.

mod api;
mod functions;
mod kept;
mod lines;
mod openapi;
mod parameters;
mod permissions;
mod watching;

use api::routes;

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use cruddur_tests::functions as function_names;
use serde_json::Value;

/// The translated template, all parameters at their defaults.
pub(crate) fn stack() -> &'static Value {
    static STACK: OnceLock<Value> = OnceLock::new();
    STACK.get_or_init(|| python(&["translate_template.py"]))
}

/// What a Python program in this directory prints, which must be JSON.
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

/// A resource's properties; panics if there is none of that name and type.
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
