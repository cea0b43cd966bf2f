//! The Telemetry API's events: raw, and decoded as far as spans, failures and waits need them.
//! <https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html>
//!
//! Unknown and missing types and fields are accepted: Lambda adds some every year.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

/// The type of an init that ends in a snapshot.
const SNAPSHOT: &str = "snap-start";

/// The platform's error type for an invocation that was killed because memory ran out.
pub const OUT_OF_MEMORY: &str = "Runtime.OutOfMemory";

/// Durations from this on are invalid and become zero: no sandbox lives for a week.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Lambda accepts tenant ids of at most 256 characters. A longer one comes from an emulator.
const MAX_TENANT_CHARS: usize = 256;

/// An event with its undecoded record.
#[derive(Clone, Debug)]
pub struct RawEvent<'a> {
    /// When the platform made the event.
    pub time: SystemTime,
    /// Such as `function` or `platform.start`.
    pub kind: Cow<'a, str>,
    pub record: &'a str,
}

#[derive(Debug)]
pub struct PlatformEvent {
    /// When the platform made the event.
    pub time: SystemTime,
    pub record: PlatformRecord,
}

#[derive(Debug)]
pub enum PlatformRecord {
    /// Init or restore begins.
    Begin(PhaseStart),
    Init(PhaseReport),
    Restore(PhaseReport),
    Start(InvocationStart),
    RuntimeDone(RuntimeDone),
    Report(InvocationReport),
    Other,
}

/// Init or restore begins.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PhaseStart {
    /// Only init has it.
    #[serde(default)]
    initialization_type: Value,
    /// Names the sandbox.
    #[serde(default)]
    instance_id: Value,
}

/// The report of init or restore.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PhaseReport {
    pub(crate) initialization_type: Option<String>,
    pub(crate) phase: Option<String>,
    pub(crate) status: Option<String>,
    pub(crate) error_type: Option<String>,
    pub(crate) metrics: ReportMetrics,
}

/// An invocation begins.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvocationStart {
    pub request_id: String,
    #[serde(default)]
    tracing: Value,
    #[serde(default)]
    tenant_id: Value,
}

/// The runtime has finished an invocation, or never will. Only the id is required, whatever the form of
/// the other fields, because Next waits for this event.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeDone {
    pub request_id: String,
    #[serde(default)]
    status: Value,
    #[serde(default)]
    error_type: Value,
    #[serde(default)]
    pub(crate) spans: Value,
}

/// The resources that an invocation used.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvocationReport {
    pub request_id: String,
    #[serde(default)]
    pub(crate) status: Option<String>,
    #[serde(default)]
    error_type: Option<String>,
    #[serde(default)]
    pub(crate) metrics: ReportMetrics,
}

/// All figures may be missing.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ReportMetrics {
    pub(crate) duration_ms: Option<f64>,
    pub(crate) billed_duration_ms: Option<f64>,
    #[serde(rename = "memorySizeMB")]
    pub(crate) memory_size_mb: Option<f64>,
    #[serde(rename = "maxMemoryUsedMB")]
    pub(crate) max_memory_used_mb: Option<f64>,
    pub(crate) init_duration_ms: Option<f64>,
    pub(crate) restore_duration_ms: Option<f64>,
}

impl<'a> RawEvent<'a> {
    /// Reads one POST. Fails only if the JSON is not an array; other elements than events are skipped.
    pub fn read_all(json: &'a str, now: SystemTime) -> serde_json::Result<Vec<Self>> {
        let events: Vec<&RawValue> = serde_json::from_str(json)?;
        Ok(events.into_iter().filter_map(|event| Self::read(event.get(), now)).collect())
    }

    /// Reads one event; `None` if the JSON is not an object. Without a valid time the event has the time
    /// `now`. A type that is not a string is its JSON.
    pub fn read(json: &'a str, now: SystemTime) -> Option<Self> {
        #[derive(Deserialize)]
        struct EventFields<'a> {
            #[serde(borrow)]
            time: Option<&'a RawValue>,
            #[serde(borrow, rename = "type")]
            kind: Option<&'a RawValue>,
            #[serde(borrow)]
            record: Option<&'a RawValue>,
        }
        let fields: EventFields<'_> = serde_json::from_str(json).ok()?;
        Some(Self {
            time: fields.time.and_then(|time| parse_time(&text(time))).unwrap_or(now),
            kind: fields.kind.map_or(Cow::Borrowed(""), text),
            record: fields.record.map_or("null", RawValue::get),
        })
    }
}

/// A string without its escapes; another value as its JSON.
fn text(value: &RawValue) -> Cow<'_, str> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    let text = serde_json::from_str(value.get());
    text.map_or(Cow::Borrowed(value.get()), |Text(text)| text)
}

