//! Two stacks side by side in one account of moto, which knows the types of most resources.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use cruddur_tests::moto;
use serde_json::Value;

use super::{aws, python};

/// Types that moto's CloudFormation does not know. Rules on the translated template cover their names.
const NOT_AT_MOTO: [&str; 8] = [
    "AWS::ApiGatewayV2::Api",
    "AWS::ApiGatewayV2::Stage",
    "AWS::CloudWatch::Alarm",
    "AWS::Cognito::UserPool",
    "AWS::Cognito::UserPoolClient",
    "AWS::Logs::MetricFilter",
    "AWS::Logs::QueryDefinition",
    "AWS::XRay::Group",
];

/// Creates the place of the code that the translated template names.
fn upload_code() {
    let region = ["--create-bucket-configuration", "LocationConstraint=eu-central-1"];
    aws(&[&["s3api", "create-bucket", "--bucket", "bucket"][..], &region].concat());
    let code = tempfile::NamedTempFile::new().expect("a file");
    let path = code.path().display().to_string();
    aws(&["s3api", "put-object", "--bucket", "bucket", "--key", "key", "--body", &path]);
}

/// Deploys what moto can; returns the physical names by type.
fn deploy(name: &str) -> BTreeMap<String, BTreeSet<String>> {
    let made = python(&["moto_template.py", name]);
    let left_out: Vec<&str> =
        made["left_out"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    assert_eq!(left_out, NOT_AT_MOTO);
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), made["template"].to_string()).expect("the template");
    let body = format!("file://{}", file.path().display());
    let create = ["cloudformation", "create-stack", "--stack-name", name];
    aws(&[&create[..], &["--capabilities", "CAPABILITY_IAM", "--template-body", &body]].concat());

    let stack = aws(&["cloudformation", "describe-stacks", "--stack-name", name]);
    assert_eq!(stack["Stacks"][0]["StackStatus"], "CREATE_COMPLETE");
    let listed = aws(&["cloudformation", "list-stack-resources", "--stack-name", name]);
    let mut names = BTreeMap::<String, BTreeSet<String>>::new();
    for resource in listed["StackResourceSummaries"].as_array().expect("resources") {
        let [kind, name] = ["ResourceType", "PhysicalResourceId"]
            .map(|it| resource[it].as_str().expect("a text").to_owned());
        // moto gives a layer no physical name.
        if !name.is_empty() {
            names.entry(kind).or_default().insert(name);
        }
    }
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn two_stacks_are_created_side_by_side_and_share_no_resource() {
    upload_code();

    let [first, second] = ["first", "second"].map(|name| deploy(&moto::unique(name)));

    assert_eq!(first.keys().collect::<Vec<_>>(), second.keys().collect::<Vec<_>>());
    assert_eq!(first["AWS::Lambda::Function"].len(), super::all_functions().len());
    for (kind, names) in &first {
        let shared: Vec<_> = names.intersection(&second[kind]).collect();
        assert!(shared.is_empty(), "{kind}: {shared:?}");
    }
}
