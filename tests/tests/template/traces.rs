//! The X-Ray group selects the traces of one stack.

use cruddur_tests::event::new_trace_header;
use cruddur_tests::{Sandbox, Xray, event};
use serde_json::Value;

use super::deployed;

/// The annotation that the group's filter requires: `annotation.name = "value" AND …`.
fn required_annotation(stack: &Value) -> (&str, &str) {
    let filter = stack["resources"]["XRayGroup"]["Properties"]["FilterExpression"].as_str();
    let filter = filter.expect("a filter");
    let required = filter.strip_prefix("annotation.").and_then(|it| it.split_once(" AND ("));
    let (name, value) = required.and_then(|(it, _)| it.split_once(" = ")).expect("an annotation");
    (name, value.trim_matches('"'))
}

#[tokio::test]
async fn a_failed_trace_is_in_the_group_of_its_stack_and_not_in_that_of_another() {
    let stacks = deployed(&[("first", &[]), ("second", &[])]);
    let function = &stacks[0]["resources"]["HomeActivitiesFunction"]["Properties"];
    let attributes = &function["Environment"]["Variables"]["OTEL_RESOURCE_ATTRIBUTES"];
    let xray = Xray::start().await;
    let sandbox = Sandbox::builder("home-activities")
        .env("CRUDDUR_EXPORTERS", "xray")
        .env("AWS_ENDPOINT_URL_XRAY", &xray.url())
        .env("OTEL_RESOURCE_ATTRIBUTES", attributes.as_str().expect("a list"))
        .demo_store()
        .start()
        .await;
    let panicking = event("home-activities").header("x-cruddur-fault", "panic");

    let reply = sandbox.invoke(panicking.trace_header(&new_trace_header())).await;
    sandbox.ended(&reply.request_id).await;
    sandbox.shutdown().await;

    let documents = xray.documents();
    let entry = documents.iter().find(|it| it["annotations"]["http_route"].is_string());
    let entry = entry.unwrap_or_else(|| panic!("no request among {documents:#?}"));
    assert_eq!(entry["fault"], true, "{entry}");
    let is_in = |stack| {
        let (name, value) = required_annotation(stack);
        entry["annotations"][name] == value
    };
    assert_eq!([is_in(&stacks[0]), is_in(&stacks[1])], [true, false], "{entry}");
}
