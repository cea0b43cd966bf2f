//! The variables that Lambda gives to a function and to an extension: two lists, not one.
//! <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>

use std::collections::BTreeMap;
use std::net::SocketAddr;

/// The name that Lambda would give to this environment's log stream.
pub(crate) const LOG_STREAM: &str = "2026/01/01/[$LATEST]0123456789abcdef0123456789abcdef";

/// Where functions run, and what they sign with: well-formed and worthless.
pub(crate) const REGION: &str = "eu-central-1";
pub(crate) const ACCESS_KEY_ID: &str = "ASIAIOSFODNN7EXAMPLE";
pub(crate) const SECRET_ACCESS_KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
pub(crate) const SESSION_TOKEN: &str = "session-token-of-a-test";

/// What both get.
const SHARED: [(&str, &str); 7] = [
    ("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID),
    ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY),
    ("AWS_SESSION_TOKEN", SESSION_TOKEN),
    ("AWS_REGION", REGION),
    ("AWS_DEFAULT_REGION", REGION),
    ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
    ("TZ", ":UTC"),
];

/// What an extension does not get.
/// <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html>
const FUNCTION_ONLY: [(&str, &str); 11] = [
    ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
    ("AWS_LAMBDA_LOG_LEVEL", "INFO"),
    ("AWS_LAMBDA_LOG_STREAM_NAME", LOG_STREAM),
    ("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR"),
    ("AWS_XRAY_DAEMON_ADDRESS", "169.254.100.1:2000"),
    ("_AWS_XRAY_DAEMON_ADDRESS", "169.254.100.1"),
    ("_AWS_XRAY_DAEMON_PORT", "2000"),
    ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
    ("LAMBDA_TASK_ROOT", "/var/task"),
    ("LANG", "en_US.UTF-8"),
    ("LD_LIBRARY_PATH", "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/task:/opt/lib"),
];

/// Everything the function's process starts with.
pub(crate) fn of_function(
    name: &str,
    memory_mb: u64,
    api: SocketAddr,
    customer: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut variables = of_extension(name, memory_mb, api, customer);
    variables.extend(FUNCTION_ONLY.map(owned));
    variables.extend([
        owned(("AWS_LAMBDA_LOG_GROUP_NAME", &format!("/aws/lambda/{name}"))),
        owned(("_HANDLER", name)), // as in template.yaml
    ]);
    variables
}

/// Everything an extension's process starts with.
pub(crate) fn of_extension(
    name: &str,
    memory_mb: u64,
    api: SocketAddr,
    customer: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    // A function's own variables cannot replace reserved ones, hence the order.
    let mut variables = customer.clone();
    variables.extend(SHARED.map(owned));
    variables.extend([
        owned(("AWS_LAMBDA_FUNCTION_NAME", name)),
        owned(("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &memory_mb.to_string())),
        owned(("AWS_LAMBDA_RUNTIME_API", &api.to_string())),
        owned(("PATH", "/usr/local/bin:/usr/bin:/bin:/opt/bin")),
    ]);
    variables
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}
