//! `sam build` with a cargo that only records its calls: which programs it builds, and how often.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::all_functions;

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
            "lambda build --release --target {machine}-unknown-linux-musl --extension --package cruddur-telemetry"
        );
        let functions = format!("lambda build --release{flag} --bin functions");
        assert_eq!(builds, [layer, functions], "{problem}");
        for (_, function) in all_functions() {
            let built = copy.path().join(".aws-sam/build").join(function).join("bootstrap");
            assert!(built.exists(), "{}", built.display());
        }
    }
}
