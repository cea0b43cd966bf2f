//! Translates one span into one document. Pure: the caller passes the placement and the time.

use std::{borrow::Cow, time::SystemTime};

use opentelemetry_proto::tonic::{
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, status::StatusCode},
};
use trace_context::{SpanId, TraceId};

use crate::exporter::xray::{
    annotations::{AnnotationFilter, Annotations, add_default, annotate, metadata},
    attributes::{Attributes, Slot, text},
    aws_block::{Callee, call, sql},
    cause::cause,
    document::{AwsBlock, CauseBlock, Document, HttpBlock, LogGroup, Sdk, ServiceBlock},
    http_block::{Flags, http},
    index::valid_times,
    json_value::MetadataValue,
    limits::cut_field,
    name,
};

/// Trace, id and parent of a span's document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentPlace {
    /// May differ from the span's trace id.
    pub(super) trace_id: TraceId,
    /// The span's id, or one derived from the span if that id cannot be used.
    pub(super) id: SpanId,
    /// `None` for a segment.
    pub(super) parent: Option<SpanId>,
    /// The span's own trace id if the span is an entry span, whose document describes the invocation.
    pub(super) entry: Option<TraceId>,
}

/// `annotations_left` is how many annotations X-Ray still indexes for the trace.
pub(super) fn translate<'a>(
    span: &'a Span,
    resource: &'a [KeyValue],
    place: &SegmentPlace,
    filter: &AnnotationFilter,
    annotations_left: usize,
    now: SystemTime,
) -> Document<'a> {
    let mut attributes = Attributes::new(&span.attributes);
    let attributes = &mut attributes;
    let is_segment = place.parent.is_none();
    let callee = Callee::from_attributes(attributes);
    let namespace = name::namespace(span.kind(), callee).filter(|_| !is_segment);
    // The functions share one service name; on the service map each is a node.
    let service = find(resource, "faas.name").or_else(|| find(resource, "service.name"));
    let name = match is_segment {
        true => name::segment_name(attributes, service, &span.name),
        false => name::subsegment_name(attributes, namespace, callee, &span.name),
    };
    let http = http(attributes, is_segment);
    let failed = span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error);
    let error_type = attributes.peek(Slot::ErrorType);
    let (cause, covered_events) = cause(span, place.id, failed, error_type);
    let flags = flags(attributes, http.as_ref(), failed, cause.as_ref());
    let aws = match (is_segment, namespace) {
        (true, _) => segment_aws(attributes, resource),
        (false, Some("aws")) => Some(call(attributes, find(resource, "cloud.region"))),
        (false, _) => None,
    };
    let sql = (!is_segment && namespace != Some("aws")).then(|| sql(attributes)).flatten();
    let user = is_segment.then(|| attributes.take(Slot::User)).flatten();
    let annotations = document_annotations(attributes, resource, place, filter, annotations_left);
    let mut metadata = metadata(span, attributes, &covered_events);
    if name != span.name && !span.name.is_empty() {
        add_default(
            &mut metadata,
            "otel.span.name",
            MetadataValue::Text(Cow::Borrowed(&span.name)),
        );
    }
    if let Some(message) = unreported_status_message(span, cause.as_ref()) {
        add_default(
            &mut metadata,
            "otel.status.message",
            MetadataValue::Text(Cow::Borrowed(message)),
        );
    }
    if place.entry.is_some() {
        for (key, value) in resource.iter().filter_map(|it| Some((&it.key, it.value.as_ref()?))) {
            add_default(&mut metadata, format!("otel.resource.{key}"), MetadataValue::Any(value));
        }
    }
    let (start_time, end_time) = times(span, now);
    Document {
        name,
        id: place.id,
        trace_id: place.trace_id,
        parent_id: place.parent,
        kind: (!is_segment).then_some("subsegment"),
        start_time,
        end_time,
        namespace,
        error: flags.error,
        throttle: flags.throttle,
        fault: flags.fault,
        http,
        aws,
        sql,
        cause,
        user,
        service: find(resource, "service.version")
            .filter(|_| is_segment)
            .map(|version| ServiceBlock { version: cut_field(version) }),
        annotations,
        metadata,
    }
}

