//! The Telemetry API's events, as far as they become spans.
//! <https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html>
//!
//! Unknown types and fields are fine, and so are missing ones: Lambda adds some every year.

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::Value;

use super::span::PlatformSpan;

/// An event that could be read.
#[derive(Debug)]
pub struct Event {
    /// When the platform made the event.
    pub time: SystemTime,
    /// What it says.
    pub record: Record,
}

/// The records that matter here.
#[derive(Debug)]
pub enum Record {
    /// `platform.initReport`
    Init(Phase),
    /// `platform.restoreReport`
    Restore(Phase),
    /// `platform.runtimeDone`
    RuntimeDone(RuntimeDone),
    /// `platform.report`
    Report(Report),
    /// Everything else.
    Other,
}

/// A phase before an invocation.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Phase {
    pub(super) initialization_type: Option<String>,
    pub(super) phase: Option<String>,
    pub(super) status: Option<String>,
    pub(super) error_type: Option<String>,
    pub(super) metrics: Metrics,
}

/// The runtime has finished an invocation, or will never.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeDone {
    /// Which one.
    pub request_id: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    error_type: Option<String>,
    #[serde(default)]
    spans: Vec<Value>,
}

/// What an invocation cost.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Which one.
    pub request_id: String,
    #[serde(default)]
    pub(super) status: Option<String>,
    #[serde(default)]
    pub(super) metrics: Metrics,
}

/// Figures of an event; all may be missing.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Metrics {
    pub(super) duration_ms: Option<f64>,
    pub(super) billed_duration_ms: Option<f64>,
    #[serde(rename = "memorySizeMB")]
    pub(super) memory_size_mb: Option<f64>,
    #[serde(rename = "maxMemoryUsedMB")]
    pub(super) max_memory_used_mb: Option<f64>,
    pub(super) init_duration_ms: Option<f64>,
    pub(super) restore_duration_ms: Option<f64>,
}

#[derive(Deserialize)]
struct RawEvent {
    #[serde(default)]
    time: String,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    record: Value,
}

impl Event {
    /// Reads one POST. Fails only if it is no array; an event that cannot be read is left out, and
    /// a record that cannot be read is [`Record::Other`].
    pub fn read_all(json: &[u8], now: SystemTime) -> serde_json::Result<Vec<Self>> {
        let events: Vec<Value> = serde_json::from_slice(json)?;
        let readable = events.into_iter().filter_map(|event| serde_json::from_value(event).ok());
        Ok(readable.map(|event| Self::read(event, now)).collect())
    }

    fn read(RawEvent { time, kind, record }: RawEvent, now: SystemTime) -> Self {
        let record = match kind.as_str() {
            "platform.initReport" => serde_json::from_value(record).map(Record::Init),
            "platform.restoreReport" => serde_json::from_value(record).map(Record::Restore),
            "platform.runtimeDone" => serde_json::from_value(record).map(Record::RuntimeDone),
            "platform.report" => serde_json::from_value(record).map(Record::Report),
            _ => Ok(Record::Other),
        };
        Self { time: parse_time(&time).unwrap_or(now), record: record.unwrap_or(Record::Other) }
    }
}

impl RuntimeDone {
    /// Why the invocation failed, or `None` if it did not.
    pub(super) fn failure(&self) -> Option<String> {
        let failed = !self.status.is_empty() && self.status != "success";
        failed.then(|| self.error_type.clone().unwrap_or_else(|| self.status.clone()))
    }

    /// The span `runtimeOverhead`: from the reply to the runtime's next request for work.
    pub(super) fn overhead(&self) -> Option<PlatformSpan> {
        let span = self.spans.iter().find(|span| span["name"] == "runtimeOverhead")?;
        let start = parse_time(span["start"].as_str()?)?;
        Some(PlatformSpan::new(
            "runtimeOverhead",
            start,
            start + millis(span["durationMs"].as_f64()?),
        ))
    }
}

/// Milliseconds of an event; nonsense is no time at all.
pub(super) fn millis(millis: f64) -> Duration {
    Duration::try_from_secs_f64(millis / 1e3).unwrap_or_default()
}

/// RFC 3339. One of the reference's samples has a colon before the milliseconds.
fn parse_time(text: &str) -> Option<SystemTime> {
    let parse = |text: &str| text.parse::<jiff::Timestamp>().ok().map(SystemTime::from);
    parse(text).or_else(|| {
        let (seconds, millis) = text.rsplit_once(':')?;
        parse(&format!("{seconds}.{millis}"))
    })
}
