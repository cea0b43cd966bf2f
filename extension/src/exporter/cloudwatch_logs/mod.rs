//! Writes lines and OTLP log records to CloudWatch Logs: one group for all functions, one stream per
//! process.
//!
//! | answer | consequence |
//! |---|---|
//! | accepted, some events too old or too new | those events are counted as rejected |
//! | group or stream not found | it is created, once per batch, and the request is sent again |
//! | invalid, or too large | the request is halved until the invalid event is found |
//! | another process is creating the group | the group is requested once more |
//! | throttled, access denied, 5xx, no connection | the batch is kept and retried |
//!
//! If a batch is retried, lines that the service accepted or rejected are not sent again
//! (`acknowledged`).

pub mod config;
mod acknowledged;
mod chunk;
pub mod from_otlp;
mod request;
mod healthcheck;
#[cfg(test)]
mod tests;

use futures_util::future::BoxFuture;
use tracing::warn;

use crate::client::aws;
use crate::delivery::batch::Batch;
use crate::delivery::error::{ExportError, ExportOutcome};
use crate::delivery::healthcheck::Finding;
use crate::delivery::{DestinationSpec, Exporter};
use crate::exporter::cloudwatch_logs::acknowledged::AcknowledgedLines;
use crate::exporter::cloudwatch_logs::chunk::into_requests;
use crate::exporter::cloudwatch_logs::config::{CloudWatchLogsConfig, VARIABLES};
use crate::exporter::cloudwatch_logs::request::{
    LogStream, about_service, accepted_events, is_invalid,
};
use crate::exporter::kind::{ExporterConfig, ExporterKind};
use crate::invocation::registry::Registry;
use crate::otlp::line_codec;
use crate::otlp::line_codec::LogLine;
use crate::otlp::payload::{Payload, SignalKind};
use crate::processor::log_lines::emf::AccessLines;
use crate::scrub::Scrubber;

/// Most halves of a refused request. One invalid event among 10,000 takes 28 halves, so this isolates
/// 18 of them; a part that is refused after that is dropped whole.
const MAX_HALVES: usize = 512;

pub const KIND: ExporterKind = ExporterKind {
    name: "cloudwatch",
    variables: VARIABLES,
    read: |reader, selection| {
        Some(Box::new(CloudWatchLogsConfig::read(reader, selection.is_named)?))
    },
};

impl ExporterConfig for CloudWatchLogsConfig {
    fn start(&self, _: Option<&Registry>) -> Box<dyn Exporter> {
        Box::new(CloudWatchLogs::new(self))
    }
}

#[derive(Debug)]
pub struct CloudWatchLogs {
    stream: LogStream,
    scrubber: Scrubber,
    acknowledged: AcknowledgedLines,
    access_lines: AccessLines,
    has_logged_rejection: bool,
}

impl CloudWatchLogs {
    pub fn new(config: &CloudWatchLogsConfig) -> Self {
        Self {
            stream: LogStream::new(config),
            scrubber: Scrubber::new(&config.scrub),
            acknowledged: AcknowledgedLines::default(),
            access_lines: AccessLines::default(),
            has_logged_rejection: false,
        }
    }

