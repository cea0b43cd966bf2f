//! Writes lines and OTLP log records to CloudWatch Logs: one group for all functions, a stream for
//! each process.
//! <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html>
//!
//! | answer | what follows |
//! |---|---|
//! | taken, some events refused by age | those are counted as rejected |
//! | group or stream not found | it is made, once per batch, and the request sent again |
//! | invalid, or too large | the request is sent in halves, until the event is found that is |
//! | somebody else makes the group at the moment | it is asked for once more |
//! | throttled, access denied, 5xx, no connection | as with any destination: the batch is kept |
//!
//! Of a batch that is kept, the lines that the service has spoken of are not sent again (`settled`).

pub mod config;
mod from_otlp;
mod request;
mod acknowledged;
#[cfg(test)]
mod tests;

use std::ops::Range;

use aws_sdk_cloudwatchlogs::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::put_log_events::{PutLogEventsError, PutLogEventsOutput},
    types::InputLogEvent,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use http::StatusCode;
use jiff::{Timestamp, tz::TimeZone};
use tracing::warn;

use crate::{
    client::aws,
    delivery::{
        DestinationSpec, Exporter,
        batch::Batch,
        error::{ExportError, ExportOutcome},
        healthcheck::Finding,
    },
    exporter::cloudwatch_logs::{acknowledged::AcknowledgedLines, config::CloudWatchLogsConfig},
    otlp::{
        line_codec::{self, LogLine},
        payload::SignalKind,
    },
    processor::log_lines::emf::AccessLines,
    scrub::Scrubber,
};
use futures_util::future::BoxFuture;

/// How many halves of a refused request are tried. Our choice: enough to find 18 bad events, wherever
/// they are among ten thousand; to find one takes 28. What is refused then is given up as it is.
const MAX_HALVES: usize = 512;

/// See the module's documentation.
#[derive(Debug)]
pub struct CloudWatchLogs {
    config: CloudWatchLogsConfig,
    scrubber: Scrubber,
    stream: String,
    /// Made for the first batch, like the stream.
    client: Option<Client>,
    stream_exists: bool,
    /// Whether the group was made here, and keeps its lines for ever as yet.
    owes_retention: bool,
    settled: AcknowledgedLines,
    access_lines: AccessLines,
    rejection_reported: bool,
}

impl CloudWatchLogs {
    /// An exporter that has not opened anything yet.
    pub fn new(config: CloudWatchLogsConfig) -> Self {
        Self {
            stream: stream_name(&config, Timestamp::now()),
            scrubber: Scrubber::new(&config.scrub),
            config,
            client: None,
            stream_exists: false,
            owes_retention: false,
            settled: AcknowledgedLines::default(),
            access_lines: AccessLines::default(),
            rejection_reported: false,
        }
    }

    /// Sends a batch in as few requests as the service allows.
    pub async fn export(&mut self, batch: &Batch) -> Result<ExportOutcome, ExportError> {
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
        let mut settled = self.settled.clone();
        let mut left = Vec::with_capacity(lines.len());
        for line in lines {
            match settled.take(&line) {
                Some(was_refused) => rejected += u64::from(was_refused),
                None => left.push(line),
            }
        }
        for request in request::of(left) {
            rejected += self.deliver(&request).await?;
        }
        self.set_retention().await;
        self.settled = settled; // nothing of this batch will come again
        Ok(ExportOutcome { rejected, unsampled: 0 })
    }

    /// Makes nothing: puts a line into a stream that is not there. Who may not is refused; who may
    /// is told what is missing, the stream or the group.
    pub async fn check(&mut self) -> Vec<Finding> {
        let line = LogLine { time_ms: Timestamp::now().as_millisecond(), json: "{}" };
        let refused = self.put(&[line]).await.err();
        let group = &self.config.group;
        vec![match refused {
            Some(error) if aws::code(&error) == Some("ResourceNotFoundException") => {
                let said = error.as_service_error().and_then(ProvideErrorMetadata::message);
                match said.is_some_and(|said| said.contains("group")) {
                    true => Finding::warning(format!(
                        "there is no log group {group} yet: it is made with the first line, if \
                         the function's role may"
                    )),
                    false => Finding::fine(format!("takes lines for the log group {group}")),
                }
            }
            Some(error) => {
                let error = aws::export_error(error);
                Finding::failed(&format!("a line for the log group {group}"), &error)
            }
            None => Finding::fine(format!("takes lines for the log group {group}")),
        }]
    }