/// An entry span's resource attributes become annotations, too, since they describe the trace.
fn document_annotations<'a>(
    attributes: &mut Attributes<'a>,
    resource: &'a [KeyValue],
    place: &SegmentPlace,
    filter: &AnnotationFilter,
    limit: usize,
) -> Annotations<'a> {
    let mut annotations = Annotations::new();
    if let Some(w3c_trace_id) = place.entry.filter(|_| limit > 0) {
        let id = MetadataValue::Text(w3c_trace_id.to_string().into());
        annotations.insert("w3c_trace_id".into(), id);
    }
    annotate(&mut annotations, attributes, filter, limit);
    if place.entry.is_some() {
        annotate(&mut annotations, &mut Attributes::new(resource), filter, limit);
    }
    annotations
}

fn flags(
    attributes: &Attributes<'_>,
    http: Option<&HttpBlock<'_>>,
    failed: bool,
    cause: Option<&CauseBlock<'_>>,
) -> Flags {
    let named = [Slot::ErrorType, Slot::DbStatus].into_iter().map(|slot| attributes.peek(slot));
    let exceptions = cause.iter().flat_map(|cause| &cause.exceptions);
    let kinds = named.chain(exceptions.map(|exception| exception.kind.as_deref()));
    let status = http.and_then(|http| http.response.status);
    Flags::new(status, failed, &kinds.flatten().collect::<Vec<_>>())
}

/// The status message, unless an exception has the same message.
fn unreported_status_message<'a>(
    span: &'a Span,
    cause: Option<&CauseBlock<'_>>,
) -> Option<&'a str> {
    let message = span.status.as_ref().map(|status| status.message.as_str())?;
    let mut exceptions = cause.iter().flat_map(|cause| &cause.exceptions);
    let is_reported = exceptions.any(|exception| exception.message.as_deref() == Some(message));
    (!message.is_empty() && !is_reported).then_some(message)
}

/// Account, log groups and SDK of a segment. Without `origin`, which Lambda's own segments have.
fn segment_aws<'a>(
    attributes: &mut Attributes<'a>,
    resource: &'a [KeyValue],
) -> Option<AwsBlock<'a>> {
    let account = find(resource, "cloud.account.id").map(cut_field);
    let arns = log_groups(resource, "aws.log.group.arns").into_iter();
    let names = log_groups(resource, "aws.log.group.names").into_iter();
    let cloudwatch_logs = match arns.len() {
        0 => names.map(|name| LogGroup { log_group: Some(name), arn: None }).collect(),
        _ => arns.map(|arn| LogGroup { log_group: None, arn: Some(arn) }).collect(),
    };
    let language = find(resource, "telemetry.sdk.language");
    let sdk = find(resource, "telemetry.sdk.name").zip(language);
    let aws = AwsBlock {
        account_id: attributes.take(Slot::AccountId).or(account),
        cloudwatch_logs,
        xray: sdk.map(|(name, language)| Sdk {
            sdk: cut_field(&format!("{name} for {language}")).into_owned(),
            sdk_version: find(resource, "telemetry.sdk.version").map(cut_field),
        }),
        ..AwsBlock::default()
    };
    (aws != AwsBlock::default()).then_some(aws)
}

/// Most log groups of a segment; a function has one.
const MAX_LOG_GROUPS: usize = 10;

/// An array of texts, or one text separated by `&`, as in the collector's exporter.
fn log_groups<'a>(resource: &'a [KeyValue], key: &str) -> Vec<Cow<'a, str>> {
    let value =
        resource.iter().find(|attribute| attribute.key == key).and_then(|it| it.value.as_ref());
    let texts: Vec<&str> = match value.and_then(|value| value.value.as_ref()) {
        Some(Value::ArrayValue(array)) => array.values.iter().filter_map(text).collect(),
        Some(Value::StringValue(text)) => text.split('&').collect(),
        _ => Vec::new(),
    };
    let texts = texts.into_iter().filter(|text| !text.is_empty());
    texts.take(MAX_LOG_GROUPS).map(cut_field).collect()
}

fn find<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    text(found.value.as_ref()?).filter(|text| !text.is_empty())
}

/// Start and end in Unix seconds, to the microsecond.
fn times(span: &Span, now: SystemTime) -> (f64, f64) {
    let (start, end) = valid_times(span.start_time_unix_nano, span.end_time_unix_nano, now);
    let seconds = |nanos: u64| (nanos / 1_000) as f64 / 1e6;
    (seconds(start), seconds(end))
}
