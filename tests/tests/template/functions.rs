//! The functions of the stack and their layer.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{all_functions, deployed, everything, names_of, properties, python, stack};

/// The layer's name has a hash of its properties.
fn layer() -> &'static str {
    let layers = names_of("AWS::Lambda::LayerVersion");
    assert_eq!(layers.len(), 1);
    layers[0]
}

#[test]
fn there_is_a_function_for_every_binary_and_no_other() {
    let expected: BTreeSet<String> = all_functions().into_iter().map(|(_, it)| it).collect();

    let found = names_of("AWS::Lambda::Function").into_iter().map(str::to_owned).collect();

    assert_eq!(expected, found);
    for (name, resource) in all_functions() {
        let metadata = &stack()["Resources"][&resource]["Metadata"];
        let expected =
            json!({"BuildMethod": "rust-cargolambda", "BuildProperties": {"Binary": "functions"}});
        assert_eq!(*metadata, expected);
        let function = &stack()["Resources"][&resource]["Properties"];
        assert_eq!(function["Handler"], name);
    }
}

/// A deployed function has what `cargo lambda deploy` sets by functions/Cargo.toml.
#[test]
fn every_function_is_set_up_as_a_function_that_is_deployed_alone() {
    let manifest = include_str!("../../../functions/Cargo.toml");
    let set = |line: &str| assert!(manifest.contains(&format!("\n{line}\n")), "{line}");
    for (_, resource) in all_functions() {
        let function = &everything()[&resource]["Properties"];
        set(&format!("memory = {}", function["MemorySize"]));
        set(&format!("timeout = {}", function["Timeout"]));
        let tracing = function["TracingConfig"]["Mode"].as_str().expect("a mode");
        set(&format!("tracing = \"{}\"", tracing.to_lowercase()));
        let service = &function["Environment"]["Variables"]["OTEL_SERVICE_NAME"];
        set(&format!("env = {{ OTEL_SERVICE_NAME = {service} }}"));
    }
}

/// Variables of the extension and of the functions, from their tables.
fn is_read_by_the_code(variable: &str) -> bool {
    let tables = [
        include_str!("../../../extension/README.md"),
        include_str!("../../../functions/src/config/mod.rs"),
    ];
    tables.iter().any(|table| table.contains(&format!("`{variable}`")))
}

#[test]
fn every_variable_is_read_and_none_is_a_key() {
    for (_, resource) in all_functions() {
        let variables = &everything()[&resource]["Properties"]["Environment"]["Variables"];
        for (variable, value) in variables.as_object().expect("variables") {
            assert!(is_read_by_the_code(variable), "{variable} has no reader");
            assert!(variable != "HONEYCOMB_API_KEY" && variable != "ROLLBAR_ACCESS_TOKEN");
            assert!(!value.as_str().is_some_and(str::is_empty), "{variable} is empty");
        }
    }
}

#[test]
fn exporters_run_only_with_their_key() {
    let key = "arn:aws:ssm:eu-central-1:123456789012:parameter/key";
    let rows: [(&[(&str, &str)], &str); 6] = [
        (&[], "xray,cloudwatch"),
        (&[("HoneycombApiKeySecret", key)], "honeycomb,xray,cloudwatch"),
        (&[("OtlpEndpoint", "https://otel.example")], "otlp,xray,cloudwatch"),
        (
            &[("HoneycombApiKeySecret", key), ("OtlpEndpoint", "https://otel.example")],
            "honeycomb,otlp,xray,cloudwatch",
        ),
        (&[("RollbarAccessTokenSecret", key)], "xray,cloudwatch,rollbar"),
        (
            &[("HoneycombApiKeySecret", key), ("RollbarAccessTokenSecret", key)],
            "honeycomb,xray,cloudwatch,rollbar",
        ),
    ];
    let stacks: Vec<_> = rows.iter().map(|(given, _)| ("a-stack", *given)).collect();

    let outcomes = deployed(&stacks);

    for ((_, expected), outcome) in rows.iter().zip(outcomes) {
        let function = &outcome["resources"]["HealthCheckFunction"]["Properties"];
        assert_eq!(function["Environment"]["Variables"]["CRUDDUR_EXPORTERS"], *expected);
        let may_read =
            outcome["resources"]["TelemetryPolicy"].to_string().contains("ssm:GetParameter");
        assert_eq!(may_read, expected.contains("honeycomb") || expected.contains("rollbar"));
    }
}

#[test]
fn the_layer_is_built_by_the_makefile_of_the_stacks_architecture() {
    let properties = properties(layer(), "AWS::Lambda::LayerVersion");
    assert_eq!(properties["CompatibleArchitectures"], json!([{"Ref": "Architecture"}]));
    let template = include_str!("../../../template.yaml");
    assert!(template.contains("      ContextPath: !Sub .dev/${Architecture}\n"));
    for architecture in stack()["Parameters"]["Architecture"]["AllowedValues"].as_array().unwrap() {
        let architecture = architecture.as_str().expect("an architecture");
        let makefile = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../.dev")
            .join(architecture)
            .join("Makefile");
        let makefile = std::fs::read_to_string(makefile).unwrap();
        assert!(makefile.contains(&format!("ARCHITECTURE := {architecture}\n")), "{makefile}");
    }
}

#[test]
fn the_template_is_translated_for_the_other_architecture() {
    let other = python(&["translate_template.py", "Architecture=x86_64"]);

    let layers = other["Resources"].as_object().unwrap().values();
    let layers: Vec<&Value> =
        layers.filter(|it| it["Type"] == "AWS::Lambda::LayerVersion").collect();
    assert_eq!(layers.len(), 1);
}