    /// The next batch makes new connections.
    pub fn disconnect(&mut self) {
        self.client = None;
    }

    /// Sends one request, in halves if it must be; returns how many events were refused for good.
    async fn deliver(&mut self, request: &[LogLine<'_>]) -> Result<u64, ExportError> {
        let (mut rejected, mut halves, mut made) = (0, 0, false);
        let mut left = vec![request];
        while let Some(events) = left.pop() {
            if !self.stream_exists {
                self.make_stream().await?;
                made = true;
            }
            let error = match self.put(events).await {
                Ok(reply) => {
                    let taken = taken(&reply, events.len());
                    let refused = (events.len() - taken.len()) as u64;
                    if refused > 0 {
                        self.report(refused, "they are too old, or of the future");
                    }
                    rejected += refused;
                    for (index, line) in events.iter().enumerate() {
                        self.settled.note(line, !taken.contains(&index));
                    }
                    continue;
                }
                Err(error) => error,
            };
            match aws::code(&error) {
                Some("ResourceNotFoundException") if !made => {
                    self.stream_exists = false;
                    left.push(events);
                }
                _ if is_invalid(&error) && events.len() > 1 && halves < MAX_HALVES => {
                    let (first, second) = events.split_at(events.len() / 2);
                    left.extend([second, first]);
                    halves += 2;
                }
                _ if is_invalid(&error) => {
                    let reason = aws::export_error(error);
                    self.report(events.len() as u64, &reason.to_string());
                    rejected += events.len() as u64;
                    events.iter().for_each(|line| self.settled.note(line, true));
                }
                _ => return Err(kept(aws::export_error(error))),
            }
        }
        Ok(rejected)
    }

    async fn put(
        &mut self,
        events: &[LogLine<'_>],
    ) -> Result<PutLogEventsOutput, SdkError<PutLogEventsError, HttpResponse>> {
        let events = events.iter().filter_map(|line| {
            let event = InputLogEvent::builder().timestamp(line.time_ms).message(line.json);
            event.build().ok() // fails only without one of the two
        });
        let events = events.collect();
        let request = self.client().put_log_events();
        let request = request.log_group_name(&self.config.group).log_stream_name(&self.stream);
        request.set_log_events(Some(events)).send().await
    }

    /// Once a process: the summary has the numbers.
    fn report(&mut self, rejected: u64, reason: &str) {
        if !std::mem::replace(&mut self.rejection_reported, true) {
            warn!("cloudwatch did not take {rejected} lines of a batch: {reason}");
        }
    }

    async fn make_stream(&mut self) -> Result<(), ExportError> {
        let (client, group) = (self.client().clone(), self.config.group.clone());
        let stream = self.stream.clone();
        let create =
            || client.create_log_stream().log_group_name(&group).log_stream_name(&stream).send();
        let mut created = create().await.map(drop);
        if created
            .as_ref()
            .is_err_and(|error| aws::code(error) == Some("ResourceNotFoundException"))
        {
            self.make_group().await?;
            created = create().await.map(drop);
        }
        match created {
            Ok(()) => {}
            Err(error) if aws::code(&error) == Some("ResourceAlreadyExistsException") => {}
            Err(error) => return Err(kept(aws::export_error(error))),
        }
        self.stream_exists = true;
        Ok(())
    }

    async fn make_group(&mut self) -> Result<(), ExportError> {
        let client = self.client().clone();
        let create = || client.create_log_group().log_group_name(&self.config.group).send();
        self.owes_retention = true; // it may be made, even if no answer comes
        let mut created = create().await;
        if created
            .as_ref()
            .is_err_and(|error| aws::code(error) == Some("OperationAbortedException"))
        {
            created = create().await;
        }
        match created {
            Ok(_) => Ok(()),
            // Else somebody else has made it, and cares for its retention.
            Err(error) if aws::code(&error) == Some("ResourceAlreadyExistsException") => {
                self.owes_retention = false;
                Ok(())
            }
            Err(error) => {
                let error = aws::export_error(error);
                self.owes_retention = !error.is_answer();
                Err(kept(error))
            }
        }
    }

    /// Of a group that was made here. Tried again with the next batch, unless that is in vain.
    async fn set_retention(&mut self) {
        if !self.owes_retention || !self.stream_exists {
            return;
        }
        let (group, days) = (&self.config.group, self.config.retention_days);
        let request = self.client.get_or_insert_with(client).put_retention_policy();
        let request = request.log_group_name(group).retention_in_days(i32::from(days));
        let Err(error) = request.send().await else {
            self.owes_retention = false;
            return;
        };
        let is_aborted = aws::code(&error) == Some("OperationAbortedException");
        let error = aws::export_error(error);
        if error.is_denied() || (error.is_final() && !is_aborted) {
            self.owes_retention = false;
            warn!("The group {group} keeps its lines for ever, not {days} days: {error}");
        }
    }

    fn client(&mut self) -> &Client {
        self.client.get_or_insert_with(client)
    }
}

impl Exporter for CloudWatchLogs {
    fn spec(&self) -> DestinationSpec {
        DestinationSpec {
            name: "cloudwatch",
            kinds: vec![SignalKind::Lines, SignalKind::Logs],
            durable: true,
            keeps_duplicates: true,
        }
    }

    fn export<'a>(
        &'a mut self,
        batch: &'a Batch,
    ) -> BoxFuture<'a, Result<ExportOutcome, ExportError>> {
        Box::pin(self.export(batch))
    }

