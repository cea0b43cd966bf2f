//! `cargo lambda deploy`, against moto: what Cargo.toml says is enough.

use std::fs;
use std::path::Path;
use std::process::Command;

use cruddur_tests::http_client::{HttpReply, get, post};
use cruddur_tests::{EXTENSION, Program, Sandbox, binaries, event, functions, moto};
use serde_json::json;
use tempfile::TempDir;

/// What moto looks at in a signature: the service, and the Region.
fn signed(service: &str) -> [(&'static str, String); 1] {
    let scope = format!("Credential=a-key/20260101/eu-central-1/{service}/aws4_request");
    [("authorization", format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0"))]
}

async fn lambda(path: &str) -> HttpReply {
    let headers = signed("lambda");
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    get(&format!("{}{path}", moto::url()), &headers).await.expect("an answer")
}

/// A role that functions may have, as Lambda demands of one; gives its ARN.
async fn role() -> String {
    let name = moto::unique("role");
    let trust = r#"{"Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
    let form = format!(
        "Action=CreateRole&Version=2010-05-08&RoleName={name}&AssumeRolePolicyDocument={trust}"
    );
    let signature = &signed("iam")[0].1;
    let headers = [
        ("authorization", signature.as_str()),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let reply = post(moto::url(), &headers, form).await.expect("an answer");
    assert_eq!(reply.status, 200, "{reply:?}");
    format!("arn:aws:iam::123456789012:role/{name}")
}

/// Deploys what is in the directory, as README.md says.
fn deploy(directory: &TempDir, arguments: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = Command::new(root.join(".venv/bin/cargo-lambda"))
        .current_dir(&root)
        .args(["lambda", "deploy", "--endpoint-url", moto::url(), "--lambda-dir"])
        .arg(directory.path())
        .args(arguments)
        .env("AWS_ACCESS_KEY_ID", "a-key")
        .env("AWS_SECRET_ACCESS_KEY", "a-secret")
        .env("AWS_REGION", "eu-central-1")
        .output()
        .expect("cargo-lambda is in .venv; `make test` puts it there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Where `cargo lambda build` would have put a program.
fn built(program: &str, place: &str) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join(place);
    fs::create_dir_all(file.parent().expect("a directory")).expect("a directory");
    fs::copy(binaries().path(program), file).expect("the program");
    directory
}

#[tokio::test]
async fn a_function_needs_no_flag_but_its_role_and_is_set_up_as_in_the_template() {
    let (directory, role) = (built("health-check", "health-check/bootstrap"), role().await);

    deploy(&directory, &["--role", &role, "health-check"]);

    let function = lambda("/2015-03-31/functions/health-check/configuration").await.json();
    assert_eq!(function["Role"], role.as_str());
    assert_eq!(function["Runtime"], "provided.al2023");
    assert_eq!(function["MemorySize"], 256);
    assert_eq!(function["Timeout"], 10);
    assert_eq!(function["TracingConfig"], json!({"Mode": "Active"}));
    let variables = &function["Environment"]["Variables"];
    assert_eq!(variables["OTEL_SERVICE_NAME"], "cruddur", "{function}");
}

#[tokio::test]
async fn the_extension_becomes_a_layer_without_any_flag() {
    let directory = built(EXTENSION, &format!("extensions/{EXTENSION}"));

    deploy(&directory, &[EXTENSION]);

    let layer = lambda(&format!("/2018-10-31/layers/{EXTENSION}/versions")).await.json();
    assert_eq!(layer["LayerVersions"][0]["Version"], 1, "{layer}");
}

#[test]
fn panics_unwind_in_what_is_deployed() {
    // Where nothing is said, cargo-lambda has releases abort, and a panic would end the sandbox.
    let manifest = include_str!("../../Cargo.toml");
    let (_, release) = manifest.split_once("[profile.release]\n").expect("the profile");
    let release = release.split("\n[").next().expect("its lines");
    assert!(release.lines().any(|line| line.starts_with("panic = \"unwind\"")), "{release}");
}

#[tokio::test]
async fn the_program_of_all_functions_is_each_of_them_by_its_handler() {
    for name in functions() {
        let program = Program::Binary(binaries().path("functions"));
        let sandbox = Sandbox::builder(&name).function(program).without_extension().demo_store();
        let sandbox = sandbox.start().await;

        sandbox.invoke(event(&name)).await;

        let route = event(&name).payload()["routeKey"].clone();
        let (_, path) = route.as_str().and_then(|it| it.split_once(' ')).expect("a route");
        let line = sandbox.function_log(&format!(r#""route":"{path}""#)).await;
        assert!(line["status"].as_u64().is_some_and(|status| status < 500), "{name}: {line}");
        assert_eq!(line["service"], name.as_str());
    }
}
