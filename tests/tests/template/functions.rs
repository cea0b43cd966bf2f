//! How the functions and their layer are set up.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{all_functions, names_of, properties, python, stack};

/// The layer's name has a hash of what is in it.
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
}

#[test]
fn every_function_is_set_up_alike_and_named_by_its_binary() {
    for (name, resource) in all_functions() {
        let function = properties(&resource, "AWS::Lambda::Function");
        let metadata = &stack()["Resources"][&resource]["Metadata"];
        assert_eq!(
            *metadata,
            json!({"BuildMethod": "rust-cargolambda", "BuildProperties": {"Binary": name}})
        );
        let expected = json!({
            "FunctionName": {"Fn::Sub": format!("${{AWS::StackName}}-{name}")},
            "Runtime": "provided.al2023",
            "Handler": "bootstrap",
            "Architectures": [{"Ref": "Architecture"}],
            "MemorySize": 256,
            "Timeout": 10,
            "TracingConfig": {"Mode": "Active"},
            "Layers": [{"Ref": layer()}],
            "LoggingConfig": {
                "LogFormat": "JSON",
                "ApplicationLogLevel": "INFO",
                "LogGroup":
                    {"Fn::If": ["KeepsPlatformLogs", {"Ref": "PlatformLogGroup"}, "cruddur-platform"]},
            },
            "Role": {"Fn::GetAtt": [format!("{resource}Role"), "Arn"]},
        });
        for (property, value) in expected.as_object().unwrap() {
            assert_eq!(function[property], *value, "{resource}.{property}");
        }
    }
}

#[test]
fn functions_and_extension_are_told_where_everything_is_and_no_key() {
    let none = json!({"Ref": "AWS::NoValue"});
    for (name, resource) in all_functions() {
        let function = properties(&resource, "AWS::Lambda::Function");
        let mut expected = json!({
            "OTEL_RESOURCE_ATTRIBUTES": "app.name=cruddur",
            "CRUDDUR_TABLE": {"Ref": "CruddurTable"},
            "CRUDDUR_WRITE_QUOTA": {"Ref": "WriteQuota"},
            "CRUDDUR_LOG_GROUP": {"Ref": "LogGroup"},
            "CRUDDUR_EXPORTERS": {"Fn::Join": [",", [
                {"Fn::If": ["SendsToHoneycomb", "honeycomb", none]},
                "xray",
                "cloudwatch",
                {"Fn::If": ["SendsToRollbar", "rollbar", none]},
            ]]},
            "HONEYCOMB_API_KEY_SECRET":
                {"Fn::If": ["SendsToHoneycomb", {"Ref": "HoneycombApiKeySecret"}, none]},
            "HONEYCOMB_API_ENDPOINT": {"Ref": "HoneycombApiEndpoint"},
            "ROLLBAR_ACCESS_TOKEN_SECRET":
                {"Fn::If": ["SendsToRollbar", {"Ref": "RollbarAccessTokenSecret"}, none]},
            "ROLLBAR_ENVIRONMENT": {"Ref": "RollbarEnvironment"},
        });
        if name == "browser-traces" {
            // It checks by itself who sends: the gateway's CORS only tells browsers.
            expected["FRONTEND_URL"] = json!({"Ref": "PageOrigin"});
        }
        assert_eq!(function["Environment"]["Variables"], expected, "{resource}");
    }
}

#[test]
fn the_layer_is_built_by_the_makefile_of_the_stacks_architecture() {
    let properties = properties(layer(), "AWS::Lambda::LayerVersion");
    assert_eq!(properties["LayerName"], "cruddur-telemetry");
    assert_eq!(properties["CompatibleArchitectures"], json!([{"Ref": "Architecture"}]));

    let template = include_str!("../../../template.yaml");
    for line in [
        "      BuildMethod: makefile\n      BuildArchitecture: !Ref Architecture\n",
        "      ContextPath: !Sub .dev/${Architecture}\n      WorkingDirectory: .\n",
    ] {
        assert!(template.contains(line), "{line}");
    }
    for architecture in ["arm64", "x86_64"] {
        let makefile = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../.dev")
            .join(architecture)
            .join("Makefile");
        let makefile = std::fs::read_to_string(makefile).unwrap();
        assert!(makefile.contains(&format!("ARCHITECTURE := {architecture}\n")), "{makefile}");
    }
}

#[test]
fn the_other_architecture_is_a_parameter() {
    let parameter = &stack()["Parameters"]["Architecture"];
    assert_eq!(parameter["Default"], "arm64");
    assert_eq!(parameter["AllowedValues"], json!(["arm64", "x86_64"]));

    let other = python(&["translate_template.py", "Architecture=x86_64"]);

    let layers = other["Resources"].as_object().unwrap().values();
    let layers: Vec<&Value> =
        layers.filter(|it| it["Type"] == "AWS::Lambda::LayerVersion").collect();
    assert_eq!(layers.len(), 1);
}
