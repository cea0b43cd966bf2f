//! A first deployment that fails leaves nothing behind, and stacks do not collide: rules on the
//! resources of whole stacks. CloudFormation itself is not asked.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{EVERYTHING, deployed, everything, python};

/// Resources of a stack, with their names.
fn resources(stack: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let all = stack.as_object().expect("resources").iter();
    all.map(|(name, resource)| (name.as_str(), resource))
}

fn is_protected(properties: &Value) -> bool {
    let kinds = ["DeletionProtection", "DeletionProtectionEnabled", "EnableTerminationProtection"];
    let values = kinds.iter().filter_map(|kind| properties.get(*kind));
    values.into_iter().any(|value| *value != false && *value != "INACTIVE" && *value != "false")
}

#[test]
fn a_rollback_deletes_no_resource_that_refuses_its_deletion() {
    for (name, resource) in resources(everything()) {
        let is_deleted = resource["DeletionPolicy"] != "Retain";
        assert!(!is_deleted || !is_protected(&resource["Properties"]), "{name} is protected");
        // CloudTrail writes into its bucket at once, and S3 deletes no bucket with files.
        let is_bucket = resource["Type"] == "AWS::S3::Bucket";
        assert!(!is_bucket || !is_deleted, "{name} may hold files");
    }
}

#[test]
fn a_deleted_stack_keeps_its_data_and_the_accounts_search_and_no_log_group() {
    let kept: BTreeSet<&str> = resources(everything())
        .filter(|(_, it)| {
            let policy = it["DeletionPolicy"].as_str().unwrap_or("Delete");
            let replaced = it["UpdateReplacePolicy"].as_str().unwrap_or("Delete");
            let (is_kept, outlives) = (policy.starts_with("Retain"), replaced == "Retain");
            assert!(is_kept == outlives || it["Type"] == "AWS::Lambda::LayerVersion", "{it}");
            is_kept
        })
        .map(|(_, it)| it["Type"].as_str().expect("a type"))
        .collect();

    let expected = [
        "AWS::Cognito::UserPool",
        "AWS::Cognito::UserPoolClient",
        "AWS::DynamoDB::Table",
        "AWS::Lambda::LayerVersion",
        "AWS::Logs::ResourcePolicy",
        "AWS::S3::Bucket",
        "AWS::XRay::TransactionSearchConfig",
    ];
    assert_eq!(kept, expected.into());
}

#[test]
fn no_function_can_create_the_log_group_again_after_the_stack_is_deleted() {
    let policy = &everything()["TelemetryPolicy"]["Properties"]["PolicyDocument"];
    let statements = policy["Statement"].as_array().expect("statements").iter();
    let denials = statements.filter(|it| it["Effect"] == "Deny" && it["Resource"] == "*");

    let denied: Vec<&str> = denials.filter_map(|it| it["Action"].as_str()).collect();

    assert_eq!(denied, ["logs:CreateLogGroup"]);
}

/// Properties by which AWS knows a resource in the account, with the longest name.
/// Resources without them get a generated name.
const NAMES: [(&str, &str, usize); 11] = [
    ("AWS::Cognito::UserPool", "UserPoolName", 128),
    ("AWS::Logs::LogGroup", "LogGroupName", 512),
    ("AWS::Logs::QueryDefinition", "Name", 255),
    ("AWS::Logs::ResourcePolicy", "PolicyName", 255),
    ("AWS::XRay::Group", "GroupName", 32),
    ("AWS::CloudWatch::Dashboard", "DashboardName", 255),
    ("AWS::CloudTrail::Trail", "TrailName", 128),
    ("AWS::Lambda::LayerVersion", "LayerName", 140),
    ("AWS::Logs::MetricFilter", "MetricTransformations", 255),
    ("AWS::ApiGatewayV2::Api", "Body", 128),
    ("AWS::CloudWatch::Alarm", "Namespace", 255),
];

/// Types whose names are those of other resources: a permission's function, and the stage of one API.
const NOT_NAMES: [&str; 2] = ["AWS::Lambda::Permission", "AWS::ApiGatewayV2::Stage"];

/// The names that a stack gives, each with the most characters that AWS accepts.
fn names(stack: &Value) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (resource, it) in resources(stack) {
        let (kind, properties) = (it["Type"].as_str().expect("a type"), &it["Properties"]);
        let named = NAMES.iter().find(|(named, ..)| *named == kind);
        for (property, value) in properties.as_object().into_iter().flatten() {
            let is_name = property.ends_with("Name") && property != "MetricName";
            let Some((_, wanted, longest)) = named else {
                assert!(!is_name || NOT_NAMES.contains(&kind), "{resource}.{property} = {value}");
                continue;
            };
            let is_reference = value.as_str().is_some_and(|it| it.starts_with('<'));
            let name = match property.as_str() {
                "MetricTransformations" => &value[0]["MetricNamespace"],
                "Body" => &value["info"]["title"],
                "Namespace" if value.as_str().is_some_and(|it| it.starts_with("AWS/")) => continue,
                property if property == *wanted => value,
                _ if is_reference || !is_name => continue,
                _ => panic!("{resource}.{property} = {value} has no rule here"),
            };
            let name = name.as_str().unwrap_or_else(|| panic!("{resource}: {name}"));
            found.push((format!("{kind} {name}"), *longest));
        }
    }
    found
}

