//! One span becomes one document. Pure: where the span belongs, and the time, come from outside.

use std::{borrow::Cow, time::SystemTime};

use opentelemetry_proto::tonic::{
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, status::StatusCode},
};
use trace_context::{SpanId, TraceId};

use super::{
    annotations::{Annotations, Wanted, annotate, metadata, note},
    attributes::{Attributes, Slot, text},
    aws::{Callee, call, sql},
    cause::cause,
    document::{Aws, Document, LogGroup, Sdk, Service},
    http::{Flags, http},
    limits::cut_field,
    name,
    value::Plain,
};

/// Where a span belongs in X-Ray.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The trace, which may be another than the span's own.
    pub(super) trace_id: TraceId,
    /// The span's id, or another in its place.
    pub(super) id: SpanId,
    /// What it hangs under; nothing makes it a segment.
    pub(super) parent: Option<SpanId>,
    /// The first span of an invocation: it tells of the whole.
    pub(super) entry: Option<Entry>,
}

/// What an entry span says beside its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The trace's id elsewhere.
    pub w3c_trace_id: TraceId,
}

/// Translates a span. `annotations_left` is how many its trace may still have.
pub(super) fn translate<'a>(
    span: &'a Span,
    resource: &'a [KeyValue],
    place: &Place,
    wanted: &Wanted,
    annotations_left: usize,
    now: SystemTime,
) -> Document<'a> {
    let mut attributes = Attributes::new(&span.attributes);
    let attributes = &mut attributes;
    let is_segment = place.parent.is_none();
    let callee = Callee::of(attributes);
    let namespace = name::namespace(span.kind(), callee).filter(|_| !is_segment);
    let service = find(resource, "service.name");
    let name = match is_segment {
        true => name::of_segment(attributes, service, &span.name),
        false => name::of_subsegment(attributes, namespace, callee, &span.name),
    };
    let http = http(attributes, is_segment);
    let status = http.as_ref().and_then(|http| http.response.status);
    let failed = span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error);
    let error_type = attributes.peek(Slot::ErrorType);
    let flags = Flags::of(status, failed, error_type);
    let (cause, told) = cause(span, place.id, failed, error_type);
    let aws = match (is_segment, namespace) {
        (true, _) => owner(attributes, resource),
        (false, Some("aws")) => Some(call(attributes)),
        (false, _) => None,
    };
    let sql = (!is_segment && namespace != Some("aws")).then(|| sql(attributes)).flatten();
    let user = is_segment.then(|| attributes.take(Slot::User)).flatten();
    let mut annotations = Annotations::new();
    if let Some(entry) = place.entry {
        let id = Plain::Text(entry.w3c_trace_id.to_string().into());
        annotations.insert("w3c_trace_id".into(), id);
    }
    annotate(&mut annotations, attributes, wanted, annotations_left);
    let mut metadata = metadata(span, attributes, &told);
    if name != span.name && !span.name.is_empty() {
        note(&mut metadata, "otel.span.name", Plain::Text(Cow::Borrowed(&span.name)));
    }
    if place.entry.is_some() {
        for (key, value) in resource.iter().filter_map(|it| Some((&it.key, it.value.as_ref()?))) {
            note(&mut metadata, format!("otel.resource.{key}"), Plain::Any(value));
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
            .map(|version| Service { version: cut_field(version) }),
        annotations,
        metadata,
    }
}

/// Who runs a segment. No `origin`: on Lambda that is Lambda's own segments' business.
fn owner<'a>(attributes: &mut Attributes<'a>, resource: &'a [KeyValue]) -> Option<Aws<'a>> {
    let account = find(resource, "cloud.account.id").map(cut_field);
    let arns = log_groups(resource, "aws.log.group.arns").into_iter();
    let names = log_groups(resource, "aws.log.group.names").into_iter();
    let cloudwatch_logs = match arns.len() {
        0 => names.map(|name| LogGroup { log_group: Some(name), arn: None }).collect(),
        _ => arns.map(|arn| LogGroup { log_group: None, arn: Some(arn) }).collect(),
    };
    let language = find(resource, "telemetry.sdk.language");
    let sdk = find(resource, "telemetry.sdk.name").zip(language);
    let aws = Aws {
        account_id: attributes.take(Slot::AccountId).or(account),
        cloudwatch_logs,
        xray: sdk.map(|(name, language)| Sdk {
            sdk: cut_field(&format!("{name} for {language}")).into_owned(),
            sdk_version: find(resource, "telemetry.sdk.version").map(cut_field),
        }),
        ..Aws::default()
    };
    (aws != Aws::default()).then_some(aws)
}

/// Most log groups of a segment. Our choice; a function has one.
const MAX_LOG_GROUPS: usize = 10;

/// An array of texts, or one text with `&` between, as the collector reads it.
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

/// Start and end in Unix seconds, to the microsecond. A span that does not say when is from now,
/// and none ends before it starts.
fn times(span: &Span, now: SystemTime) -> (f64, f64) {
    let (start, end) = (span.start_time_unix_nano, span.end_time_unix_nano);
    let start = match (start, end) {
        (0, 0) => {
            let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX)
        }
        (0, end) => end,
        (start, _) => start,
    };
    let seconds = |nanos: u64| (nanos / 1_000) as f64 / 1e6;
    (seconds(start), seconds(end.max(start)))
}
