//! The `platform.*` events, written as the Telemetry API reference shows them.
//! <https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html>

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::machine::invocation::Invocation;

/// `on-demand` or, for the second start inside an invocation, the same with phase `invoke`.
#[derive(Clone, Copy)]
pub(crate) enum InitPhase {
    Init,
    Invoke,
}

impl InitPhase {
    fn name(self) -> &'static str {
        match self {
            InitPhase::Init => "init",
            InitPhase::Invoke => "invoke",
        }
    }
}

/// One telemetry event, stamped with the present time.
pub(crate) fn event(event_type: &str, record: Value) -> Value {
    let now = Timestamp::now();
    json!({ "time": format!("{now:.3}"), "type": event_type, "record": record })
}

pub(crate) fn init_start(phase: InitPhase, function: &str, memory_mb: u64) -> Value {
    let record = json!({
        "initializationType": "on-demand", "phase": phase.name(),
        "functionName": function, "functionVersion": "$LATEST",
        "instanceId": super::environment::LOG_STREAM, "instanceMaxMemory": memory_mb,
    });
    event("platform.initStart", record)
}

pub(crate) fn init_runtime_done(phase: InitPhase, failure: Option<(&str, Option<&str>)>) -> Value {
    let mut record = json!({ "initializationType": "on-demand", "phase": phase.name() });
    outcome(&mut record, failure);
    event("platform.initRuntimeDone", record)
}

pub(crate) fn init_report(
    phase: InitPhase,
    took: Duration,
    failure: Option<(&str, Option<&str>)>,
) -> Value {
    let mut record = json!({
        "initializationType": "on-demand", "phase": phase.name(),
        "metrics": { "durationMs": millis(took) },
    });
    outcome(&mut record, failure);
    event("platform.initReport", record)
}

pub(crate) fn subscription(name: &str, types: &[String]) -> Value {
    event(
        "platform.telemetrySubscription",
        json!({ "name": name, "state": "Subscribed", "types": types }),
    )
}

pub(crate) fn extension(name: &str, events: &[&str]) -> Value {
    event("platform.extension", json!({ "name": name, "state": "Ready", "events": events }))
}

pub(crate) fn start(invocation: &Invocation) -> Value {
    let mut record = json!({ "requestId": invocation.request_id, "version": "$LATEST" });
    tracing(&mut record, invocation);
    tenant(&mut record, invocation);
    event("platform.start", record)
}

/// The report of a managed instance has a duration alone.
pub(crate) fn managed_report(invocation: &Invocation, now: Instant) -> Value {
    let started = invocation.started.unwrap_or(invocation.accepted);
    let metrics = json!({ "durationMs": millis(now - started) });
    let mut record = json!({ "requestId": invocation.request_id, "metrics": metrics });
    outcome(&mut record, invocation.failure());
    if let Some(response) = &invocation.response {
        record["spans"] = json!([
            span("responseLatency", started, response.began, now),
            span("responseDuration", response.began, response.ended, now),
        ]);
    }
    tracing(&mut record, invocation);
    tenant(&mut record, invocation);
    event("platform.report", record)
}

/// The events of a restored snapshot.
pub(crate) fn restore(function: &str) -> [Value; 3] {
    let begin = json!({
        "functionName": function, "functionVersion": "1", "instanceMaxMemory": 512,
        "instanceId": format!("2026/01/01/[1]{}", uuid::Uuid::new_v4().simple()),
    });
    let report = json!({ "status": "success", "metrics": { "durationMs": 12.5 } });
    [
        event("platform.restoreStart", begin),
        event("platform.restoreRuntimeDone", json!({ "status": "success" })),
        event("platform.restoreReport", report),
    ]
}

/// After the runtime's Next, or when it will not come any more.
pub(crate) fn runtime_done(invocation: &Invocation, now: Instant) -> Value {
    let mut record = json!({ "requestId": invocation.request_id });
    outcome(&mut record, invocation.failure());
    if let Some(started) = invocation.started {
        record["metrics"] = json!({ "durationMs": millis(now - started) });
    }
    if let (Some(started), Some(response)) = (invocation.started, &invocation.response) {
        record["metrics"]["producedBytes"] = json!(response.bytes);
        record["spans"] = json!([
            span("responseLatency", started, response.began, now),
            span("responseDuration", response.began, response.ended, now),
            span("runtimeOverhead", response.ended, now, now),
        ]);
    }
    tracing(&mut record, invocation);
    event("platform.runtimeDone", record)
}

/// After every Next of an invocation. `init` is the cold start's time, in the first report only.
pub(crate) fn report(
    invocation: &Invocation,
    now: Instant,
    init: Option<Duration>,
    memory_mb: u64,
) -> Value {
    let duration = now - invocation.started.unwrap_or(invocation.accepted);
    let billed = (duration + init.unwrap_or_default()).as_secs_f64() * 1000.0;
    let mut record = json!({
        "requestId": invocation.request_id,
        "metrics": {
            "durationMs": millis(duration), "billedDurationMs": billed.ceil() as u64,
            // Not measured: a constant, for nobody to test with.
            "memorySizeMB": memory_mb, "maxMemoryUsedMB": memory_mb / 4,
        },
    });
    if let Some(init) = init {
        record["metrics"]["initDurationMs"] = json!(millis(init));
    }
    outcome(&mut record, invocation.failure());
    if let (Some(runtime_done), None) = (invocation.runtime_done, invocation.failure()) {
        record["spans"] = json!([span("extensionOverhead", runtime_done, now, now)]);
    }
    tracing(&mut record, invocation);
    tenant(&mut record, invocation);
    event("platform.report", record)
}

pub(crate) fn logs_dropped(records: usize, bytes: usize) -> Value {
    let record = json!({
        "droppedBytes": bytes, "droppedRecords": records,
        "reason": "The subscriber did not take the telemetry in several attempts.",
    });
    event("platform.logsDropped", record)
}

/// A line that a process wrote: an object if it is one (log format JSON), else text.
pub(crate) fn log_line(event_type: &str, line: &str) -> Value {
    let record = match serde_json::from_str(line) {
        Ok(object @ Value::Object(_)) => object,
        _ => Value::from(line),
    };
    event(event_type, record)
}

fn outcome(record: &mut Value, failure: Option<(&str, Option<&str>)>) {
    let (status, error_type) = failure.unwrap_or(("success", None));
    record["status"] = json!(status);
    if let Some(error_type) = error_type {
        record["errorType"] = json!(error_type);
    }
}

fn tracing(record: &mut Value, invocation: &Invocation) {
    if let Some(value) = &invocation.trace_header {
        record["tracing"] = json!({ "type": "X-Amzn-Trace-Id", "value": value });
    }
}

fn tenant(record: &mut Value, invocation: &Invocation) {
    if let Some(tenant_id) = &invocation.tenant_id {
        record["tenantId"] = json!(tenant_id);
    }
}

fn span(name: &str, from: Instant, to: Instant, now: Instant) -> Value {
    let start = Timestamp::now() - (now - from);
    json!({ "name": name, "start": format!("{start:.3}"), "durationMs": millis(to - from) })
}

/// Milliseconds with three digits, as Lambda prints them.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0
}
