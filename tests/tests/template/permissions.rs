//! The role of each function allows the calls of the table that its endpoint makes, read from the
//! wire, and no others.

use std::collections::{BTreeMap, BTreeSet};

use cruddur_tests::{Event, Proxy, Recorded, Sandbox, Store, event, function_of};
use serde_json::{Value, json};

use super::{all_functions, deployed, everything, names_of};
use crate::api::samples;

/// An action and what it is done to: `table`, or `index`.
type Access = BTreeSet<(String, &'static str)>;

/// The actions behind a request. A transaction needs those that its parts would need alone.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html>
fn accesses(request: &Recorded) -> Access {
    let operation = request.operation().expect("a request of DynamoDB");
    let body: Value = serde_json::from_slice(&request.body).expect("JSON");
    let action = |name: &str| format!("dynamodb:{name}");
    match operation {
        "TransactWriteItems" => {
            let parts = body["TransactItems"].as_array().expect("its parts");
            let kinds = parts.iter().flat_map(|part| part.as_object().expect("a part").keys());
            kinds
                .map(|kind| match kind.as_str() {
                    "ConditionCheck" => action("ConditionCheckItem"),
                    kind => action(&format!("{kind}Item")),
                })
                .map(|action| (action, "table"))
                .collect()
        }
        _ if body["IndexName"] == "listing" => BTreeSet::from([(action(operation), "index")]),
        _ => BTreeSet::from([(action(operation), "table")]),
    }
}

/// The access to the table that a role allows its function.
fn allowed(resource: &str) -> Access {
    let role = &everything()[format!("{resource}Role")]["Properties"];
    let policies = role["Policies"].as_array().into_iter().flatten();
    let statements = policies
        .flat_map(|policy| policy["PolicyDocument"]["Statement"].as_array().expect("statements"));
    let mut allowed = Access::new();
    for statement in statements {
        assert_eq!(statement["Effect"], "Allow", "{resource}");
        for target in statement["Resource"].as_array().expect("resources") {
            let target = if *target == "<CruddurTable.Arn>" {
                "table"
            } else if *target == "<CruddurTable.Arn>/index/listing" {
                "index"
            } else {
                panic!("{resource} may reach {target}");
            };
            for action in statement["Action"].as_array().expect("actions") {
                allowed.insert((action.as_str().expect("an action").to_owned(), target));
            }
        }
    }
    allowed
}

/// All sample events of a function. Each with a caller comes also from a new user, from the same user
/// under another handle, and twice with an idempotency key.
fn visits(function: &str) -> Vec<Event> {
    let samples = samples::table().into_iter().map(|row| row.0);
    let own = samples.filter(|file| function_of(file) == function);
    own.flat_map(|file| {
        let has_caller = event(file).payload()["requestContext"]["authorizer"].is_object();
        let claims = json!({"sub": format!("sub-{file}"), "username": format!("new-{file}")});
        let mut chosen = claims.clone();
        chosen["preferred_username"] = renamed(file).into();
        let others = has_caller.then(|| {
            let once = event(file).claims(chosen.clone()).header("idempotency-key", "once");
            [event(file).claims(claims), event(file).claims(chosen), once.clone(), once]
        });
        [event(file)].into_iter().chain(others.into_iter().flatten())
    })
    .collect()
}

fn renamed(file: &str) -> String {
    format!("renamed-{file}")
}

async fn seen(function: &str, store: &Store, proxy: &Proxy) -> Access {
    let before = proxy.requests().len();
    let sandbox =
        Sandbox::builder(function).without_extension().freezing(false).store(store).start().await;
    let mut handles = BTreeSet::new();
    for event in visits(function) {
        let reply = sandbox.invoke(event.clone()).await;
        assert!(reply.status < 500, "{function}: {}", reply.body);
        handles.extend(reply.json["handle"].as_str().map(str::to_owned));
        if function == "reply-activity" && reply.status == 200 {
            // A reply to a reply also reads what stands above both.
            let uuid = reply.json["uuid"].as_str().expect("the reply's id");
            let reply_to_reply =
                event.without_header("idempotency-key").path_parameter("key", uuid);
            assert_eq!(sandbox.invoke(reply_to_reply).await.status, 200);
        }
    }
    if function == "create-activity" {
        assert!(handles.contains(&renamed(function)), "no user was renamed: {handles:?}");
    }
    proxy.requests()[before..].iter().flat_map(accesses).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_function_may_do_to_the_table_what_it_does_and_no_more() {
    let (store, proxy) = Store::behind_proxy().await;
    store.seed();

    let mut needed = BTreeMap::new();
    for (function, resource) in all_functions() {
        needed.insert(resource, seen(&function, &store, &proxy).await);
    }

    let allowed: BTreeMap<String, Access> =
        needed.keys().map(|resource| (resource.clone(), allowed(resource))).collect();
    assert_eq!(needed, allowed);
}

#[test]
fn beside_the_table_every_function_may_do_the_same_few_things() {
    for (_, resource) in all_functions() {
        let role = &everything()[format!("{resource}Role")]["Properties"];
        assert_eq!(
            role["ManagedPolicyArns"],
            json!([
                "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole", // SAM's own
                "arn:aws:iam::aws:policy/AWSXrayWriteOnlyAccess", // for active tracing
                "<TelemetryPolicy>",
            ]),
            "{resource}"
        );
    }
    // The functions' roles, and CloudTrail's if it is wanted.
    assert_eq!(names_of("AWS::IAM::Role").len(), all_functions().len() + 1);
    assert_eq!(names_of("AWS::IAM::ManagedPolicy"), ["TelemetryPolicy"]);
}

/// Actions and resources that a statement of the extension's policy names.
fn named(statement: &Value, key: &str) -> Vec<String> {
    let value = &statement[key];
    let list = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
    list.iter().filter_map(|it| it.as_str().map(str::to_owned)).collect()
}

/// Whether the policy allows the extension an action, by IAM's rule that a denial wins.
fn may(action: &str, resource: &str) -> bool {
    let policy = &everything()["TelemetryPolicy"]["Properties"]["PolicyDocument"]["Statement"];
    let fits = |pattern: &str, text: &str| match pattern.strip_suffix('*') {
        Some(start) => text.starts_with(start),
        None => pattern == text,
    };
    let covers = |statement: &Value| {
        let acts = named(statement, "Action").iter().any(|it| fits(it, action));
        let on = named(statement, "Resource").iter().any(|it| fits(it, resource));
        let beside = named(statement, "NotResource");
        acts && (on || !beside.is_empty() && !beside.iter().any(|it| fits(it, resource)))
    };
    let statements = policy.as_array().expect("statements");
    let any = |effect: &str| statements.iter().any(|it| it["Effect"] == effect && covers(it));
    any("Allow") && !any("Deny")
}

#[test]
fn the_extension_may_send_segments_and_spans_write_its_log_group_and_read_its_keys_and_no_more() {
    let key = "arn:aws:ssm:eu-central-1:123456789012:parameter/honeycomb";
    for (action, resource) in [
        ("xray:PutTraceSegments", "*"),
        ("xray:PutSpans", "*"),
        ("xray:PutSpansForIndexing", "*"),
        ("logs:CreateLogStream", "<LogGroup.Arn>"),
        ("logs:PutLogEvents", "<LogGroup.Arn>"),
        ("ssm:GetParameter", key),
    ] {
        assert!(may(action, resource), "{action} {resource}");
    }
    let other = "arn:aws:logs:eu-central-1:123456789012:log-group:other:*";
    for (action, resource) in [
        ("logs:PutLogEvents", other),
        ("logs:CreateLogGroup", "<LogGroup.Arn>"),
        ("logs:DeleteLogGroup", "<LogGroup.Arn>"),
        ("ssm:GetParameter", "arn:aws:ssm:eu-central-1:123456789012:parameter/other"),
        ("dynamodb:GetItem", "<CruddurTable.Arn>"),
    ] {
        assert!(!may(action, resource), "{action} {resource}");
    }
}

#[test]
fn transaction_search_lets_x_ray_write_spans_and_functions_send_them_by_otlp() {
    let stacks = deployed(&[("a-stack", &[]), ("a-stack", &[("TransactionSearch", "on")])]);
    let [off, on] = [0, 1].map(|stack| &stacks[stack]["resources"]);

    for (resources, transport) in [(off, "segments"), (on, "otlp")] {
        let function = &resources["HealthCheckFunction"]["Properties"]["Environment"];
        assert_eq!(function["Variables"]["CRUDDUR_XRAY_TRANSPORT"], transport);
    }
    assert!(off.get("TransactionSearchConfig").is_none() && off.get("SpansPolicy").is_none());
    // CloudFormation refuses the search before the policy exists.
    assert_eq!(on["TransactionSearchConfig"]["DependsOn"], "SpansPolicy");
    let document = on["SpansPolicy"]["Properties"]["PolicyDocument"].as_str().expect("a text");
    let document: Value = serde_json::from_str(document).expect("JSON");
    let statement = &document["Statement"][0];
    assert_eq!(statement["Principal"]["Service"], "xray.amazonaws.com");
    assert_eq!(named(statement, "Action"), ["logs:PutLogEvents"]);
    let groups = named(statement, "Resource");
    let names: Vec<_> = groups.iter().filter_map(|arn| arn.split(":log-group:").nth(1)).collect();
    assert_eq!(names, ["aws/spans:*", "/aws/application-signals/data:*"]);
}