impl PlatformEvent {
    /// Decodes an event. An unreadable record becomes [`PlatformRecord::Other`].
    pub fn read(RawEvent { time, kind, record }: &RawEvent<'_>) -> Self {
        let record = match kind.as_ref() {
            "platform.initStart" | "platform.restoreStart" => {
                serde_json::from_str(record).map(PlatformRecord::Begin)
            }
            "platform.initReport" => serde_json::from_str(record).map(PlatformRecord::Init),
            "platform.restoreReport" => serde_json::from_str(record).map(PlatformRecord::Restore),
            "platform.start" => serde_json::from_str(record).map(PlatformRecord::Start),
            "platform.runtimeDone" => serde_json::from_str(record).map(PlatformRecord::RuntimeDone),
            "platform.report" => serde_json::from_str(record).map(PlatformRecord::Report),
            _ => Ok(PlatformRecord::Other),
        };
        Self { time: *time, record: record.unwrap_or(PlatformRecord::Other) }
    }
}

impl PhaseStart {
    /// Whether init makes a snapshot, so that its sandbox is not the one of the invocations.
    pub fn is_of_snapshot(&self) -> bool {
        self.initialization_type == SNAPSHOT
    }

    /// The name of the sandbox; `None` in another form than text.
    pub fn instance_id(&self) -> Option<&str> {
        self.instance_id.as_str().filter(|id| !id.is_empty())
    }
}

impl InvocationStart {
    /// The tenant of the sandbox, without control characters and cut to 256.
    pub fn tenant_id(&self) -> Option<String> {
        let visible = self.tenant_id.as_str()?.trim().chars().filter(|char| !char.is_control());
        let id: String = visible.take(MAX_TENANT_CHARS).collect();
        (!id.is_empty()).then_some(id)
    }

    /// The value of `X-Amzn-Trace-Id`.
    pub fn xray_header(&self) -> Option<&str> {
        self.tracing.get("value")?.as_str()
    }
}

impl RuntimeDone {
    /// Such as `success` or `timeout`; empty in another form.
    pub fn status(&self) -> &str {
        self.status.as_str().unwrap_or_default()
    }

    /// The error type or status of a failed invocation.
    pub fn failure(&self) -> Option<String> {
        let status = self.status.as_str().filter(|status| !["", "success"].contains(status))?;
        Some(self.error_type.as_str().unwrap_or(status).to_owned())
    }
}

impl InvocationReport {
    /// The error type or status of a failed invocation.
    pub fn failure(&self) -> Option<String> {
        failure(self.status.as_ref(), self.error_type.as_ref())
    }

    /// Whether the invocation failed because memory ran out: by the error type, or by a failed status with
    /// all memory used.
    pub fn is_out_of_memory(&self) -> bool {
        let memory = self.metrics.max_memory_used_mb.zip(self.metrics.memory_size_mb);
        let is_full = memory.is_some_and(|(used, size)| size > 0.0 && used >= size);
        self.failure().is_some_and(|error| is_full || error == OUT_OF_MEMORY)
    }

    /// The most memory that the sandbox has used, in MB.
    pub fn max_memory_used_mb(&self) -> Option<f64> {
        self.metrics.max_memory_used_mb
    }
}

impl PhaseReport {
    /// The error type or status of a failed phase.
    pub fn failure(&self) -> Option<String> {
        failure(self.status.as_ref(), self.error_type.as_ref())
    }

    /// Whether init made a snapshot, from which this sandbox and others started.
    pub fn is_of_snapshot(&self) -> bool {
        self.initialization_type.as_deref() == Some(SNAPSHOT) && !self.is_repeated()
    }

    /// Whether init ran within an invocation, because it was suppressed or had failed before.
    pub fn is_repeated(&self) -> bool {
        self.phase.as_deref() == Some("invoke")
    }
}

/// The error type, else the status, unless the status is `success`.
fn failure(status: Option<&String>, error_type: Option<&String>) -> Option<String> {
    let failed = status.filter(|status| !status.is_empty() && *status != "success")?;
    Some(error_type.unwrap_or(failed).clone())
}

/// Milliseconds of an event; a negative, invalid or too large number becomes zero.
pub(crate) fn millis(millis: f64) -> Duration {
    let duration = Duration::try_from_secs_f64(millis / 1e3).unwrap_or_default();
    if duration < LONGEST { duration } else { Duration::ZERO }
}

/// Reads RFC 3339. One of the reference's samples has a colon before the milliseconds.
pub(crate) fn parse_time(text: &str) -> Option<SystemTime> {
    let parse = |text: &str| text.parse::<jiff::Timestamp>().ok().map(SystemTime::from);
    parse(text).or_else(|| {
        let (seconds, millis) = text.rsplit_once(':')?;
        parse(&format!("{seconds}.{millis}"))
    })
}
