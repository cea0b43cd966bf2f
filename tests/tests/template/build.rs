//! `sam build` with a cargo, and `.dev/deploy` with a sam, that only record their calls.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use cruddur_tests::moto;
use serde_json::json;

use super::{all_functions, aws, python, with_moto};

/// Records its arguments, and creates the files of a build.
const CARGO: &str = r#"#!/bin/sh
echo "$*" >>"$CALLS"
case $1 in
metadata) printf '{"packages":[],"target_directory":"%s/target","workspace_root":"%s"}' "$PWD" "$PWD" ;;
lambda)
  mkdir -p target/lambda/functions target/lambda/extensions
  for it in functions/bootstrap extensions/cruddur-telemetry; do echo built >target/lambda/$it; done ;;
esac
"#;

/// Copies the files that `sam build` reads besides the sources.
fn checkout() -> tempfile::TempDir {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let copy = tempfile::tempdir().expect("a directory");
    for directory in ["bin", "extension", ".dev/arm64", ".dev/x86_64"] {
        fs::create_dir_all(copy.path().join(directory)).expect("a directory");
    }
    for file in ["template.yaml", "Makefile", ".dev/arm64/Makefile", ".dev/x86_64/Makefile"] {
        fs::copy(root.join(file), copy.path().join(file)).expect("a copy");
    }
    fs::write(copy.path().join("Cargo.toml"), "[workspace]\n").expect("a manifest");
    let cargo = copy.path().join("bin/cargo");
    fs::write(&cargo, CARGO).expect("a program");
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).expect("a program");
    copy
}

#[test]
fn sam_builds_the_functions_once_and_the_layer_once_for_either_architecture() {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.venv/bin");
    let venv = venv.canonicalize().expect(".venv; `make test` creates it");
    for (architecture, machine, flag) in
        [("arm64", "aarch64", " --arm64"), ("x86_64", "x86_64", "")]
    {
        let copy = checkout();
        let calls = copy.path().join("calls");
        let path = std::env::var("PATH").unwrap_or_default();
        let bin = copy.path().join("bin");

        let output = Command::new(venv.join("sam"))
            .current_dir(copy.path())
            .args(["build", "--parameter-overrides", &format!("Architecture={architecture}")])
            .env("PATH", format!("{}:{}:{path}", bin.display(), venv.display()))
            .env("CALLS", &calls)
            .env("SAM_CLI_TELEMETRY", "0")
            .env("AWS_DEFAULT_REGION", "eu-central-1")
            .output()
            .expect("sam is in .venv; `make test` puts it there");

        let problem = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{problem}");
        let calls = fs::read_to_string(calls).expect("calls");
        let builds: Vec<&str> = calls.lines().filter(|it| it.starts_with("lambda ")).collect();
        let layer = format!(
            "lambda build --release --target {machine}-unknown-linux-musl --extension --package cruddur-telemetry \
             --no-default-features"
        );
        let functions = format!("lambda build --release{flag} --bin functions");
        assert_eq!(builds, [layer, functions], "{problem}");
        for (_, function) in all_functions() {
            let built = copy.path().join(".aws-sam/build").join(function).join("bootstrap");
            assert!(built.exists(), "{}", built.display());
        }
    }
}