    async fn send_batch(&mut self, batch: &Batch) -> Result<ExportOutcome, ExportError> {
        let unreadable = |error: &dyn std::fmt::Display| ExportError::Unreadable(error.to_string());
        let plain = batch.to_plain().map_err(|error| unreadable(&error))?;
        let records = match batch.kind {
            SignalKind::Lines => Vec::new(),
            _ => from_otlp::lines(&plain, &self.scrubber, &mut self.access_lines)
                .map_err(|error| unreadable(&error))?,
        };
        let lines: Vec<LogLine<'_>> = match batch.kind {
            SignalKind::Lines => line_codec::read(&plain).collect(),
            _ => {
                records.iter().map(|(time_ms, json)| LogLine { time_ms: *time_ms, json }).collect()
            }
        };
        let mut rejected = batch.items.saturating_sub(lines.len() as u64);
        let mut acknowledged = self.acknowledged.clone();
        let mut left = Vec::with_capacity(lines.len());
        for line in lines {
            match acknowledged.take(&line) {
                Some(is_rejected) => rejected += u64::from(is_rejected),
                None => left.push(line),
            }
        }
        let mut requests = into_requests(left).into_iter();
        while let Some(request) = requests.next() {
            rejected += self.send_request(&request, requests.len() == 0).await?;
        }
        self.stream.set_retention().await;
        self.acknowledged = acknowledged; // the lines of a complete batch are forgotten
        Ok(ExportOutcome { rejected, unsampled: 0 })
    }

    /// Sends one request, or halves of it while it is invalid. Returns the number of rejected events.
    async fn send_request(
        &mut self,
        request: &[LogLine<'_>],
        is_last: bool,
    ) -> Result<u64, ExportError> {
        let (mut rejected, mut halves, mut has_created) = (0, 0, false);
        let mut left = vec![request];
        while let Some(events) = left.pop() {
            if !self.stream.exists {
                self.stream.create().await?;
                has_created = true;
            }
            let error = match self.stream.put(events).await {
                Ok(reply) => {
                    let accepted = accepted_events(&reply, events.len());
                    let refused = (events.len() - accepted.len()) as u64;
                    if refused > 0 {
                        self.log_rejection(refused, "they are too old or too new");
                    }
                    rejected += refused;
                    if is_last && left.is_empty() {
                        continue; // the batch is complete, so no retry needs them
                    }
                    for (index, line) in events.iter().enumerate() {
                        self.acknowledged.insert(line, !accepted.contains(&index));
                    }
                    continue;
                }
                Err(error) => error,
            };
            match aws::code(&error) {
                Some("ResourceNotFoundException") if !has_created => {
                    self.stream.exists = false;
                    left.push(events);
                }
                _ if is_invalid(&error) && events.len() > 1 && halves < MAX_HALVES => {
                    let (first, second) = events.split_at(events.len() / 2);
                    left.extend([second, first]);
                    halves += 2;
                }
                _ if is_invalid(&error) => {
                    let reason = aws::export_error(error);
                    self.log_rejection(events.len() as u64, &reason.to_string());
                    rejected += events.len() as u64;
                    events.iter().for_each(|line| self.acknowledged.insert(line, true));
                }
                _ => return Err(about_service(aws::export_error(error))),
            }
        }
        Ok(rejected)
    }

    /// Once per process: the summary has the numbers.
    fn log_rejection(&mut self, rejected: u64, reason: &str) {
        if !std::mem::replace(&mut self.has_logged_rejection, true) {
            warn!("cloudwatch rejected {rejected} lines of a batch: {reason}");
        }
    }
}

impl Exporter for CloudWatchLogs {
    fn spec(&self) -> DestinationSpec {
        DestinationSpec {
            name: "cloudwatch",
            kinds: vec![SignalKind::Lines, SignalKind::Logs],
            durable: true,
            max_items: u64::MAX,
            keeps_duplicates: true,
        }
    }

    fn export<'a>(
        &'a mut self,
        batch: &'a Batch,
    ) -> BoxFuture<'a, Result<ExportOutcome, ExportError>> {
        Box::pin(self.send_batch(batch))
    }

    fn preview(&self, payload: &Payload) -> Result<Vec<String>, ExportError> {
        if payload.kind == SignalKind::Lines {
            let lines = line_codec::read(&payload.bytes);
            return Ok(lines.map(|line| line.json.to_owned()).collect());
        }
        let mut access_lines = self.access_lines.clone();
        let lines = from_otlp::lines(&payload.bytes, &self.scrubber, &mut access_lines);
        let lines = lines.map_err(|error| ExportError::Unreadable(error.to_string()))?;
        Ok(lines.into_iter().map(|(_, json)| json).collect())
    }

    fn reset_connections(&mut self) {
        self.stream.client = None;
    }

    fn endpoint(&mut self) -> BoxFuture<'_, Option<String>> {
        Box::pin(request::endpoint())
    }

    fn healthcheck(&mut self) -> BoxFuture<'_, Vec<Finding>> {
        Box::pin(async { vec![healthcheck::check(&mut self.stream).await] })
    }
}
