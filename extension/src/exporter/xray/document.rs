//! Segment documents, as X-Ray reads them.
//! <https://docs.aws.amazon.com/xray/latest/devguide/xray-api-segmentdocuments.html>
//!
//! Each span is a separate document, so that a large trace needs no splitting. The types omit fields
//! that the exporter never writes.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Serialize, Serializer};
use trace_context::{SpanId, TraceId};

use crate::exporter::xray::json_value::MetadataValue;

/// A segment, or one independent subsegment.
#[derive(Debug, Serialize)]
pub(super) struct Document<'a> {
    pub(super) name: String,
    #[serde(serialize_with = "displayed")]
    pub(super) id: SpanId,
    /// As `1-<8 hex>-<24 hex>`.
    #[serde(serialize_with = "xray_form")]
    pub(super) trace_id: TraceId,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "displayed_option")]
    pub(super) parent_id: Option<SpanId>,
    /// `subsegment`, or `None` for a segment.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<&'static str>,
    /// Unix seconds, to the microsecond.
    pub(super) start_time: f64,
    /// Unix seconds, not before `start_time`.
    pub(super) end_time: f64,
    /// Only of subsegments: `aws`, `remote`, or `None` for local code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) namespace: Option<&'static str>,
    /// The caller caused it: 4xx.
    #[serde(skip_serializing_if = "is_false")]
    pub(super) error: bool,
    /// 429, or an AWS throttling error.
    #[serde(skip_serializing_if = "is_false")]
    pub(super) throttle: bool,
    /// The callee caused it: 5xx, or a failed span.
    #[serde(skip_serializing_if = "is_false")]
    pub(super) fault: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) http: Option<HttpBlock<'a>>,
    /// A subsegment's AWS call; a segment's account, log groups and SDK.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) aws: Option<AwsBlock<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sql: Option<SqlBlock<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cause: Option<CauseBlock<'a>>,
    /// The end user, indexed; only of segments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) service: Option<ServiceBlock<'a>>,
    /// Indexed, so at most [`super::limits::MAX_ANNOTATIONS`] per trace.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<Cow<'a, str>, MetadataValue<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) metadata: BTreeMap<Cow<'a, str>, BTreeMap<Cow<'a, str>, MetadataValue<'a>>>,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct HttpBlock<'a> {
    #[serde(skip_serializing_if = "HttpRequest::is_empty")]
    pub(super) request: HttpRequest<'a>,
    #[serde(skip_serializing_if = "HttpResponse::is_empty")]
    pub(super) response: HttpResponse,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct HttpRequest<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) method: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) url: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user_agent: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client_ip: Option<Cow<'a, str>>,
    /// Set on segments: the client may have forged the header that the address comes from.
    #[serde(skip_serializing_if = "is_false")]
    pub(super) x_forwarded_for: bool,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct HttpResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<u16>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) operation: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) account_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) region: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) request_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) queue_url: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) table_name: Option<Cow<'a, str>>,
    /// DynamoDB, several tables, as in the OpenTelemetry collector's exporter.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) table_names: Vec<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) retries: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) cloudwatch_logs: Vec<LogGroup<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) xray: Option<Sdk<'a>>,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct LogGroup<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) log_group: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) arn: Option<Cow<'a, str>>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Sdk<'a> {
    pub(super) sdk: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sdk_version: Option<Cow<'a, str>>,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct SqlBlock<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) url: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sanitized_query: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) database_type: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<Cow<'a, str>>,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct CauseBlock<'a> {
    /// Unknown, so empty; X-Ray requires the field.
    pub(super) working_directory: &'static str,
    /// In the order of the events.
    pub(super) exceptions: Vec<SegmentException<'a>>,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct SegmentException<'a> {
    /// 16 hex digits, stable when the span is sent again.
    pub(super) id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<Cow<'a, str>>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<Cow<'a, str>>,
    /// Whether the called service caused it.
    #[serde(skip_serializing_if = "is_false")]
    pub(super) remote: bool,
    /// The id of the exception that caused this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cause: Option<String>,
    /// Frames that did not fit.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) truncated: usize,
    /// Innermost frame first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) stack: Vec<SegmentFrame<'a>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct SegmentFrame<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) line: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) label: Option<Cow<'a, str>>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct ServiceBlock<'a> {
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
