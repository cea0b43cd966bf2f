//! Spans of the page: read, checked, and made to claim nothing that only a function can know.
//!
//! Anybody can send them, so what the extension takes for a signal of a function is taken away: the
//! kind SERVER with an invocation's id ends that invocation, `cruddur.xray_header` names its place
//! in X-Ray, `rollbar.message` makes an item at Rollbar.

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{Span, span::SpanKind},
};
use prost::Message;

/// The page's `service.name`, as the original's front end calls itself.
pub const SERVICE_NAME: &str = "frontend-react-js";

/// Most spans of a request. Our choice: a page load has some dozens.
const MAX_SPANS: usize = 100;

/// How a request is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `application/json`
    Json,
    /// `application/x-protobuf`
    Protobuf,
}

/// Why spans of a page are refused.
#[derive(Debug, thiserror::Error)]
pub enum BadTraces {
    /// No OTLP. What exactly is wrong is not said: it may quote the body.
    #[error("no OTLP request")]
    Malformed,
    /// A span without a name, or with ids of another length or of zeros.
    #[error("a span without a name or a valid id")]
    BadSpan,
    /// A flood.
    #[error("{0} spans, {MAX_SPANS} are allowed")]
    TooMany(usize),
}

/// Reads an OTLP request, which afterwards is one of the service [`SERVICE_NAME`].
pub fn read(encoding: Encoding, body: &[u8]) -> Result<ExportTraceServiceRequest, BadTraces> {
    let mut request = match encoding {
        Encoding::Json => serde_json::from_slice(body).map_err(|_| BadTraces::Malformed)?,
        Encoding::Protobuf => {
            ExportTraceServiceRequest::decode(body).map_err(|_| BadTraces::Malformed)?
        }
    };
    let spans = spans_mut(&mut request).count();
    if spans > MAX_SPANS {
        return Err(BadTraces::TooMany(spans));
    }
    if !spans_mut(&mut request).all(|span| is_valid(span)) {
        return Err(BadTraces::BadSpan);
    }
    spans_mut(&mut request).for_each(disarm);
    for resource_spans in &mut request.resource_spans {
        name(resource_spans.resource.get_or_insert_default());
    }
    Ok(request)
}

/// How many spans there are.
pub fn count(request: &ExportTraceServiceRequest) -> usize {
    let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    scopes.map(|scope| scope.spans.len()).sum()
}

fn spans_mut(request: &mut ExportTraceServiceRequest) -> impl Iterator<Item = &mut Span> {
    let scopes = request.resource_spans.iter_mut().flat_map(|resource| &mut resource.scope_spans);
    scopes.flat_map(|scope| &mut scope.spans)
}

fn is_valid(span: &Span) -> bool {
    let is_id = |id: &[u8], length| id.len() == length && id.iter().any(|byte| *byte != 0);
    is_id(&span.trace_id, 16)
        && is_id(&span.span_id, 8)
        && (span.parent_span_id.is_empty() || is_id(&span.parent_span_id, 8))
        && !span.name.trim().is_empty()
}

fn disarm(span: &mut Span) {
    if span.kind == SpanKind::Server as i32 {
        span.kind = SpanKind::Internal as i32;
    }
    let is_signal = |key: &str| key.starts_with("faas.") || key.starts_with("cruddur.");
    span.attributes.retain(|attribute| !is_signal(&attribute.key));
    span.events.retain(|event| event.name != "rollbar.message");
}