/// The calls of sam by `.dev/deploy` with a further variable, or its error.
fn sam_calls_of_deploy(variable: &str, arguments: &[&str]) -> Result<Vec<String>, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("a checkout");
    let bin = tempfile::tempdir().expect("a directory");
    let (sam, calls) = (bin.path().join("sam"), bin.path().join("calls"));
    fs::write(&sam, format!("#!/bin/sh\necho \"$*\" >>{}\n", calls.display())).expect("a program");
    fs::set_permissions(&sam, fs::Permissions::from_mode(0o755)).expect("a program");
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("PATH={}:{}/.venv/bin:{path}", bin.path().display(), root.display());
    let script = root.join(".dev/deploy").display().to_string();

    let output = with_moto(Path::new("env"), &[&[&path, variable, &script], arguments].concat());

    let calls = fs::read_to_string(calls).unwrap_or_default();
    match output.status.success() {
        true => Ok(calls.lines().map(str::to_owned).collect()),
        false => Err(calls + &String::from_utf8_lossy(&output.stderr)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_builds_for_the_processor_that_the_stack_has() {
    let (new, kept) = (moto::unique("new"), moto::unique("kept"));
    let template = json!({
        "Parameters": {"Architecture": {"Type": "String"}},
        "Resources": {"LogGroup": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": kept}}},
    });
    let create = ["cloudformation", "create-stack", "--stack-name", &kept];
    let given = ["--parameters", "ParameterKey=Architecture,ParameterValue=x86_64"];
    aws(&[&create[..], &["--template-body", &template.to_string()], &given].concat());

    let rows: [(&[&str], &str); 4] = [
        (&[&new], ""),
        (&[&kept], r#" --parameter-overrides Architecture="x86_64""#),
        (
            &[&kept, "Metrics=totals"],
            r#" --parameter-overrides Metrics="totals" Architecture="x86_64""#,
        ),
        (&[&kept, "Architecture=arm64"], r#" --parameter-overrides Architecture="arm64""#),
    ];
    for (arguments, overrides) in rows {
        let saved = format!("--config-file .dev/samconfig.toml --stack-name {}", arguments[0]);
        let expected = [format!("build{overrides}"), format!("deploy {saved}{overrides}")];
        let calls = sam_calls_of_deploy("LANG=C", arguments);
        assert_eq!(calls, Ok(expected.to_vec()), "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_with_a_wrong_region_or_no_credentials_ends_before_the_build() {
    // The endpoint stands for that of a Region that does not exist.
    let no_region = sam_calls_of_deploy("AWS_ENDPOINT_URL=http://127.0.0.1:1", &["a-stack"]);
    let no_credentials = sam_calls_of_deploy("AWS_PROFILE=no-such-profile", &["a-stack"]);

    for (ended, reason) in [(no_region, "Could not connect"), (no_credentials, "no-such-profile")] {
        let problem = ended.expect_err("no deployment");
        assert!(problem.contains(reason) && !problem.starts_with("build"), "{problem}");
    }
}

/// SAM's own parser reads the arguments. It cuts `A=b c` at the blank and rejects `A=`.
#[tokio::test(flavor = "multi_thread")]
async fn sam_receives_values_with_blanks_and_empty_values_whole() {
    let stack = moto::unique("new");
    let program = "import json, sys\n\
        from samcli.cli.types import CfnParameterOverridesType\n\
        print(json.dumps(CfnParameterOverridesType().convert((sys.argv[1],), None, None)))";

    let calls = sam_calls_of_deploy(
        "LANG=C",
        &[&stack, "RollbarEnvironment=week 2", "PageOrigins=", "WriteQuota=60,600"],
    );

    let calls = calls.expect("a deployment");
    assert_eq!(calls.len(), 2, "{calls:?}");
    for call in calls {
        let (_, overrides) = call.split_once(" --parameter-overrides ").expect("parameters");
        let given =
            json!({"RollbarEnvironment": "week 2", "PageOrigins": "", "WriteQuota": "60,600"});
        assert_eq!(python(&["-c", program, overrides]), given, "{call}");
    }
}

/// SAM itself ignores them, so a misspelt name would deploy the old value.
#[test]
fn parameters_that_the_template_does_not_have_end_a_deployment_before_the_build() {
    for (given, reason) in [
        ("PageOrigin=http://localhost:3000", "deploy: PageOrigin is not a parameter"),
        ("PageOrigins", "deploy: PageOrigins has no '='"),
        (r#"PageOrigins="""#, "deploy: PageOrigins contains a double quote"),
    ] {
        let ended = sam_calls_of_deploy("LANG=C", &["a-stack", given]);

        let problem = ended.expect_err("no deployment");
        assert!(problem.starts_with(reason), "{given}: {problem}");
    }
}