#[test]
fn two_stacks_in_one_account_share_no_name() {
    let outcomes = deployed(&[("cruddur", &EVERYTHING), ("staging", &EVERYTHING)]);

    let [first, second] = [0, 1].map(|stack| -> BTreeSet<String> {
        names(&outcomes[stack]["resources"]).into_iter().map(|(name, _)| name).collect()
    });

    assert!(first.len() > 10, "{first:?}");
    let shared: Vec<_> = first.intersection(&second).collect();
    assert!(shared.is_empty(), "{shared:?}");
}

#[test]
fn no_default_name_is_one_that_the_original_took() {
    let outcome = &deployed(&[("cruddur", &[("AuditTrail", "on")])])[0];

    let names: BTreeSet<String> =
        names(&outcome["resources"]).into_iter().map(|(name, _)| name).collect();

    for taken in ["AWS::Logs::LogGroup cruddur", "AWS::XRay::Group Cruddur"] {
        assert!(!names.contains(taken), "{taken}");
    }
    let rules =
        resources(&outcome["resources"]).filter(|(_, it)| it["Type"] == "AWS::XRay::SamplingRule");
    assert_eq!(rules.count(), 0);
}

#[test]
fn names_fit_for_the_shortest_and_the_longest_name_of_a_stack() {
    let longest = "s".repeat(128);
    for outcome in deployed(&[("s", &EVERYTHING), (&longest, &EVERYTHING)]) {
        for (name, most) in names(&outcome["resources"]) {
            let (kind, name) = name.split_once(' ').expect("a name");
            assert!(name.len() <= most, "{kind}: {} characters: {name}", name.len());
            assert!(kind != "AWS::CloudTrail::Trail" || name.len() >= 3, "{name}");
        }
    }
}

#[test]
fn given_names_replace_the_generated_ones() {
    let given = [
        ("LogGroupName", "cruddur"),
        ("XRayGroupName", "Cruddur"),
        ("XRaySamplingRuleName", "Cruddur"),
    ];
    let resources = &deployed(&[("a-stack", &given)])[0]["resources"];

    assert_eq!(resources["LogGroup"]["Properties"]["LogGroupName"], "cruddur");
    assert_eq!(resources["XRayGroup"]["Properties"]["GroupName"], "Cruddur");
    let rule = &resources["XRaySamplingRule"]["Properties"]["SamplingRule"];
    assert_eq!((&rule["RuleName"], &rule["ServiceName"]), (&"Cruddur".into(), &"cruddur".into()));
}

#[test]
fn a_given_table_and_a_given_pool_are_used_and_none_is_created() {
    let table = "arn:aws:dynamodb:eu-central-1:123456789012:table/earlier";
    let given = [
        ("ExistingTableArn", table),
        ("CognitoUserPoolId", "ca-central-1_AbCdEfGhI"),
        ("CognitoClientIds", "page,mobile"),
    ];
    let outcome = &deployed(&[("a-stack", &given)])[0];

    let resources = &outcome["resources"];
    for own in ["CruddurTable", "UserPool", "UserPoolClient"] {
        assert!(resources.get(own).is_none(), "{own}");
    }
    let variables = &resources["HomeActivitiesFunction"]["Properties"]["Environment"]["Variables"];
    assert_eq!(variables["CRUDDUR_TABLE"], "earlier");
    let role = resources["HomeActivitiesFunctionRole"].to_string();
    assert!(role.contains(&format!("\"{table}\"")), "{role}");
    assert!(role.contains(&format!("\"{table}/index/listing\"")), "{role}");
    let body = &resources["Api"]["Properties"]["Body"];
    let scheme = &body["components"]["securitySchemes"]["Cognito"];
    let jwt = &scheme["x-amazon-apigateway-authorizer"]["jwtConfiguration"];
    assert_eq!(jwt["audience"], serde_json::json!(["page", "mobile"]));
    let issuer = "https://cognito-idp.ca-central-1.amazonaws.com/ca-central-1_AbCdEfGhI";
    assert_eq!(jwt["issuer"], issuer);
    assert_eq!(outcome["outputs"]["TableArn"]["Value"], table);
    for metric in resources["ThrottlesAlarm"]["Properties"]["Metrics"].as_array().unwrap() {
        let dimensions = &metric["MetricStat"]["Metric"]["Dimensions"];
        assert!(dimensions.is_null() || dimensions[0]["Value"] == "earlier", "{metric}");
    }
}

/// IAM's resources have generated names, so CAPABILITY_IAM is enough.
#[test]
fn the_saved_answers_are_all_that_a_deployment_needs() {
    let program = "import json, tomllib\n\
        file = open('../.dev/samconfig.toml', 'rb')\n\
        print(json.dumps(tomllib.load(file)['default']['deploy']['parameters']))";

    let answers = python(&["-c", program]);

    let of_iam =
        resources(everything()).filter(|(_, it)| it["Type"].to_string().contains("::IAM::"));
    for (name, resource) in of_iam {
        let properties = resource["Properties"].as_object().expect("properties");
        assert!(!properties.keys().any(|it| it.ends_with("Name")), "{name}");
    }
    assert_eq!(answers["capabilities"], "CAPABILITY_IAM");
    assert_eq!((&answers["resolve_s3"], &answers["stack_name"]), (&true.into(), &"cruddur".into()));
    assert_eq!(answers["confirm_changeset"], false);
}
