//! Segment documents, as X-Ray reads them.
//! <https://docs.aws.amazon.com/xray/latest/devguide/xray-api-segmentdocuments.html>
//!
//! A span is always a document of its own, never embedded in its parent's: so a trace of any size
//! is already split to where each document is small. Fields that we never write are left out.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Serialize, Serializer};
use trace_context::{SpanId, TraceId};

use crate::exporter::xray::json_value::MetadataValue;

/// A segment, or one independent subsegment.
#[derive(Debug, Serialize)]
pub(super) struct Document<'a> {
    /// A node of the service map, or a line in the timeline; see [`super::name`].
    pub(super) name: String,
    /// Unique in the trace.
    #[serde(serialize_with = "displayed")]
    pub(super) id: SpanId,
    /// As `1-<8 hex>-<24 hex>`.
    #[serde(serialize_with = "xray_form")]
    pub(super) trace_id: TraceId,
    /// What it hangs under. A subsegment always has one.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "displayed_option")]
    pub(super) parent_id: Option<SpanId>,
    /// `subsegment`, or nothing for a segment.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<&'static str>,
    /// Unix seconds, to the microsecond.
    pub(super) start_time: f64,
    /// Unix seconds, not before `start_time`.
    pub(super) end_time: f64,
    /// Of a subsegment: `aws`, `remote`, or nothing for local code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) namespace: Option<&'static str>,
    /// The caller is to blame: 4xx.
    #[serde(skip_serializing_if = "is_false")]
    pub(super) error: bool,
    /// 429, or what AWS calls throttling.
    #[serde(skip_serializing_if = "is_false")]
    pub(super) throttle: bool,
    /// The callee is to blame: 5xx, or a failed span.
    #[serde(skip_serializing_if = "is_false")]
    pub(super) fault: bool,
    /// A request that was served, or sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) http: Option<HttpBlock<'a>>,
    /// Of a subsegment: the call. Of a segment: who runs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) aws: Option<AwsBlock<'a>>,
    /// Of a subsegment: a query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sql: Option<SqlBlock<'a>>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cause: Option<CauseBlock<'a>>,
    /// Of a segment: the end user, indexed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<Cow<'a, str>>,
    /// Of a segment: what was running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) service: Option<ServiceBlock<'a>>,
    /// Indexed, and so few.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<Cow<'a, str>, MetadataValue<'a>>,
    /// All else, by namespace and key.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) metadata: BTreeMap<Cow<'a, str>, BTreeMap<Cow<'a, str>, MetadataValue<'a>>>,
}

/// A request and its reply.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct HttpBlock<'a> {
    /// What was asked.
    #[serde(skip_serializing_if = "HttpRequest::is_empty")]
    pub(super) request: HttpRequest<'a>,
    /// What was answered.
    #[serde(skip_serializing_if = "HttpResponse::is_empty")]
    pub(super) response: HttpResponse,
}

/// What was asked.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct HttpRequest<'a> {
    /// `GET`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) method: Option<Cow<'a, str>>,
    /// The whole URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) url: Option<Cow<'a, str>>,
    /// The header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user_agent: Option<Cow<'a, str>>,
    /// Who asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client_ip: Option<Cow<'a, str>>,
    /// Of a segment: the address comes from a header, and anybody can write one.
    #[serde(skip_serializing_if = "is_false")]
    pub(super) x_forwarded_for: bool,
}

/// What was answered.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct HttpResponse {
    /// 100 to 599.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<u16>,
    /// In bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content_length: Option<u64>,
}

impl HttpRequest<'_> {
    fn is_empty(&self) -> bool {
        *self == HttpRequest::default()
    }
}

impl HttpResponse {
    fn is_empty(&self) -> bool {
        *self == HttpResponse::default()
    }
}

/// A call of an AWS service, or the account and programs behind a segment.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct AwsBlock<'a> {
    /// `Query`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) operation: Option<Cow<'a, str>>,
    /// If it is not the sender's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) account_id: Option<Cow<'a, str>>,
    /// If it is not the sender's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) region: Option<Cow<'a, str>>,
    /// The service's id of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) request_id: Option<Cow<'a, str>>,
    /// SQS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) queue_url: Option<Cow<'a, str>>,
    /// DynamoDB, a single table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) table_name: Option<Cow<'a, str>>,
    /// DynamoDB, several tables: as the OpenTelemetry collector writes them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) table_names: Vec<Cow<'a, str>>,
    /// How often it was tried again, as X-Ray's own SDKs write it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) retries: Option<u64>,
    /// Of a segment: where its logs are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) cloudwatch_logs: Vec<LogGroup<'a>>,
    /// Of a segment: what recorded it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) xray: Option<Sdk<'a>>,
}

/// A group of CloudWatch Logs.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct LogGroup<'a> {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) log_group: Option<Cow<'a, str>>,
    /// Its ARN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) arn: Option<Cow<'a, str>>,
}

/// What recorded a segment.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Sdk<'a> {
    /// `opentelemetry for rust`.
    pub(super) sdk: String,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sdk_version: Option<Cow<'a, str>>,
}

/// A query of a relational database.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct SqlBlock<'a> {
    /// Without secrets, as the sender gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) url: Option<Cow<'a, str>>,
    /// Without values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sanitized_query: Option<Cow<'a, str>>,
    /// `postgresql`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) database_type: Option<Cow<'a, str>>,
    /// The data base's user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<Cow<'a, str>>,
}

/// Why it failed.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct CauseBlock<'a> {
    /// The directory of the sender's process: unknown, and the field is required.
    pub(super) working_directory: &'static str,
    /// What was thrown, in the order of the events.
    pub(super) exceptions: Vec<SegmentException<'a>>,
}

/// An error, a panic, an exception.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct SegmentException<'a> {
    /// 16 hex digits, the same whenever the span is sent.
    pub(super) id: String,
    /// What it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<Cow<'a, str>>,
    /// Its type's name.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<Cow<'a, str>>,
    /// It came from a service that was called.
    #[serde(skip_serializing_if = "is_false")]
    pub(super) remote: bool,
    /// Frames that did not fit.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) truncated: usize,
    /// The innermost frame first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) stack: Vec<SegmentFrame<'a>>,
}

/// A frame of a stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct SegmentFrame<'a> {
    /// The file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<Cow<'a, str>>,
    /// The line in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) line: Option<u32>,
    /// The function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) label: Option<Cow<'a, str>>,
}

/// What was running.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct ServiceBlock<'a> {
    /// The application's version.
    pub(super) version: Cow<'a, str>,
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(value: &usize) -> bool {
    *value == 0
}

fn displayed<S: Serializer>(id: &SpanId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

fn displayed_option<S: Serializer>(id: &Option<SpanId>, serializer: S) -> Result<S::Ok, S::Error> {
    match id {
        Some(id) => serializer.collect_str(id),
        None => serializer.serialize_none(),
    }
}

fn xray_form<S: Serializer>(id: &TraceId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&id.to_xray())
}