    fn reset_connections(&mut self) {
        self.disconnect();
    }

    fn healthcheck(&mut self) -> BoxFuture<'_, Vec<Finding>> {
        Box::pin(self.check())
    }
}

fn client() -> Client {
    Client::new(&aws::sdk_config())
}

/// Which of so many events a reply did not refuse because of their time.
fn taken(reply: &PutLogEventsOutput, events: usize) -> Range<usize> {
    let Some(info) = reply.rejected_log_events_info() else { return 0..events };
    let index = |index: Option<i32>| index.and_then(|index| usize::try_from(index).ok());
    let too_old = index(info.too_old_log_event_end_index()).unwrap_or(0);
    let expired = index(info.expired_log_event_end_index()).unwrap_or(0);
    let too_new = index(info.too_new_log_event_start_index()).unwrap_or(events).min(events);
    too_old.max(expired).min(too_new)..too_new
}

/// Whether something in the request itself is wrong.
fn is_invalid<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    let too_large = StatusCode::PAYLOAD_TOO_LARGE.as_u16();
    let invalid = ["InvalidParameterException", "RequestEntityTooLarge", "SerializationException"];
    aws::code(error).is_some_and(|code| invalid.contains(&code))
        || error.raw_response().is_some_and(|reply| reply.status().as_u16() == too_large)
}

/// The fault lies in the group, the stream or the account: no verdict on the batch.
fn kept(error: ExportError) -> ExportError {
    if error.is_final() { ExportError::Elsewhere(Box::new(error)) } else { error }
}

/// As Lambda names its own, behind the function's name: `home/2026/11/21/[7]<32 hex digits>`.
fn stream_name(config: &CloudWatchLogsConfig, now: Timestamp) -> String {
    let date = now.to_zoned(TimeZone::UTC).strftime("%Y/%m/%d").to_string();
    let id = fastrand::u128(..);
    let (function, version) = (&config.function, &config.version);
    format!("{function}/{date}/[{version}]{id:032x}").replace([':', '*'], "-")
}