fn name(resource: &mut Resource) {
    const KEY: &str = "service.name";
    resource.attributes.retain(|attribute| attribute.key != KEY);
    let value = Some(AnyValue { value: Some(Value::StringValue(SERVICE_NAME.to_owned())) });
    resource.attributes.push(KeyValue { key: KEY.to_owned(), value, ..KeyValue::default() });
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, span::Event};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn span() -> Span {
        Span {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            name: "documentLoad".to_owned(),
            ..Span::default()
        }
    }

    fn body(spans: Vec<Span>) -> Vec<u8> {
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        ExportTraceServiceRequest { resource_spans }.encode_to_vec()
    }

    fn attribute(key: &str) -> KeyValue {
        KeyValue { key: key.to_owned(), ..KeyValue::default() }
    }

    #[test]
    fn what_looks_like_a_functions_signal_is_taken_away_and_all_else_stays() {
        let hostile = Span {
            kind: SpanKind::Server as i32,
            attributes: ["faas.invocation_id", "cruddur.xray_header", "http.url"]
                .map(attribute)
                .to_vec(),
            events: ["rollbar.message", "exception"]
                .map(|name| Event { name: name.to_owned(), ..Event::default() })
                .to_vec(),
            ..span()
        };

        let mut request = read(Encoding::Protobuf, &body(vec![hostile])).unwrap();

        let span = spans_mut(&mut request).next().unwrap();
        assert_eq!(span.kind, SpanKind::Internal as i32);
        assert_eq!(span.attributes, [attribute("http.url")]);
        assert_eq!(span.events.iter().map(|e| e.name.as_str()).collect::<Vec<_>>(), ["exception"]);
    }

    #[test]
    fn the_service_is_the_page_whatever_it_calls_itself() {
        let json = json!({"resourceSpans": [{
            "resource": {"attributes": [
                {"key": "service.name", "value": {"stringValue": "home-activities"}},
                {"key": "browser.language", "value": {"stringValue": "en"}},
            ]},
            "scopeSpans": [{"spans": [{
                "traceId": "0af7651916cd43dd8448eb211c80319c",
                "spanId": "b7ad6b7169203331",
                "name": "HTTP GET",
                "kind": 3,
                "startTimeUnixNano": "1795168080000000000",
                "endTimeUnixNano": "1795168081000000000",
                // As the web SDK writes them: numbers as numbers, lists though they are empty.
                "attributes": [
                    {"key": "http.status_code", "value": {"intValue": 200}},
                    {"key": "ratio", "value": {"doubleValue": 1.5}},
                    {"key": "tags", "value": {"arrayValue": {"values": [{"boolValue": true}]}}},
                ],
                "droppedAttributesCount": 0,
                "events": [{
                    "attributes": [],
                    "name": "fetchStart",
                    "timeUnixNano": "1795168080264683000",
                    "droppedAttributesCount": 0,
                }],
                "status": {"code": 0},
                "links": [],
                "flags": 257,
            }]}],
        }]});

        let request = read(Encoding::Json, json.to_string().as_bytes()).unwrap();

        let resource = request.resource_spans[0].resource.as_ref().unwrap();
        let named: Vec<_> = resource.attributes.iter().map(|attribute| &*attribute.key).collect();
        assert_eq!(named, ["browser.language", "service.name"]);
        assert!(format!("{:?}", resource.attributes[1]).contains(SERVICE_NAME));
        assert_eq!(count(&request), 1);
    }

    #[test]
    fn spans_that_are_none_are_refused() {
        for bad in [
            Span { trace_id: vec![0; 16], ..span() },
            Span { trace_id: vec![1; 15], ..span() },
            Span { span_id: Vec::new(), ..span() },
            Span { parent_span_id: vec![1], ..span() },
            Span { name: " ".to_owned(), ..span() },
        ] {
            let refused = read(Encoding::Protobuf, &body(vec![span(), bad.clone()]));
            assert!(matches!(refused, Err(BadTraces::BadSpan)), "{bad:?}");
        }
        let flood = read(Encoding::Protobuf, &body(vec![span(); MAX_SPANS + 1]));
        assert!(matches!(flood, Err(BadTraces::TooMany(101))));
        assert!(read(Encoding::Protobuf, &body(vec![span(); MAX_SPANS])).is_ok());
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(body: Vec<u8>, text: String) {
            let _ = read(Encoding::Protobuf, &body);
            let _ = read(Encoding::Json, &body);
            prop_assert!(read(Encoding::Json, text.as_bytes()).is_err());
        }
    }
}
