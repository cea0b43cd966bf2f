//! X-Ray's OTLP endpoint, as strict as its documentation.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch-OTLPEndpoint.html>

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span as ProtoSpan};
use prost::Message;
use serde_json::json;

use crate::fake::{Answered, Recorded};
use crate::otlp::{Span, spans_of};

const MAX_SPANS: usize = 10_000;
const MAX_CALL_BYTES: usize = 5_000_000;
const MAX_SPAN_BYTES: usize = 200_000;
/// Of a resource and a scope together.
const MAX_HEAD_BYTES: usize = 16_000;
const MAX_AGE: Duration = Duration::from_secs(14 * 24 * 3_600);
const MAX_AHEAD: Duration = Duration::from_secs(2 * 3_600);
const MAX_RANGE: Duration = Duration::from_secs(24 * 3_600);

/// The text of the answer while Transaction Search is off.
const OFF: &str = "The OTLP API is supported with CloudWatch Logs as a Trace Segment Destination. Please \
    enable the CloudWatch Logs destination for your traces using the UpdateTraceSegmentDestination API";

/// `google.rpc.Status`, the body of errors.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// A refused call: status and message.
type Refused = (u16, String);

/// The answer to a call of a role that may make it, and the spans that are stored.
pub(super) fn answer(
    request: &Recorded,
    has_transaction_search: bool,
    now: SystemTime,
) -> (Answered, Vec<Span>) {
    let stored = match has_transaction_search {
        true => plain_body(request).and_then(|body| store(&body, now)),
        false => Err((400, OFF.to_owned())),
    };
    reply(stored)
}

/// The answer to the decompressed body of a call.
pub(super) fn answer_to_body(body: &[u8], now: SystemTime) -> (Answered, Vec<Span>) {
    reply(store(body, now))
}

fn reply(stored: Result<(Vec<Span>, i64), Refused>) -> (Answered, Vec<Span>) {
    match stored {
        Ok((stored, rejected)) => {
            let partial = (rejected > 0).then(|| ExportTracePartialSuccess {
                rejected_spans: rejected,
                error_message: "spans are too large, too old or too new".to_owned(),
            });
            let body = ExportTraceServiceResponse { partial_success: partial }.encode_to_vec();
            (protobuf(200, body), stored)
        }
        Err((status, message)) => {
            // INVALID_ARGUMENT
            (protobuf(status, Status { code: 3, message }.encode_to_vec()), Vec::new())
        }
    }
}

/// A refusal by identity or permission.
pub(super) fn forbidden(code: &str, message: &str) -> Answered {
    Response::builder()
        .status(403)
        .header("content-type", "application/json")
        .header("x-amzn-errortype", code)
        .body(Full::new(Bytes::from(json!({ "message": message }).to_string())))
        .expect("a well-formed answer")
}

fn protobuf(status: u16, body: Vec<u8>) -> Answered {
    let response = Response::builder().status(status);
    let response = response.header("content-type", "application/x-protobuf");
    response.body(Full::new(body.into())).expect("a well-formed answer")
}

fn plain_body(request: &Recorded) -> Result<Vec<u8>, Refused> {
    let encoding = request.header("content-encoding").unwrap_or("identity");
    if request.header("content-type") != Some("application/x-protobuf")
        || !["identity", "gzip"].contains(&encoding)
    {
        return Err((415, "unsupported media type".to_owned()));
    }
    request.decoded().map_err(|error| (400, error.to_string()))
}

fn store(body: &[u8], now: SystemTime) -> Result<(Vec<Span>, i64), Refused> {
    if body.len() > MAX_CALL_BYTES {
        return Err((413, format!("{} bytes are too many", body.len())));
    }
    let decoded = ExportTraceServiceRequest::decode(body);
    let mut decoded = decoded.map_err(|error| (400, error.to_string()))?;
    check_call(&decoded)?;
    let mut rejected = 0;
    for scope in decoded.resource_spans.iter_mut().flat_map(|it| &mut it.scope_spans) {
        let before = scope.spans.len();
        scope.spans.retain(|span| is_accepted(span, now));
        rejected += (before - scope.spans.len()) as i64;
    }
    let stored = spans_of(&decoded.encode_to_vec()).expect("the same spans");
    Ok((stored, rejected))
}

/// The limits of a whole call.
fn check_call(call: &ExportTraceServiceRequest) -> Result<(), Refused> {
    let scopes = || call.resource_spans.iter().flat_map(|it| &it.scope_spans);
    let spans: Vec<&ProtoSpan> = scopes().flat_map(|scope| &scope.spans).collect();
    if spans.len() > MAX_SPANS {
        return Err((400, format!("{} spans are too many", spans.len())));
    }
    let largest = call.resource_spans.iter().map(head_bytes).max().unwrap_or_default();
    if largest > MAX_HEAD_BYTES {
        return Err((400, format!("resource and scope of {largest} bytes are too large")));
    }
    let first = spans.iter().map(|span| span.start_time_unix_nano).min().unwrap_or_default();
    let last = spans.iter().map(|span| span.end_time_unix_nano).max().unwrap_or_default();
    match Duration::from_nanos(last.saturating_sub(first)) {
        range if range > MAX_RANGE => Err((400, format!("the spans are {range:?} apart"))),
        _ => Ok(()),
    }
}

/// Bytes of a resource and its largest scope.
fn head_bytes(resource_spans: &ResourceSpans) -> usize {
    let resource = resource_spans.resource.as_ref().map_or(0, Message::encoded_len);
    let scopes = resource_spans.scope_spans.iter();
    let scopes = scopes.map(|it| it.scope.as_ref().map_or(0, Message::encoded_len));
    resource + scopes.max().unwrap_or_default()
}

/// The limits of a span.
fn is_accepted(span: &ProtoSpan, now: SystemTime) -> bool {
    let at = |nanos: u64| SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos);
    let (start, end) = (at(span.start_time_unix_nano), at(span.end_time_unix_nano));
    let is_id = |id: &[u8], length: usize| id.len() == length && id.iter().any(|byte| *byte != 0);
    let parent = &span.parent_span_id;
    span.encoded_len() <= MAX_SPAN_BYTES
        && start + MAX_AGE >= now
        && end <= now + MAX_AHEAD
        && start <= end
        && is_id(&span.trace_id, 16)
        && is_id(&span.span_id, 8)
        && (parent.is_empty() || is_id(parent, 8))
}
