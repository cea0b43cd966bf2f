//! `make smoke` against moto's Cognito and CloudFormation, and the functions behind a gateway that
//! follows the translated template.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cruddur_tests::{Event, Sandbox, Store, event, moto};
use serde_json::{Value, json};

use super::{all_functions, aws, resource_of, routes, stack, with_moto};

/// A route of the template that fits a request: its function, its variables, and whether it is private.
struct Target {
    function: String,
    route: String,
    variables: Vec<(String, String)>,
    is_private: bool,
}

/// Routes without variables come first, as at the gateway.
fn target(method: &Method, path: &str) -> Option<Target> {
    let mut fitting: Vec<Target> = routes()
        .into_iter()
        .filter_map(|(route, operation)| {
            let (of, pattern) = route.split_once(' ')?;
            let (parts, given) = (pattern.split('/'), path.split('/'));
            if of != method.as_str() || parts.clone().count() != given.clone().count() {
                return None;
            }
            let mut variables = Vec::new();
            for (part, given) in parts.zip(given) {
                match part.strip_prefix('{').and_then(|it| it.strip_suffix('}')) {
                    Some(name) => variables.push((name.to_owned(), given.to_owned())),
                    None if part == given => {}
                    None => return None,
                }
            }
            let integration = operation["x-amazon-apigateway-integration"].to_string();
            let is_own =
                |name: &String| integration.contains(&format!("${{{}.Arn}}", resource_of(name)));
            let function = all_functions().into_iter().map(|(name, _)| name).find(is_own)?;
            let is_private = operation.get("security").is_some();
            Some(Target { function, route, variables, is_private })
        })
        .collect();
    fitting.sort_by_key(|it| it.variables.len());
    fitting.into_iter().next()
}

struct Gateway {
    sandboxes: BTreeMap<String, Sandbox>,
}

/// The claims of a token. Its signature is moto's, and not checked.
fn claims(headers: &HeaderMap) -> Option<Value> {
    let token = headers.get("authorization")?.to_str().ok()?.strip_prefix("Bearer ")?;
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&claims).ok()
}

fn reply(status: u16, body: impl Into<Body>) -> Response<Body> {
    Response::builder().status(status).body(body.into()).expect("a reply")
}

