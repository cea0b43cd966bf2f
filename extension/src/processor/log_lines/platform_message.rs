//! A sentence and a level for each platform record.

use serde_json::Value;

pub(super) fn of(kind: &str, record: &Value) -> (&'static str, String) {
    let text = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
    let metric = |key: &str| record["metrics"][key].as_f64();
    let took = metric("durationMs").map(|ms| format!(", {ms} ms")).unwrap_or_default();
    let (level, outcome) = outcome(record);
    let name = kind.strip_prefix("platform.").unwrap_or(kind);
    let sentence = match name {
        "initStart" => format!("Init begins ({})", text("initializationType")),
        "initRuntimeDone" => format!("The runtime is ready: {outcome}"),
        "initReport" => format!("Init: {outcome}{took}"),
        "restoreStart" => "Restore begins".to_owned(),
        "restoreRuntimeDone" => format!("The runtime is restored: {outcome}"),
        "restoreReport" => format!("Restore: {outcome}{took}"),
        "start" => "The invocation begins".to_owned(),
        "runtimeDone" => format!("The runtime is done: {outcome}{took}"),
        "report" => format!("Report: {outcome}{took}{}", cost(&metric)),
        "telemetrySubscription" => format!("{} has subscribed to telemetry", text("name")),
        "extension" => format!("Extension {}: {}", text("name"), text("state")),
        "logsDropped" => {
            let (lines, bytes) = (&record["droppedRecords"], &record["droppedBytes"]);
            let reason = text("reason");
            return ("WARN", format!("Lambda dropped {lines} lines of {bytes} bytes: {reason}"));
        }
        _ => kind.to_owned(),
    };
    (level, sentence)
}

fn outcome(record: &Value) -> (&'static str, String) {
    let error = record["errorType"].as_str().map(|it| format!(" ({it})")).unwrap_or_default();
    match record["status"].as_str() {
        None if error.is_empty() => ("INFO", "success".to_owned()),
        Some("success") => ("INFO", "success".to_owned()),
        status => ("ERROR", format!("{}{error}", status.unwrap_or("error"))),
    }
}

fn cost(metric: &impl Fn(&str) -> Option<f64>) -> String {
    let billed = metric("billedDurationMs").map(|ms| format!(", billed {ms} ms"));
    let init = metric("initDurationMs").map(|ms| format!(", init {ms} ms"));
    let memory = metric("maxMemoryUsedMB").zip(metric("memorySizeMB"));
    let memory = memory.map(|(used, size)| format!(", {used} of {size} MB"));
    [billed, init, memory].into_iter().flatten().collect()
}
