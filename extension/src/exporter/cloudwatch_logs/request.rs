//! The log stream of this process: PutLogEvents, and creating the stream and its group.
//! <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html>

use std::{ops::Range, sync::OnceLock};

use aws_sdk_cloudwatchlogs::{
    Client,
    config::endpoint::{DefaultResolver, Params, ResolveEndpoint},
    error::{ProvideErrorMetadata, SdkError},
    operation::put_log_events::{PutLogEventsError, PutLogEventsOutput},
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use tracing::warn;

use crate::client::aws;
use crate::delivery::error::ExportError;
use crate::exporter::cloudwatch_logs::config::CloudWatchLogsConfig;
use crate::otlp::line_codec::LogLine;

#[derive(Debug)]
pub(super) struct LogStream {
    pub(super) group: String,
    retention_days: u16,
    /// Drawn for the first batch, since sandboxes of one snapshot need different streams.
    name: OnceLock<String>,
    config: CloudWatchLogsConfig,
    /// Created for the first batch, like the stream.
    pub(super) client: Option<Client>,
    pub(super) exists: bool,
    /// Whether this process created the group and has not yet set its retention.
    owes_retention: bool,
}

impl LogStream {
    pub(super) fn new(config: &CloudWatchLogsConfig) -> Self {
        Self {
            group: config.group.clone(),
            retention_days: config.retention_days,
            name: OnceLock::new(),
            config: config.clone(),
            client: None,
            exists: false,
            owes_retention: false,
        }
    }

    fn name(&self) -> &str {
        self.name.get_or_init(|| stream_name(&self.config, Timestamp::now()))
    }

    pub(super) async fn put(
        &mut self,
        events: &[LogLine<'_>],
    ) -> Result<PutLogEventsOutput, SdkError<PutLogEventsError, HttpResponse>> {
        let events = events.iter().map(|it| PutEvent { timestamp: it.time_ms, message: it.json });
        let body = PutRequest {
            log_group_name: &self.group,
            log_stream_name: self.name(),
            log_events: events.collect(),
        };
        let bytes = body.log_events.iter().map(|event| event.message.len() * 5 / 4 + 64).sum();
        let set_body = aws::json_body(&body, bytes);
        let request = self.client.get_or_insert_with(client).put_log_events();
        let request = request.log_group_name(&self.group).log_stream_name(self.name());
        let request = request.set_log_events(Some(Vec::new())).customize();
        request.mutate_request(set_body).send().await
    }

    /// Creates the stream, and the group if it does not exist.
    pub(super) async fn create(&mut self) -> Result<(), ExportError> {
        let client = self.client.get_or_insert_with(client).clone();
        let (group, stream) = (self.group.clone(), self.name().to_owned());
        let create =
            || client.create_log_stream().log_group_name(&group).log_stream_name(&stream).send();
        let mut created = create().await.map(drop);
        if created
            .as_ref()
            .is_err_and(|error| aws::code(error) == Some("ResourceNotFoundException"))
        {
            self.create_group().await?;
            created = create().await.map(drop);
        }
        match created {
            Ok(()) => {}
            Err(error) if aws::code(&error) == Some("ResourceAlreadyExistsException") => {}
            Err(error) => return Err(about_service(aws::export_error(error))),
        }
        self.exists = true;
        Ok(())
    }

    async fn create_group(&mut self) -> Result<(), ExportError> {
        let client = self.client.get_or_insert_with(client).clone();
        let create = || client.create_log_group().log_group_name(&self.group).send();
        self.owes_retention = true; // the request may succeed without an answer
        let mut created = create().await;
        if created
            .as_ref()
            .is_err_and(|error| aws::code(error) == Some("OperationAbortedException"))
        {
            created = create().await;
        }
        match created {
            Ok(_) => Ok(()),
            // Another process created the group and sets its retention.
            Err(error) if aws::code(&error) == Some("ResourceAlreadyExistsException") => {
                self.owes_retention = false;
                Ok(())
            }
            Err(error) => {
                let error = aws::export_error(error);
                self.owes_retention = !error.is_definitive();
                Err(about_service(error))
            }
        }
    }

    /// Only for a group that this process created. A temporary failure is retried with the next batch.
    pub(super) async fn set_retention(&mut self) {
        if !self.owes_retention || !self.exists {
            return;
        }
        let (group, days) = (&self.group, self.retention_days);
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
            warn!(
                "The log group {group} never expires its lines, since its retention of {days} days could not be \
                 set: {error}"
            );
        }
    }
}

fn client() -> Client {
    Client::new(&aws::sdk_config())
}

/// The address of the service, by the SDK's rules. `None` without a valid Region.
pub(super) async fn endpoint() -> Option<String> {
    let config = aws::sdk_config();
    let parameters = Params::builder()
        .set_region(config.region().map(|region| region.to_string()))
        .set_use_fips(config.use_fips())
        .set_use_dual_stack(config.use_dual_stack())
        .set_endpoint(aws::endpoint_override(&config, "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS"))
        .build()
        .ok()?;
    let resolver = DefaultResolver::new();
    let endpoint = ResolveEndpoint::resolve_endpoint(&resolver, &parameters).await.ok()?;
    Some(endpoint.url().to_owned())
}

/// The range of `events` that the reply accepted; the others are too old or too new.
pub(super) fn accepted_events(reply: &PutLogEventsOutput, events: usize) -> Range<usize> {
    let Some(info) = reply.rejected_log_events_info() else { return 0..events };
    let index = |index: Option<i32>| index.and_then(|index| usize::try_from(index).ok());
    let too_old = index(info.too_old_log_event_end_index()).unwrap_or(0);
    let expired = index(info.expired_log_event_end_index()).unwrap_or(0);
    let too_new = index(info.too_new_log_event_start_index()).unwrap_or(events).min(events);
    too_old.max(expired).min(too_new)..too_new
}

/// Whether the request itself is invalid or too large.
pub(super) fn is_invalid<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    let too_large = StatusCode::PAYLOAD_TOO_LARGE.as_u16();
    let invalid = ["InvalidParameterException", "RequestEntityTooLarge", "SerializationException"];
    aws::code(error).is_some_and(|code| invalid.contains(&code))
        || error.raw_response().is_some_and(|reply| reply.status().as_u16() == too_large)
}

/// Marks an error of the group, the stream or the account, after which the batch is kept.
pub(super) fn about_service(error: ExportError) -> ExportError {
    if error.is_final() { ExportError::NotAboutBatch(Box::new(error)) } else { error }
}

/// The request of PutLogEvents.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PutRequest<'a> {
    log_group_name: &'a str,
    log_stream_name: &'a str,
    log_events: Vec<PutEvent<'a>>,
}

#[derive(Serialize)]
struct PutEvent<'a> {
    timestamp: i64,
    message: &'a str,
}

/// The function's name and Lambda's form of stream names: `home/2026/11/21/[7]<32 hex digits>`.
fn stream_name(config: &CloudWatchLogsConfig, now: Timestamp) -> String {
    let date = now.to_string()[..10].replace('-', "/");
    let id = fastrand::u128(..);
    let (function, version) = (&config.function, &config.version);
    format!("{function}/{date}/[{version}]{id:032x}").replace([':', '*'], "-")
}
