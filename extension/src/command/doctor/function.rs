//! `doctor --variables`: reads a function's environment from the output of
//! `aws lambda get-function-configuration`.

use std::{env, ffi::OsStr, fs, io, os::unix::process::CommandExt, process::Command};

use serde_json::Value;

use crate::config::variables;

/// Replaces this process by a `doctor` with the function's variables, because the AWS SDK reads them
/// from the process, too. Credentials stay. `own_variables` are removed, like all of [`variables`].
///
/// Returns only on failure, with the reason.
pub(super) fn run_doctor<'a>(
    file: &OsStr,
    as_json: bool,
    own_variables: impl Iterator<Item = &'a String>,
) -> String {
    let text = match file == "-" {
        true => io::read_to_string(io::stdin()),
        false => fs::read_to_string(file),
    };
    let variables = text.map_err(|error| error.to_string()).and_then(|text| variables(&text));
    let variables = match variables {
        Ok(variables) => variables,
        Err(problem) => return format!("{}: {problem}", file.display()),
    };
    let program = match env::current_exe() {
        Ok(program) => program,
        Err(error) => return error.to_string(),
    };
    let mut doctor = Command::new(program);
    variables::all()
        .map(|variable| variable.name)
        .chain(own_variables.map(String::as_str))
        .for_each(|name| {
            doctor.env_remove(name);
        });
    doctor.arg("doctor").args(as_json.then_some("--json")).envs(variables);
    doctor.exec().to_string()
}

/// The function's variables, and those that Lambda sets for it.
fn variables(text: &str) -> Result<Vec<(String, String)>, String> {
    let json: Value = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
    // `aws lambda get-function` prints the configuration as one of several parts.
    let function = json.get("Configuration").unwrap_or(&json);
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let name = text(&function["FunctionName"]).ok_or("not the configuration of a function")?;
    let environment = &function["Environment"];
    if let Some(error) = environment.get("Error") {
        return Err(format!("the function's variables could not be decrypted: {error}"));
    }
    let region = function["FunctionArn"].as_str().and_then(|arn| arn.split(':').nth(3));
    let of_lambda = [
        ("AWS_LAMBDA_RUNTIME_API", Some("127.0.0.1:9001".to_owned())),
        ("AWS_LAMBDA_FUNCTION_NAME", Some(name)),
        ("AWS_LAMBDA_FUNCTION_VERSION", text(&function["Version"])),
        ("AWS_REGION", region.map(str::to_owned)),
    ];
    let of_lambda = of_lambda.into_iter().map(|(name, value)| (name.to_owned(), value));
    let own = environment["Variables"].as_object().into_iter().flatten();
    let own = own.map(|(name, value)| (name.clone(), text(value)));
    Ok(of_lambda.chain(own).filter_map(|(name, value)| Some((name, value?))).collect())
}
