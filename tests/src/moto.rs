//! moto's server: DynamoDB, CloudWatch Logs, X-Ray, Secrets Manager and more, over their protocols.
//!
//! One for all tests of a process, started when the first asks. Tests run side by side in it, so
//! each names what it makes itself: see [`unique`]. It takes any credentials, but keeps things
//! apart by region.

use std::io::{BufRead, BufReader, Lines};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStderr, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::http_client::post;
use crate::sandbox::environment::{ACCESS_KEY_ID, REGION};

/// The base address, for `AWS_ENDPOINT_URL` and the like; the first call waits for the start.
///
/// Panics if the server is not installed or does not start.
pub fn url() -> &'static str {
    // A failure is kept, too: each test would only try in vain again.
    static URL: OnceLock<Result<String, String>> = OnceLock::new();
    match URL.get_or_init(start) {
        Ok(url) => url,
        Err(problem) => panic!("moto's server: {problem}"),
    }
}

/// A name that no other test has: `unique("table")`.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", Uuid::new_v4().simple())
}

/// Makes a secret in Secrets Manager of these fields, `SecretString` or `SecretBinary` (base64).
/// Returns its ARN.
pub async fn secret(name: &str, fields: Value) -> String {
    let mut question = json!({ "Name": name });
    question
        .as_object_mut()
        .expect("an object")
        .extend(fields.as_object().expect("an object").clone());
    let answer = call("secretsmanager", "secretsmanager.CreateSecret", question).await;
    answer["ARN"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

/// Gives a secret another text.
pub async fn change_secret(arn: &str, text: &str) {
    let question = json!({ "SecretId": arn, "SecretString": text });
    call("secretsmanager", "secretsmanager.PutSecretValue", question).await;
}

/// Makes a log group.
pub async fn log_group(name: &str) {
    call("logs", "Logs_20140328.CreateLogGroup", json!({ "logGroupName": name })).await;
}

/// Makes an encrypted parameter in the Parameter Store.
pub async fn parameter(name: &str, text: &str) {
    let question = json!({ "Name": name, "Value": text, "Type": "SecureString" });
    call("ssm", "AmazonSSM.PutParameter", question).await;
}

/// The documents that X-Ray has of a trace: `1-<8 hex>-<24 hex>`.
pub async fn trace(id: &str) -> Vec<Value> {
    let signature = signature("xray");
    let url = format!("{}/Traces", url());
    let question = json!({ "TraceIds": [id] }).to_string();
    let reply = post(&url, &[("authorization", &signature)], question).await;
    let found = reply.expect("an answer of moto's").json();
    let segments = found["Traces"][0]["Segments"].as_array().cloned().unwrap_or_default();
    let texts = segments.iter().map(|segment| segment["Document"].as_str().expect("a document"));
    texts.map(|text| serde_json::from_str(text).expect("JSON")).collect()
}

/// moto looks at its scope only.
fn signature(service: &str) -> String {
    let scope = format!("{ACCESS_KEY_ID}/20260101/{REGION}/{service}/aws4_request");
    format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0")
}

/// Asks in the sandbox's region.
async fn call(service: &str, target: &str, question: Value) -> Value {
    let signature = signature(service);
    let headers = [
        ("content-type", "application/x-amz-json-1.1"),
        ("x-amz-target", target),
        ("authorization", &signature),
    ];
    let reply = post(url(), &headers, question.to_string()).await.expect("an answer of moto's");
    assert!(reply.status.is_success(), "{target}: {}", reply.json());
    reply.json()
}

fn start() -> Result<String, String> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    if !tests.join("../.venv/bin/moto_server").exists() {
        return Err("it is not installed in .venv; `make test` does that".to_owned());
    }
    let mut command = Command::new(tests.join("../.venv/bin/python3"));
    command.arg(tests.join("moto_server.py")).args(["-H", "127.0.0.1", "-p", "0"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    // SAFETY: prctl is async-signal-safe, and nothing else runs between fork and exec.
    unsafe {
        command.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?));
    }
    let (announce, announced) = mpsc::channel();
    // The signal comes when the thread that started the server ends, so it is one that never does.
    thread::spawn(move || {
        let started = command.spawn().map_err(|problem| problem.to_string());
        let mut server = match started {
            Ok(server) => server,
            Err(problem) => return announce.send(Err(problem)).unwrap_or_default(),
        };
        let mut lines = server.stderr.take().map(|pipe| BufReader::new(pipe).lines());
        let _ = announce.send(address(lines.as_mut()));
        // Its log is read on, or it would stop at a full pipe.
        lines.into_iter().flatten().for_each(drop);
        let _ = server.wait();
    });
    announced.recv().unwrap_or_else(|_| Err("its thread ended".to_owned()))
}

/// Reads on to `Running on http://127.0.0.1:NNNN`.
fn address(lines: Option<&mut Lines<BufReader<ChildStderr>>>) -> Result<String, String> {
    let mut said = Vec::new();
    for line in lines.into_iter().flatten().map_while(Result::ok) {
        match line.split_once("Running on ") {
            Some((_, url)) => return Ok(url.trim().to_owned()),
            None => said.push(line),
        }
    }
    Err(format!("it did not start: {}", said.join("\n")))
}