async fn answer(State(gateway): State<Arc<Gateway>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Some(target) = target(&parts.method, parts.uri.path()) else { return reply(404, "{}") };
    let claims = claims(&parts.headers);
    if target.is_private && claims.is_none() {
        return reply(401, r#"{"message":"Unauthorized"}"#);
    }
    let mut payload = event(&target.function).payload().clone();
    payload["routeKey"] = target.route.as_str().into();
    let mut event: Event = event(&target.function).raw(payload).method(parts.method.as_str());
    for (name, value) in &target.variables {
        event = event.path_parameter(name, value);
    }
    event = event.claims(claims.filter(|_| target.is_private).unwrap_or(Value::Null));
    let body = to_bytes(body, 1 << 20).await.expect("a body");
    if !body.is_empty() {
        event = event.body(&String::from_utf8_lossy(&body));
    }
    let answered = gateway.sandboxes[&target.function].invoke(event).await;
    let mut answer = reply(answered.status, answered.body.clone());
    for name in ["x-amzn-trace-id", "content-type"] {
        if let Some(value) = answered.headers.get(name) {
            answer.headers_mut().insert(name, value.parse().expect("a header"));
        }
    }
    answer
}

/// The functions that the script calls, over one store. Returns the base URL.
async fn start_gateway(store: &Store) -> String {
    let called = [
        "health-check",
        "create-activity",
        "show-activities",
        "home-activities",
        "like-activity",
        "delete-activity",
    ];
    let mut sandboxes = BTreeMap::new();
    for function in called {
        let sandbox = Sandbox::builder(function).store(store).freezing(false).start().await;
        sandboxes.insert(function.to_owned(), sandbox);
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let app = Router::new().fallback(answer).with_state(Arc::new(Gateway { sandboxes }));
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

/// Properties of a resource of the template, as the AWS CLI reads them.
fn input(resource: &str) -> Value {
    let mut properties = stack()["Resources"][resource]["Properties"].clone();
    let own = properties.as_object_mut().expect("properties");
    own.remove("UserPoolName");
    own.remove("UserPoolId");
    properties
}

/// Creates a user pool and the template's app client, and a stack with the outputs of this URL.
fn create_stack(url: &str, pool: &Value) -> (String, String) {
    let name = moto::unique("smoke");
    let input_of_pool = pool.to_string();
    let create = ["cognito-idp", "create-user-pool", "--pool-name", &name];
    let pool = aws(&[&create[..], &["--cli-input-json", &input_of_pool]].concat());
    let pool = pool["UserPool"]["Id"].as_str().expect("a pool").to_owned();
    let input = input("UserPoolClient").to_string();
    let create = ["cognito-idp", "create-user-pool-client", "--user-pool-id", &pool];
    let client =
        aws(&[&create[..], &["--client-name", "page", "--cli-input-json", &input]].concat());
    let client = &client["UserPoolClient"]["ClientId"];
    let template = json!({
        "Resources": {"LogGroup": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": name}}},
        "Outputs": {
            "ApiUrl": {"Value": url},
            "UserPoolId": {"Value": pool},
            "UserPoolClientIds": {"Value": client},
        },
    });
    let create = ["cloudformation", "create-stack", "--stack-name", &name];
    aws(&[&create[..], &["--template-body", &template.to_string()]].concat());
    (name, pool)
}

fn smoke(arguments: &[&str]) -> (bool, String, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.dev/smoke");
    let output = with_moto(&script, arguments);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

fn users(pool: &str) -> usize {
    let users = aws(&["cognito-idp", "list-users", "--user-pool-id", pool]);
    users["Users"].as_array().map_or(0, Vec::len)
}

/// Runs the script against a stack with this user pool; returns its output. Panics if it fails or
/// leaves the user.
async fn output_of_smoke(pool: &Value) -> String {
    let store = Store::sqlite().await;
    let url = start_gateway(&store).await;
    let (name, pool) = create_stack(&url, pool);

    let (is_success, out, problems) = tokio::task::spawn_blocking({
        let name = name.clone();
        move || smoke(&[&name])
    })
    .await
    .expect("the script's end");

    assert!(is_success, "{out}{problems}");
    assert!(out.ends_with(&format!("{name} answers\n")), "{out}");
    assert_eq!(users(&pool), 0);
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_user_signs_in_posts_reads_likes_and_deletes_and_is_removed() {
    let out = output_of_smoke(&input("UserPool")).await;

    for row in
        ["401 POST /api/activities", "200 PUT /api/activities/", "200 DELETE /api/activities/"]
    {
        assert!(out.contains(row), "{row}: {out}");
    }
    assert!(out.contains("#xray:traces/1-"), "{out}");
}

/// moto does not check required attributes, so the script prints them.
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_with_addresses_for_names_gets_a_user_with_all_attributes_that_it_requires() {
    let required = |name: &str| json!({"Name": name, "Required": true, "Mutable": true});
    let schema = ["email", "name", "preferred_username", "birthdate"].map(required);

    let out = output_of_smoke(&json!({"UsernameAttributes": ["email"], "Schema": schema})).await;

    let user = out.lines().next().expect("a line");
    for attribute in ["email=smoke-", "name=smoke-", "preferred_username=smoke-"] {
        assert!(user.contains(&format!(" {attribute}")), "{attribute}: {user}");
    }
    assert!(user.contains(" birthdate=2000-01-01"), "{user}");
    assert!(!user.contains("sub="), "{user}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_that_does_not_answer_is_reported_and_the_user_removed() {
    let (name, pool) = create_stack("http://127.0.0.1:1", &input("UserPool"));

    let (is_success, out, problems) = smoke(&[&name]);

    assert!(!is_success, "{out}");
    assert!(problems.contains("http://127.0.0.1:1 does not answer"), "{problems}");
    assert_eq!(users(&pool), 0);
}

/// As after a first deployment that failed.
#[test]
fn a_stack_without_outputs_is_reported_before_a_user_is_created() {
    let name = moto::unique("no-outputs");
    let group = json!({"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": name}});
    let template = json!({"Resources": {"LogGroup": group}}).to_string();
    let create = ["cloudformation", "create-stack", "--stack-name", &name];
    aws(&[&create[..], &["--template-body", &template]].concat());

    let (is_success, out, problems) = smoke(&[&name]);

    assert!(!is_success && out.is_empty(), "{out}{problems}");
    assert!(problems.contains(&format!("{name} has no outputs")), "{problems}");
}

#[test]
fn a_stack_that_does_not_exist_and_a_missing_name_are_reported() {
    let (is_success, _, problems) = smoke(&["no-such-stack"]);
    assert!(!is_success && problems.contains("no-such-stack is not in this account"), "{problems}");

    let (is_success, _, problems) = smoke(&[]);
    assert!(!is_success && problems.contains("make smoke STACK="), "{problems}");
}
